"""A policy from what one server shows now: trust on first use.

1. ask for evidence about a fresh nonce, exactly as every connection does, and send nothing else
2. the keyset's TLS key ended that connection; the challenge leads from the nonce to the signed root
3. the evidence verifies and is bound to both: genuine hardware runs *this* code, whatever it is
4. write the code down, with the strict defaults
5. judge the same answer by the policy that was written, and tell what it refuses

Nobody has said that the code is the right one: that is the trust in the first use.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass

from blindai.attestation import vendors
from blindai.attestation.policy import SETTINGS, Policy
from blindai.attestation.times import shown
from blindai.attestation.types import Claims
from blindai.attestation.verdict import Verdict
from blindai.channel import answer, handshake, operator
from blindai.channel.bundle import Bundle
from blindai.client import http
from blindai.errors import AttestationError, EvidenceRejected
from blindai.transport.session import Demands
from blindai.transport.sync import AttestedTransport

LIFE_DAYS = 90


@dataclass(frozen=True)
class FirstUse:
    """The policy's text, and what it says of the server that it was made from."""

    text: str
    claims: Claims
    verdict: Verdict


def begin(demands: Demands, *, timeout_seconds: float) -> FirstUse:
    """Meet the server and write the policy, or raise AttestationError if its evidence does not hold.

    The policy of `demands` does not count: there is none yet.
    """
    bundle = _received(demands, timeout_seconds)  # 1
    now = int(demands.clock())
    claims = handshake.examine(bundle, trust=demands.trust, now=now)  # 2, 3
    text = _text(bundle, demands, claims, now)  # 4
    try:
        verdict = handshake.conclude(  # 5
            bundle, policy=Policy.from_toml(text), trust=demands.trust, floors={}, now=now
        ).verdict
    except EvidenceRejected as refusal:
        if refusal.verdict is None or refusal.verdict.tee != claims.tee:
            raise  # not the judgement of this policy
        verdict = refusal.verdict
    return FirstUse(text, claims, verdict)


def _received(demands: Demands, timeout_seconds: float) -> Bundle:
    transport = AttestedTransport(demands)
    with contextlib.closing(transport):
        try:
            with http.translated(demands.origin):
                transport.attest(connect_timeout_seconds=timeout_seconds)
        except AttestationError:
            # Real hardware is never accepted without a policy; what it sent is here to be examined.
            if transport.session.bundle is None:
                raise
        bundle = transport.session.bundle
    assert bundle is not None  # noqa: S101  an attestation that succeeds leaves what it judged
    return bundle


def _text(bundle: Bundle, demands: Demands, claims: Claims, now: int) -> str:
    keys = answer.parse(bundle.answer)
    shown_by = operator.shown_by(keys.collateral, bundle.peer.certificate, keyset=keys.keyset, now=now)
    spki = shown_by.spki_sha256 if shown_by else None
    expires = datetime.datetime.fromtimestamp(now, datetime.UTC).date() + datetime.timedelta(days=LIFE_DAYS)
    lines = [
        *_heading(demands, claims, now),
        "version = 1",
        f"expires = {expires.isoformat()}",
        f'names = ["{demands.origin.host}"]',
        "",
        *_operator(spki),
        "# What the server must promise; this is what it promises today:",
        "# [require]",
        *(f"# {line}" for line in _promises(keys.keyset.settings)),
        "",
        "# The only models that may answer, by the SHA-256 that `blindai models list` shows:",
        "# [models]",
        '# sha256 = ["..."]',
        "",
        vendors.entry_toml(claims).rstrip("\n"),
        *_relaxations(claims.tee),
        "",
    ]
    return "\n".join(lines)


def _heading(demands: Demands, claims: Claims, now: int) -> Iterator[str]:
    what = "SIMULATED hardware, which protects nothing," if claims.simulated else "genuine hardware"
    yield f"# Trust on first use: {demands.origin.host_header} at {shown(now)}."
    yield f"# Verified: {what} runs exactly the code named below ({claims.tee})."
    yield "# Not verified: that this code is what you want. Compare it with a build that you trust."
    if claims.tee == "tdx" and not (any(claims.measurements["rtmr1"]) and any(claims.measurements["rtmr2"])):
        yield "# WARNING: nothing was measured into rtmr1 or rtmr2. What is named is the firmware alone."
    if claims.tee == "sev-snp":
        yield '# Not verified: boot = "direct". No report shows it: keep that line only if kernel, initrd and'
        yield "# command line are measured with the firmware. Otherwise what is named is the firmware alone."


def _operator(spki_sha256: str | None) -> Iterator[str]:
    yield "# Whose server it must be. " + (
        "This key issued the certificate that the server showed:"
        if spki_sha256
        else "The server showed no certificate of an operator."
    )
    yield "# [operator]"
    yield f'# spki_sha256 = ["{spki_sha256 or "..."}"]'
    yield ""


def _promises(settings: object) -> Iterator[str]:
    """A server chooses these texts: whatever could end the comment it stands in is left out."""
    for key in SETTINGS:
        value = settings.get(key) if isinstance(settings, dict) else None
        if isinstance(value, (list, tuple)):
            value = list(value)
        written = "" if value is None else json.dumps(value)
        if written and written.isprintable() and "\\" not in written:
            yield f"{key} = {written}"


def _relaxations(tee: str) -> Iterator[str]:
    offered = vendors.relaxations(tee)
    if offered:
        yield "# What it may give up, each by its name:"
        yield f"# relax = {json.dumps(list(offered))}"
        yield from (f"#   {name}: {relaxation.gives_up}" for name, relaxation in offered.items())
