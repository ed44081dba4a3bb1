"""`blindai models`: list, upload and delete."""

from __future__ import annotations

import argparse

from blindai.cli import connection, output
from blindai.cli.parser import Verbs
from blindai.wire.metadata import ModelEntry


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "models", help="list, upload or delete models", description="List, upload or delete models."
    )
    actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="list the server's models", description="List the models.")
    connection.add_arguments(listing)
    listing.set_defaults(run=list_models)

    upload = actions.add_parser(
        "upload",
        help="upload an ONNX model",
        description="Upload an ONNX model. A model of the same name is replaced.",
        epilog="example: blindai models upload inference.example.org sentiment.onnx --policy policy.toml",
    )
    connection.add_arguments(upload)
    upload.add_argument("file", metavar="FILE", help="the ONNX file")
    upload.add_argument("--name", help="the model's name (default: the file's name without its ending)")
    upload.set_defaults(run=upload_model)

    delete = actions.add_parser("delete", help="delete a model", description="Delete a model.")
    connection.add_arguments(delete)
    delete.add_argument("model", metavar="MODEL", help="the model's name")
    delete.set_defaults(run=delete_model)


def list_models(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        entries = client.models()
    if arguments.json:
        output.json_data([entry.to_json() for entry in entries])
    elif entries:
        heading = ("NAME", "VERSION", "STATE", "BYTES", "SHA-256")
        output.data(output.table([heading, *(_row(entry) for entry in entries)]))
    else:
        output.talk("no models; upload one: blindai models upload HOST FILE")


def upload_model(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        entry = client.upload_model(arguments.file, name=arguments.name, progress=True)
    if arguments.json:
        output.json_data(entry.to_json())
    else:
        output.data(f"{entry.name} {entry.sha256}")


def delete_model(arguments: argparse.Namespace) -> None:
    with connection.connected(arguments) as client:
        client.delete_model(arguments.model)
    if arguments.json:
        output.json_data({"deleted": arguments.model})
    else:
        output.talk(f"deleted {arguments.model}")


def _row(entry: ModelEntry) -> tuple[str, ...]:
    return (entry.name, entry.version, entry.state, str(entry.size_bytes), entry.sha256)
