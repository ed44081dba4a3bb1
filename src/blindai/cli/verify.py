"""`blindai verify`: what is this server, or what was it, and does it satisfy my policy?"""

from __future__ import annotations

import argparse
import datetime
import re
from pathlib import Path

from blindai import private_file
from blindai.attestation.verdict import Verdict
from blindai.cli import connection, output
from blindai.cli.parser import Verbs
from blindai.client.verification import BUNDLE_SUFFIX, Judged, judge
from blindai.errors import UsageError


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "verify",
        help="verify a server, or a saved bundle, against a policy and print the verdict",
        description="Verify a server against a policy and print the verdict, claim by claim. "
        "Only the request for evidence is sent. What the server sent can be saved as a bundle, which is "
        "verified the same way without any network. Exit code: 0 accepted, 2 unreachable, "
        "3 rejected by the policy, 4 malformed or forged evidence.",
        epilog="example: blindai verify inference.example.org --policy policy.toml --save bundle.json",
    )
    parser.add_argument(
        "source",
        metavar="HOST|FILE",
        help=f"{connection.ADDRESS_HELP}; or a bundle, a file whose name ends in {BUNDLE_SUFFIX}",
    )
    connection.add_demands(parser)
    parser.add_argument(
        "--at",
        metavar="TIME",
        help="judge a bundle at this time (default now): 2026-10-01, 2026-10-01T12:00:00Z or Unix seconds",
    )
    parser.add_argument(
        "--explain", action="store_true", help="say what was checked, against what, and what it proves"
    )
    parser.add_argument(
        "--save",
        metavar="FILE",
        help=f"save what the server sent as a bundle (a name ending in {BUNDLE_SUFFIX}), "
        "also when it is refused; a file that exists is not overwritten",
    )
    parser.add_argument(
        "--save-certificate",
        metavar="FILE",
        help="save the attested TLS certificate (PEM), for tools that pin one; it ends with the keyset",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    bundle = arguments.source.endswith(BUNDLE_SUFFIX)
    _check_files(arguments, bundle=bundle)
    connection.check_demands(arguments, bundle=bundle)
    with connection.said_aloud():
        judged = judge(
            arguments.source,
            policy=arguments.policy,
            certificate=arguments.certificate,
            simulation=connection.simulation(arguments),
            at=arguments.at,
            floors=connection.floors(arguments),
            attestation_timeout_seconds=arguments.timeout,
        )
    if judged.verdict.simulated:
        output.talk(connection.SIMULATED)
    _show(judged.verdict, arguments)
    if arguments.save:
        _save_bundle(arguments.save, judged)
    if judged.refusal is not None:
        raise judged.refusal
    if arguments.save_certificate and judged.bundle is not None:
        _save_certificate(arguments.save_certificate, judged.bundle.peer.certificate_pem)


def _check_files(arguments: argparse.Namespace, *, bundle: bool) -> None:
    """Refuse, before anything is sent, what could only be noticed after it."""
    if arguments.save is None:
        return
    if bundle:
        raise UsageError("--save is for what a server sends; this is a bundle already")
    if not arguments.save.endswith(BUNDLE_SUFFIX):
        raise UsageError(
            f"the name of a bundle ends in {BUNDLE_SUFFIX}: by that it is told from a host",
            hint=f"--save {arguments.save or 'bundle'}{BUNDLE_SUFFIX}",
        )
    if Path(arguments.save).exists():
        raise UsageError(
            f"{arguments.save} exists: a bundle is not overwritten", hint="give another name to --save"
        )


def _show(verdict: Verdict, arguments: argparse.Namespace) -> None:
    explanation = ""
    if arguments.explain:
        from blindai.attestation.explanations import explain  # noqa: PLC0415  many words, seldom asked for

        explanation = explain(verdict)
    if arguments.json:
        output.json_data(verdict.to_json())
        if explanation:
            output.talk(explanation)  # stdout is the one document that a program reads
    else:
        output.data(explanation or str(verdict))


def _save_bundle(path: str, judged: Judged) -> None:
    if judged.bundle is None:
        output.talk("no bundle saved: the server gave no complete answer")
        return
    moment = datetime.datetime.fromtimestamp(judged.verdict.at, datetime.UTC)
    try:
        private_file.replace(Path(path), judged.bundle.encode())
    except OSError as exc:
        failure = UsageError(f"cannot write the bundle: {path}: {exc.strerror}")
        if judged.refusal is None:
            raise failure from exc
        output.failure(failure)  # the exit code is the refusal's
        return
    root = _simulation_root(judged.verdict)
    output.talk(f"bundle saved to {path}; the same verdict: --at {moment:%Y-%m-%dT%H:%M:%SZ}{root}")


def _simulation_root(verdict: Verdict) -> str:
    """A bundle of a simulation needs its root named, which a connection to this machine did without."""
    for check in verdict.checks:
        if (
            verdict.simulated
            and check.claim == "trust_anchor"
            and (root := re.search("[0-9a-f]{64}", check.found))
        ):
            return f" --simulation-root {root[0]}"
    return ""


def _save_certificate(path: str, certificate: str) -> None:
    try:
        Path(path).write_text(certificate, encoding="ascii")
    except OSError as exc:
        raise UsageError(f"cannot write the certificate: {path}: {exc.strerror}") from exc
    output.talk(f"certificate saved to {path}")
