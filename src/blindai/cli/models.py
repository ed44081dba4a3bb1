"""`blindai models`: list, upload, share, load, unload and delete."""

from __future__ import annotations

import argparse
import datetime

from blindai.cli import connection, output, proof
from blindai.cli.parser import Parser, Verbs
from blindai.wire.access import Visibility
from blindai.wire.metadata import ModelEntry

_VISIBILITIES = tuple(visibility.value for visibility in Visibility)


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "models",
        help="list, upload, share or delete models",
        description="List, upload, share, load, unload or delete models.",
    )
    actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list",
        help="list the server's models",
        description="List the models that you may see; `NAMESPACE/NAME` is somebody's.",
    )
    connection.add_arguments(listing)
    listing.set_defaults(run=list_models)
    _add_upload(actions)
    _add_share(actions)
    for word, run, description in (
        ("load", load_model, "Have a model ready in memory before the first request for it."),
        ("unload", unload_model, "Free the memory of a model; it stays stored."),
        ("delete", delete_model, "Delete a model."),
    ):
        action = actions.add_parser(word, help=f"{word} a model", description=description)
        connection.add_arguments(action)
        _add_model(action)
        action.set_defaults(run=run)


def _add_upload(actions: Verbs) -> None:
    upload = actions.add_parser(
        "upload",
        help="upload an ONNX model",
        description="Upload an ONNX model. A model of the same name is replaced.",
        epilog="example: blindai models upload inference.example.org sentiment.onnx --policy policy.toml",
    )
    connection.add_arguments(upload)
    upload.add_argument("file", metavar="FILE", help="the ONNX file; weights in files beside it go along")
    upload.add_argument("--name", help="the model's name (default: the file's name without its ending)")
    upload.add_argument(
        "--visibility",
        choices=_VISIBILITIES,
        help="who else may use it: nobody, the keys of --share-with, or every caller "
        "(default: private; public on a server without callers)",
    )
    _add_share_with(upload)
    upload.add_argument(
        "--allow-sealing",
        action="append",
        default=[],
        metavar="NAME",
        help="let the server keep it sealed by this kind of key, e.g. gramine-mrsigner, although other code "
        "could get that key; may be repeated",
    )
    proof.add_arguments(upload, "of what was uploaded")
    upload.set_defaults(run=upload_model)


def _add_share(actions: Verbs) -> None:
    share = actions.add_parser(
        "share",
        help="say who else may use a model",
        description="Say who else may describe and run a model of yours. What you give replaces what was.",
        epilog="example: blindai models share inference.example.org sentiment --visibility shared "
        "--share-with KEYID --policy policy.toml",
    )
    connection.add_arguments(share)
    _add_model(share)
    share.add_argument("--visibility", choices=_VISIBILITIES, required=True)
    _add_share_with(share)
    share.set_defaults(run=share_model)


def _add_model(action: Parser) -> None:
    action.add_argument("model", metavar="MODEL", help="the model's name")


def _add_share_with(action: Parser) -> None:
    action.add_argument(
        "--share-with",
        action="append",
        default=[],
        metavar="KEYID",
        help="the id of a key that may use it (`blindai keys show HOST` prints one's own); may be repeated",
    )


def list_models(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        entries = client.models()
    if arguments.json:
        output.json_data([entry.to_json() for entry in entries])
    elif entries:
        output.data(output.table(_rows(entries)))
    else:
        output.talk("no models; upload one: blindai models upload HOST FILE")


def upload_model(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client, proof.of_refusals(arguments):
        entry = client.upload_model(
            arguments.file,
            name=arguments.name,
            visibility=arguments.visibility,
            shared_with=arguments.share_with,
            allow_sealing=arguments.allow_sealing,
            receipt=proof.wanted(arguments),
            progress=True,
        )
    if arguments.json:
        output.json_data(entry.to_json())
    else:
        output.data(f"{entry.name} {entry.sha256}")
    proof.save(arguments, entry.receipt)


def share_model(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        entry = client.share_model(
            arguments.model, visibility=arguments.visibility, shared_with=arguments.share_with
        )
    if arguments.json:
        output.json_data(entry.to_json())
    else:
        output.talk(f"{entry.name} is {_visibility(entry)}")


def load_model(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        client.load_model(arguments.model)
    _done(arguments, "loaded")


def unload_model(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        client.unload_model(arguments.model)
    _done(arguments, "unloaded")


def delete_model(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        client.delete_model(arguments.model)
    _done(arguments, "deleted")


def _done(arguments: argparse.Namespace, what: str) -> None:
    if arguments.json:
        output.json_data({what: arguments.model})
    else:
        output.talk(f"{what} {arguments.model}")


def _rows(entries: tuple[ModelEntry, ...]) -> list[tuple[str, ...]]:
    """Visibility and last use are shown where the server knows them: others of the protocol do not."""
    heading: tuple[str, ...] = ("NAME", "VERSION", "STATE")
    owned = any(entry.visibility for entry in entries)
    if owned:
        heading += ("VISIBILITY", "LAST USED")
    rows = [(*heading, "BYTES", "SHA-256")]
    for entry in entries:
        middle = (_visibility(entry), _moment(entry.last_used)) if owned else ()
        name = (entry.name, entry.version, entry.state)
        rows.append((*name, *middle, str(entry.size_bytes), entry.sha256))
    return rows


def _visibility(entry: ModelEntry) -> str:
    return f"{entry.visibility} ({len(entry.shared_with)})" if entry.shared_with else entry.visibility


def _moment(seconds: int) -> str:
    if not seconds:
        return "never"
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return "?"  # a year that no calendar has: the server's, who may write what it likes
    return f"{moment:%Y-%m-%dT%H:%MZ}"
