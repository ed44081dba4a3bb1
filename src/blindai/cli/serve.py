"""`blindai serve`: run the server."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from blindai.cli import output
from blindai.cli.parser import Verbs
from blindai.errors import UsageError

if TYPE_CHECKING:
    from blindai.server.lifecycle import Ready

MIB = 2**20


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "serve",
        help="run the server",
        description="Run an attested inference server until SIGTERM or Ctrl-C. Models given here lie in "
        "clear on this machine; models that clients upload stay in memory.",
        epilog="example: blindai serve digits.onnx --simulation",
    )
    parser.add_argument(
        "model", nargs="*", metavar="MODEL.onnx", help="serve this model under its file's name"
    )
    parser.add_argument(
        "--simulation",
        action="store_true",
        help="simulate a TEE: the same code path under a throw-away root, and no protection at all",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=9924, help="the port, 0 for any free one (default 9924)")
    parser.add_argument(
        "--name", action="append", default=[], help="a name that clients may dial; may be repeated"
    )
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help="publish this policy, for clients to read and compare; it demands nothing of this server",
    )
    parser.add_argument("--no-upload", action="store_true", help="serve only the models given here")
    parser.add_argument(
        "--max-model-mib", type=int, default=2048, metavar="MIB", help="largest model (default 2048)"
    )
    parser.add_argument(
        "--max-request-mib", type=int, default=64, metavar="MIB", help="largest request (default 64)"
    )
    parser.add_argument(
        "--save-root",
        metavar="FILE",
        help="save the simulation's root certificate (PEM), for --simulation-root",
    )
    parser.add_argument(
        "--json", action="store_true", help="when the port is open, print one line of JSON that says where"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    try:
        # Here: the other verbs work where only the client is installed.
        from blindai.server import lifecycle, settings  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise UsageError(
            f"the server's packages are not installed ({exc.name})",
            hint="install this package again with its [server] extra",
        ) from exc
    chosen = settings.Settings(
        host=arguments.host,
        port=arguments.port,
        names=tuple(arguments.name),
        simulation=arguments.simulation,
        model_upload=not arguments.no_upload,
        published_policy=arguments.policy,
        max_model_bytes=arguments.max_model_mib * MIB,
        max_request_bytes=arguments.max_request_mib * MIB,
    )
    return lifecycle.run(
        chosen,
        startup_models=_models(arguments.model),
        announce=lambda ready: _announce(ready, arguments),
    )


def _models(paths: list[str]) -> dict[str, Path]:
    models: dict[str, Path] = {}
    for text in paths:
        path = Path(text)
        name = path.stem.lower()
        if name in models:
            raise UsageError(f"two models would be called {name!r}", hint="rename one of the files")
        models[name] = path
    return models


def _announce(ready: Ready, arguments: argparse.Namespace) -> None:
    if arguments.save_root and ready.root_pem:
        _save(arguments.save_root, ready.root_pem)
    if ready.simulated:
        output.talk("warning: SIMULATION, NOT A TEE: no hardware protects what is sent to this server")
        output.talk(f"simulation root: {ready.root_sha256}")
    served = ", ".join(ready.models) or "none yet: blindai models upload"
    output.talk(f"models: {served}")
    output.talk(f"listening on {ready.host}:{ready.port} as {', '.join(ready.names)}; Ctrl-C ends it")
    if arguments.json:
        output.json_line(dataclasses.asdict(ready))


def _save(path: str, pem: str) -> None:
    try:
        Path(path).write_text(pem, encoding="ascii")
    except OSError as exc:
        raise UsageError(f"cannot write the root: {path}: {exc.strerror}") from exc
