"""`blindai serve`: run the server."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blindai.cli import output, server_settings
from blindai.cli.parser import EXIT_USAGE, Parser, Verbs
from blindai.errors import UsageError

if TYPE_CHECKING:
    from blindai.server.ready import Ready
    from blindai.server.settings import Loaded

MIB = 2**20


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "serve",
        help="run the server",
        description="Run an attested inference server until SIGTERM or Ctrl-C. Settings come from the file "
        "of --config, from the environment (BLINDAI_LIMITS_MAX_MODELS=8) and from these flags; the later "
        "wins. All of them are in docs/configuration.md. Models given here lie in clear on this machine; "
        "those that clients upload stay in memory, or sealed in the --store.",
        epilog="example: blindai serve digits.onnx --simulation",
    )
    parser.add_argument(
        "model", nargs="*", metavar="MODEL.onnx", help="serve this model under its file's name"
    )
    parser.add_argument("--config", metavar="FILE", help="the settings (TOML); no file is read unasked")
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="start nothing: check the settings and the files they name, and print every value with where "
        "it comes from",
    )
    _add_settings(parser)
    parser.add_argument(
        "--save-root",
        metavar="FILE",
        help="save the simulation's root certificate (PEM), for --simulation-root",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="when the port is open, print one line of JSON that says where; with --check-config, print JSON",
    )
    parser.set_defaults(run=run)


def _add_settings(parser: Parser) -> None:
    """Flags for what is set most. None of them has a default here: it would win over the file."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        help="set any key, e.g. limits.max_models=8; may be repeated",
    )
    parser.add_argument(
        "--simulation",
        action="store_true",
        default=None,
        help="simulate a TEE: the same code path under a throw-away root, and no protection at all",
    )
    parser.add_argument(
        "--open",
        action="store_true",
        default=None,
        help="serve whoever connects, without callers; a simulation on a loopback address does so anyway",
    )
    parser.add_argument("--host", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port, 0 for any free one (default 9924)")
    parser.add_argument("--name", action="append", help="a name that clients may dial; may be repeated")
    parser.add_argument(
        "--tls-dir",
        metavar="DIR",
        help="the folder of host_server.pem and host_server.key, your own certificate and key: they issue "
        "this server's certificates, and clients can demand that",
    )
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help="publish this policy, for clients to read and compare; it demands nothing of this server",
    )
    parser.add_argument(
        "--no-upload", action="store_true", default=None, help="serve only the models given here"
    )
    parser.add_argument("--max-model-mib", type=int, metavar="MIB", help="largest model (default 2048)")
    parser.add_argument("--max-request-mib", type=int, metavar="MIB", help="largest request (default 64)")
    parser.add_argument("--store", metavar="FOLDER", help="keep uploaded models in this folder, sealed")
    parser.add_argument(
        "--store-key",
        metavar="SOURCE",
        help="where the sealing key comes from: gramine, gramine-mrsigner, snp, vtpm:/path, or in simulation "
        "file:/path",
    )
    parser.add_argument(
        "--metrics", metavar="ADDRESS", help="serve /metrics here, in clear, e.g. 127.0.0.1:9925"
    )
    parser.add_argument(
        "--log-format", choices=("text", "json"), help="lines for people, or one JSON object a line"
    )


def run(arguments: argparse.Namespace) -> int:
    # First: the imports below take seconds on a busy machine, and a tool that starts and reloads at once
    # would end the server by it. Everything is being read anyway. Windows has no such signal.
    if hasattr(signal, "SIGHUP") and not arguments.check_config:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def load() -> Loaded:
        return server_settings.load(arguments.config, _flags(arguments), arguments.model)

    loaded = load()
    if arguments.check_config:
        return _check(loaded, arguments)
    from blindai.server import lifecycle  # noqa: PLC0415 - see `server_settings`

    return lifecycle.run(
        loaded.settings,
        announce=lambda ready: _announce(ready, arguments),
        load=lambda: load().settings,
    )


def _flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the flags say, by the keys of the settings."""
    given = {
        "server.host": arguments.host,
        "server.port": arguments.port,
        "server.names": arguments.name,
        "server.simulation": arguments.simulation,
        "server.open": arguments.open,
        "server.tls_dir": arguments.tls_dir,
        "server.model_upload": None if arguments.no_upload is None else False,
        "server.published_policy": arguments.policy,
        "limits.max_model_bytes": _bytes(arguments.max_model_mib),
        "limits.max_request_bytes": _bytes(arguments.max_request_mib),
        "store.path": arguments.store,
        "store.key": arguments.store_key,
        "metrics.address": arguments.metrics,
        "log.format": arguments.log_format,
    }
    flags: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for text in arguments.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError("--set needs a key and a value", hint="for example --set limits.max_models=8")
        if key in flags:
            raise UsageError(f"{key} is given twice on the command line", hint="leave out one of them")
        flags[key] = value
    return flags


def _bytes(mib: int | None) -> int | None:
    return None if mib is None else mib * MIB


def _check(loaded: Loaded, arguments: argparse.Namespace) -> int:
    from blindai.cli import configuration  # noqa: PLC0415 - see `run`
    from blindai.server import rehearsal  # noqa: PLC0415

    found = rehearsal.problems(loaded.settings, os.environ)
    if arguments.json:
        output.json_data(configuration.to_json(loaded, found))
    else:
        output.data(configuration.text(loaded))
    for problem in found:
        output.talk(f"problem: {problem}")
    return EXIT_USAGE if found else 0


def _announce(ready: Ready, arguments: argparse.Namespace) -> None:
    if arguments.save_root and ready.root_pem:
        _save(arguments.save_root, ready.root_pem)
    if ready.simulated:
        output.talk("warning: SIMULATION, NOT A TEE: no hardware protects what is sent to this server")
        output.talk(f"simulation root: {ready.root_sha256}")
    output.talk(f"evidence: {ready.tee}, from {ready.interface}")
    if ready.operator:
        output.talk("operator: the certificate of --tls-dir issues this server's")
    served = ", ".join(ready.models) or "none yet: blindai models upload"
    output.talk(f"models: {served}")
    if ready.stored_models is not None:
        output.talk(f"store: {ready.stored_models} models of their owners")
    output.talk(f"callers: {ready.callers or 'not told apart: whoever connects may do everything'}")
    if ready.metrics:
        output.talk(f"metrics: http://{ready.metrics}/metrics, in clear")
    output.talk(f"listening on {ready.host}:{ready.port} as {', '.join(ready.names)}; Ctrl-C ends it")
    if arguments.json:
        output.json_line(dataclasses.asdict(ready))


def _save(path: str, pem: str) -> None:
    try:
        Path(path).write_text(pem, encoding="ascii")
    except OSError as exc:
        raise UsageError(f"cannot write the root: {path}: {exc.strerror}") from exc
