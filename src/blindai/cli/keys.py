"""`blindai keys`: make an API key. It is made here and shown once; the server only ever has its hash."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

from blindai import private_file
from blindai.cli import caller, output
from blindai.cli.parser import Verbs
from blindai.errors import RequestError, UsageError
from blindai.wire import api_key
from blindai.wire.model_name import check_namespace

ROLES = ("admin", "owner", "user")  # those of the server, which may not be installed here


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "keys",
        help="make an API key; see and change whose a namespace is",
        description="Make API keys, and see and change which keys are a namespace's.",
    )
    actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
    new = actions.add_parser(
        "new",
        help="make an API key",
        description="Make an API key. stdout has the key, or the file of --out, and it is kept nowhere else; "
        "stderr has what to put into the server's settings, which is its hash.",
        epilog="example: blindai keys new --name alice --out alice.key",
    )
    new.add_argument("--name", help="who will hold the key")
    new.add_argument("--role", choices=ROLES, help="what they may do (default: owner)")
    new.add_argument("--namespace", help="where their models lie (default: the name; of an admin none)")
    new.add_argument("--out", metavar="FILE", help="write the key into this file, for its user alone to read")
    new.add_argument("--json", action="store_true", help="print the key and the entry as JSON")
    new.set_defaults(run=new_key)
    caller.add_actions(actions)


def new_key(arguments: argparse.Namespace) -> None:
    entry = _entry(arguments)
    key = api_key.new_key(secrets.token_bytes)
    entry["key_sha256"] = api_key.key_id(key)
    if arguments.out is not None:
        _save(Path(arguments.out), key)
    shown = {} if arguments.out is not None else {"key": key}
    if arguments.json:
        output.json_data({**shown, **entry})
    else:
        if shown:
            output.data(key)
        where = arguments.out or "on stdout"
        output.talk(f"the key is {where}; it is kept nowhere else. For the server's settings:")
        # Values of a narrow grammar: none needs an escape.
        lines = ["[[callers]]"] if arguments.name else []
        output.talk("\n".join([*lines, *(f'{name} = "{value}"' for name, value in entry.items())]))


def _save(path: Path, key: str) -> None:
    if path.exists():
        raise UsageError(f"there is a file {path}: a key in it would be lost", hint="name another file")
    try:
        private_file.replace(path, f"{key}\n".encode("ascii"))
    except OSError as exc:
        raise UsageError(f"cannot write the key: {path}: {exc.strerror}") from exc


def _entry(arguments: argparse.Namespace) -> dict[str, str]:
    if arguments.name is None:
        if arguments.role or arguments.namespace:
            raise UsageError("--role and --namespace are of somebody", hint="--name says whose")
        return {}
    role = arguments.role or "owner"
    entry = {"name": arguments.name, "role": role}
    namespace = arguments.namespace or ("" if role == "admin" else arguments.name)
    if namespace:
        entry["namespace"] = namespace
    for option, text in (("--name", arguments.name), ("--namespace", namespace or arguments.name)):
        try:
            check_namespace(text)
        except RequestError as exc:
            raise UsageError(f"{option} cannot be that: {exc}", hint=f"{option} alice") from exc
    return entry
