"""`blindai store`: look at a sealed store that no server uses, check it, repair it, change its keys."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from blindai.attestation.times import shown
from blindai.cli import output
from blindai.cli.parser import Parser, Verbs
from blindai.errors import StoreError, StoreFault, UsageError

if TYPE_CHECKING:
    from blindai.store.repair import Finding
    from blindai.store.store import Store, StoredModel

Progress = Callable[[int, int], None]


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "store",
        help="look at a sealed store, check it, repair it, change its keys",
        description="Work on the sealed store of a server that does not run: a store has one user at a time.",
    )
    actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")

    show = actions.add_parser("show", help="list what is stored", description="List the stored models.")
    _add_common(show)
    show.set_defaults(run=show_store)

    check = actions.add_parser(
        "check",
        help="open every byte that is stored",
        description="Open every stored model to its end and compare its digest. Ends with 1 if one of them "
        "is not as it was put there.",
    )
    _add_common(check)
    check.set_defaults(run=check_store)

    repair = actions.add_parser(
        "repair",
        help="give up what cannot be read, so that the store opens again",
        description="Check, and take the models that cannot be read out of the store. Their files stay in "
        "the folder, with .refused after their names.",
    )
    _add_common(repair)
    repair.set_defaults(run=repair_store)

    rotate = actions.add_parser(
        "rotate",
        help="seal everything under new keys",
        description="Seal every model under new keys, and the store under another sealing key if one is "
        "named. After an interruption, the same command goes on.",
        epilog="example: blindai store rotate /var/lib/blindai/store --key file:/etc/blindai/old.key "
        "--new-key file:/etc/blindai/new.key",
    )
    _add_common(rotate)
    rotate.add_argument("--new-key", metavar="TEXT", help="the sealing key from now on, in the form of --key")
    rotate.set_defaults(run=rotate_store)


def _add_common(parser: Parser) -> None:
    parser.add_argument("path", metavar="PATH", help="the store's folder")
    parser.add_argument(
        "--key",
        metavar="TEXT",
        required=True,
        help="the store's sealing key, as in the server's settings: file:/path, gramine, snp, vtpm:/path",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def show_store(arguments: argparse.Namespace) -> None:
    with _opened(arguments, arguments.key) as store:
        models, served, revision = store.models(), store.served_seconds, store.revision
    if arguments.json:
        output.json_data(
            {
                "revision": revision,
                "served_seconds": served,
                "models": [
                    {
                        "name": str(model.name),
                        "id": model.id,
                        "sha256": model.sha256,
                        "size_bytes": model.size_bytes,
                        "visibility": model.visibility,
                        "shared_with": list(model.shared_with),
                        "created": model.created,
                        "last_used": model.last_used,
                    }
                    for model in models
                ],
            }
        )
    elif models:
        rows = [_row(model) for model in models]
        output.data(output.table([("NAME", "BYTES", "VISIBILITY", "CREATED", "LAST USED", "SHA-256"), *rows]))
    else:
        output.talk("the store is empty")


def check_store(arguments: argparse.Namespace) -> None:
    findings = _examined(arguments, repair=False)
    _print(arguments, findings)
    faulty = [finding.error for finding in findings if finding.error is not None]
    if faulty:
        raise faulty[0]


def repair_store(arguments: argparse.Namespace) -> None:
    findings = _examined(arguments, repair=True)
    _print(arguments, findings)
    lost = sum(finding.error is not None for finding in findings)
    output.talk(f"given up: {lost}, kept: {len(findings) - lost}")


def rotate_store(arguments: argparse.Namespace) -> None:
    if arguments.new_key is not None:
        _check_no_weaker(arguments.key, arguments.new_key)
    new_key = None if arguments.new_key is None else _key(arguments.new_key, may_make=True)
    try:
        opened = _opened(arguments, arguments.key)
    except StoreError as error:
        if error.fault != StoreFault.WRONG_KEY or new_key is None:
            raise
        # A rotation that was interrupted, or one that had come to its end: go on under the new key.
        opened, new_key = _opened(arguments, arguments.new_key), None
        output.talk("the store is already under the new key; sealing its models again")
    with opened as store, _bar("sealing again") as progress:
        store.rotate(new_key, progress=progress)
        count = len(store.models())
    if arguments.json:
        output.json_data({"rotated": count})
    else:
        output.talk(f"models sealed under new keys: {count}")


def _check_no_weaker(old: str, new: str) -> None:
    """Owners saw the old kind of key in the keyset when they uploaded. They were not asked again."""
    from blindai.store.keys.open import open_source  # noqa: PLC0415  no other verb needs it

    before, after = (open_source(text, simulation=True).name for text in (old, new))
    if after in ("file", "gramine-mrsigner", "vtpm") and before not in (after, "file"):
        raise UsageError(
            f"models that were sealed with {before} are not put under {after}, which protects them less",
            hint="their owners can upload them to a server that seals so",
        )


def _opened(arguments: argparse.Namespace, key: str) -> Store:
    from blindai.store.store import Store  # noqa: PLC0415  no other verb needs it

    return Store.open(_path(arguments), _key(key))


def _examined(arguments: argparse.Namespace, *, repair: bool) -> tuple[Finding, ...]:
    from blindai.store.store import examine  # noqa: PLC0415  no other verb needs it

    with _bar("checking") as progress:
        return examine(_path(arguments), _key(arguments.key), repair=repair, progress=progress)


def _print(arguments: argparse.Namespace, findings: tuple[Finding, ...]) -> None:
    if arguments.json:
        output.json_data(
            [
                {
                    "name": finding.what,
                    "size_bytes": finding.size_bytes,
                    "file": finding.file,
                    "fault": None if finding.error is None else finding.error.fault,
                }
                for finding in findings
            ]
        )
    elif findings:
        rows = [(f.what, str(f.size_bytes), f.file, f.error.fault if f.error else "ok") for f in findings]
        output.data(output.table([("NAME", "BYTES", "FILE", "STATE"), *rows]))
    else:
        output.talk("the store is empty")


def _row(model: StoredModel) -> tuple[str, ...]:
    times = (shown(model.created), shown(model.last_used))
    return (str(model.name), str(model.size_bytes), str(model.visibility), *times, model.sha256)


def _path(arguments: argparse.Namespace) -> Path:
    """A store is looked at here and never made: a path with a slip in it would look like an empty one."""
    path = Path(arguments.path)
    try:
        found = any(file.name == "catalogue" or file.suffix == ".model" for file in path.iterdir())
    except OSError as exc:
        raise UsageError(f"cannot look at {path}: {exc.strerror}") from exc
    if not found:
        raise UsageError(f"there is no store at {path}")
    return path


def _key(text: str, *, may_make: bool = False) -> bytes:
    from blindai.store.keys.open import open_source  # noqa: PLC0415  no other verb needs it

    source = open_source(text, simulation=True)
    if not source.persistent:
        raise UsageError(
            f"a store under the key {source.name} ends with its server", hint="name a key that stays"
        )
    word, _, path = text.partition(":")
    if word == "file" and not may_make and not Path(path).exists():
        raise UsageError(f"there is no key at {path}")  # and one made now would open nothing
    return source.sealing_key()


@contextmanager
def _bar(what: str) -> Iterator[Progress | None]:
    if not sys.stderr.isatty():
        yield None
        return
    # Imported here: a piped command needs no terminal library.
    from tqdm import tqdm  # noqa: PLC0415

    with tqdm(desc=what, unit="B", unit_scale=True, leave=False, file=sys.stderr) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report
