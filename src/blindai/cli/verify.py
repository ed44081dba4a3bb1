"""`blindai verify`: what is this server, and does it satisfy my policy?"""

from __future__ import annotations

import argparse
from pathlib import Path

from blindai.attestation.verdict import Verdict
from blindai.cli import connection, output
from blindai.cli.parser import Verbs
from blindai.errors import EvidenceRejected, UsageError


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "verify",
        help="verify a server against a policy and print the verdict",
        description="Verify a server against a policy and print the verdict, claim by claim. "
        "The request for evidence is sent and, once the server is accepted, GET /v2; never an API key. "
        "Exit code: 0 accepted, 2 unreachable, "
        "3 rejected by the policy, 4 malformed or forged evidence.",
        epilog="example: blindai verify inference.example.org --policy policy.toml",
    )
    connection.add_arguments(parser)
    parser.add_argument(
        "--save-certificate",
        metavar="FILE",
        help="save the attested TLS certificate (PEM), for tools that pin one; it ends with the keyset",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    try:
        with connection.connected(arguments, api_key=False) as client:
            if arguments.save_certificate:
                _save(arguments.save_certificate, client.server_certificate)
            _print(client.verdict, as_json=arguments.json)
    except EvidenceRejected as refusal:
        if refusal.verdict is not None:
            _print(refusal.verdict, as_json=arguments.json)
        raise


def _print(verdict: Verdict, *, as_json: bool) -> None:
    if as_json:
        output.json_data(verdict.to_json())
    else:
        output.data(str(verdict))


def _save(path: str, certificate: str) -> None:
    try:
        Path(path).write_text(certificate, encoding="ascii")
    except OSError as exc:
        raise UsageError(f"cannot write the certificate: {path}: {exc.strerror}") from exc
    output.talk(f"certificate saved to {path}")
