"""`blindai receipt`: what did an enclave answer, and to what? Checked offline, also years later."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from blindai.attestation.times import shown
from blindai.attestation.verdict import Verdict
from blindai.channel import receipt
from blindai.channel.proof import Proof
from blindai.cli import connection, output
from blindai.cli.parser import Verbs
from blindai.client.receipts import read_proof, verify_receipt
from blindai.errors import AttestationError

NOT_VERIFIED = "NOT VERIFIED: anybody can write such a file; blindai receipt verify checks it"


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "receipt",
        help="verify and show proofs of what a server answered",
        description="Verify and show proofs: the signed receipt of one request and its response, with all "
        "that shows whose it is. `answer.receipt.save(path)` writes one.",
    )
    actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
    _add_verify(actions)
    _add_show(actions)


def _add_verify(actions: Verbs) -> None:
    parser = actions.add_parser(
        "verify",
        help="verify a proof against a policy and print the verdict",
        description="Verify a proof: that a server which satisfies the policy signed the receipt, and that "
        "the receipt is about these bytes. No network is used. A proof without bodies says which request "
        "was answered how, and not what was in either: give the files, byte for byte as they were sent and "
        "received. "
        "Exit code: 0 it holds, 3 rejected by the policy, 4 malformed or forged.",
        epilog="example: blindai receipt verify proof.json --policy policy.toml --at 2026-10-01T12:00:00Z",
    )
    parser.add_argument("proof", metavar="FILE", help="a proof")
    demands = parser.add_argument_group("what the server must have been (a policy, a simulation, or both)")
    demands.add_argument("--policy", metavar="FILE", help="policy file; `blindai measure` prints one")
    demands.add_argument(
        "--simulation-root",
        action="append",
        metavar="ROOT",
        help="accept the simulation with this root: PEM file or SHA-256, as `blindai serve` printed it; may "
        "be repeated",
    )
    demands.add_argument(
        "--certificate",
        metavar="FILE",
        help="the operator's certificate (PEM), which the server must have shown",
    )
    parser.add_argument(
        "--at",
        metavar="TIME",
        help="judge at this time (default now), when you know that the proof existed: 2026-10-01, "
        "2026-10-01T12:00:00Z or Unix seconds",
    )
    parser.add_argument("--request", metavar="FILE", type=Path, help="the request's body, for comparison")
    parser.add_argument("--response", metavar="FILE", type=Path, help="the response's body, for comparison")
    parser.add_argument(
        "--require-bodies",
        action="store_true",
        help="refuse (exit code 3) if the request or the response was not compared",
    )
    parser.add_argument(
        "--explain", action="store_true", help="say what was checked, against what, and what it proves"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run_verify, simulation=False)


def _add_show(actions: Verbs) -> None:
    parser = actions.add_parser(
        "show",
        help="print what a proof says, without verifying it",
        description="Print what a proof says. Nothing is verified: anybody can write such a file.",
        epilog="example: blindai receipt show proof.json",
    )
    parser.add_argument("proof", metavar="FILE", help="a proof")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run_show)


def run_verify(arguments: argparse.Namespace) -> None:
    connection.check_demands(arguments, bundle=True)
    try:
        proven = verify_receipt(
            arguments.proof,
            policy=arguments.policy,
            certificate=arguments.certificate,
            simulation=connection.simulation(arguments),
            at=arguments.at,
            request_body=arguments.request,
            response_body=arguments.response,
            require_bodies=arguments.require_bodies,
        )
    except AttestationError as error:
        if error.verdict is not None:
            _show(error.verdict, None, arguments)
        raise
    claims = {
        **proven.receipt.to_json(),
        "request_compared": proven.request_compared,
        "response_compared": proven.response_compared,
    }
    _show(proven.verdict, claims, arguments)
    for what, compared in (("request", proven.request_compared), ("response", proven.response_compared)):
        if not compared:
            output.talk(f"warning: the {what}'s body was not compared: nothing here says what it was")


def run_show(arguments: argparse.Namespace) -> None:
    proof = read_proof(arguments.proof)
    said = receipt.unverified(proof.receipt)
    if arguments.json:
        output.json_data({"verified": False, **_said(proof, said)})
        return
    output.data("\n".join([NOT_VERIFIED, *_lines(_said(proof, said))]))


def _show(verdict: Verdict, claims: dict[str, Any] | None, arguments: argparse.Namespace) -> None:
    if verdict.simulated:
        output.talk("warning: SIMULATION: no hardware protected this server")
    explanation = ""
    if arguments.explain:
        from blindai.attestation.explanations import explain  # noqa: PLC0415  many words, seldom asked for

        explanation = explain(verdict)
    if arguments.json:
        output.json_data({"receipt": claims, "verdict": verdict.to_json()})
        if explanation:
            output.talk(explanation)  # stdout is the one document that a program reads
        return
    lines = [] if claims is None else ["receipt:", *(f"  {line}" for line in _lines(claims))]
    output.data("\n".join([explanation or str(verdict), *lines]))


def _said(proof: Proof, said: receipt.Unverified) -> dict[str, Any]:
    return {
        "receipt": said.claims,
        "keyset_sha256": said.keyset_sha256.hex(),
        "dialled": proof.bundle.peer.dialled,
        "policy_sha256": proof.policy_sha256,
        "request": {**asdict(proof.request_head), "body_included": proof.request_body is not None},
        "response": {**asdict(proof.response_head), "body_included": proof.response_body is not None},
    }


def _lines(value: dict[str, Any], prefix: str = "") -> list[str]:
    """Return one line for each member, those of inner objects under their own."""
    lines = []
    for name, item in value.items():
        if isinstance(item, dict):
            lines += [f"{prefix}{name}:", *_lines(item, prefix + "  ")]
        elif item is not None:
            # One line each: a newline in a header would let a file write lines of its own.
            text = f"{item} ({shown(item)})" if name == "issued_at" else str(item)
            lines.append(f"{prefix}{name}: " + "".join(c if c.isprintable() else "?" for c in text))
    return lines
