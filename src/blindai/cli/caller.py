"""`blindai keys show | add | join | remove`: who one is to a server, and which keys share a namespace."""

from __future__ import annotations

import argparse

from blindai.cli import connection, output
from blindai.cli.parser import Verbs
from blindai.wire.access import CallerInfo

_KEY_ID_HELP = "the other key's id, as `blindai keys new` printed it; never the key itself"


def add_actions(actions: Verbs) -> None:
    """Add the actions that talk to a server."""
    show = actions.add_parser(
        "show",
        help="ask a server who you are to it",
        description="Ask a server who it takes you for: role, namespace, key id, use and limits. The key "
        f"comes from ${connection.API_KEY_VARIABLE} or --api-key-file.",
    )
    connection.add_arguments(show)
    show.set_defaults(run=run_show)

    add = actions.add_parser(
        "add",
        help="invite another key into your namespace",
        description="Invite another key into your namespace on a server. Once its holder has come (`blindai "
        "keys join`), models of either can be used, replaced and deleted by both.",
    )
    connection.add_arguments(add)
    add.add_argument("key_id", metavar="KEYID", help=_KEY_ID_HELP)
    add.set_defaults(run=run_add)

    join = actions.add_parser(
        "join",
        help="come into the namespace that your key was invited to",
        description="Come into the namespace that the server's settings give you, where another key holds it "
        "and has invited yours. Only do so if you know whose that key is.",
    )
    connection.add_arguments(join)
    join.set_defaults(run=run_join)

    remove = actions.add_parser(
        "remove",
        help="take a key from your namespace",
        description="Take a key from your namespace on a server.",
    )
    connection.add_arguments(remove)
    remove.add_argument("key_id", metavar="KEYID", help=_KEY_ID_HELP)
    remove.set_defaults(run=run_remove)


def run_show(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        info = client.caller()
    if arguments.json:
        output.json_data(info.to_json())
    else:
        output.data(output.table(_lines(info)))


def run_add(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        client.add_key(arguments.key_id)
    if arguments.json:
        output.json_data({"invited": arguments.key_id})
    else:
        output.talk(f"invited {arguments.key_id}; with that key: blindai keys join {arguments.address}")


def run_join(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        client.join_namespace()
        namespace = client.caller().namespace
    if arguments.json:
        output.json_data({"joined": namespace})
    else:
        output.talk(f"this key is {namespace} now, too")


def run_remove(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        client.remove_key(arguments.key_id)
    if arguments.json:
        output.json_data({"removed": arguments.key_id})
    else:
        output.talk(f"removed {arguments.key_id}")


def _lines(info: CallerInfo) -> list[tuple[str, ...]]:
    return [
        ("name", info.name or "(none: this server takes anybody)"),
        ("role", info.role),
        (
            "namespace",
            info.namespace or ("(the server's own)" if info.role == "admin" or not info.key_id else "(none)"),
        ),
        ("key id", info.key_id or "(none)"),
        ("models", _of(info.models, info.max_models)),
        ("model bytes", _of(info.model_bytes, info.max_model_bytes)),
        *(("namespace held by", key) for key in info.namespace_keys),
        ("requests a minute", str(info.requests_per_minute or "no limit of its own")),
    ]


def _of(used: int, most: int) -> str:
    return f"{used} of {most}" if most else f"{used}, no limit of its own"
