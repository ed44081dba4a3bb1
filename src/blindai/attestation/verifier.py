"""From evidence to proof: verify, bind, appraise. The only place that makes an `Attested`.

1. the primary piece of evidence verifies: chain to a trusted root, signatures, dates (`vendors.verify`)
2. there is no other piece: this version knows none that may stand beside a CPU quote
3. the report data that the hardware signed are those of this keyset, this challenge and this evidence
4. claims and channel satisfy the policy, all mismatches gathered (`appraisal.appraise`)

Before this, the channel has checked that the keyset's TLS key ended the connection (`channel.handshake`).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, final

from blindai.attestation import appraisal, binding, vendors
from blindai.attestation.policy import Policy
from blindai.attestation.trust import Trust
from blindai.attestation.types import ChannelFacts, Claims, Collateral, Evidence, Floor
from blindai.attestation.verdict import Verdict
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason

MAX_TRUST_SECONDS = 3600
"""How long a verified key is trusted without new evidence, at most."""

_MINT = object()


@final
class Attested:
    """Proof that one TLS key was shown to be what one policy demands. Whatever sends data demands one.

    It has no public constructor: only `attest` below makes it, and only after every check held.
    """

    __slots__ = ("_facts",)
    _facts: AttestedFacts

    def __init__(self, mint: object, facts: AttestedFacts) -> None:
        if mint is not _MINT:
            raise TypeError("an Attested value is made by a completed verification, and by nothing else")
        object.__setattr__(self, "_facts", facts)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("an Attested value does not change")

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Attested value cannot be copied, sent or stored")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Attested is final")

    @property
    def verdict(self) -> Verdict:
        return self._facts.verdict

    @property
    def tls_spki_sha256(self) -> bytes:
        """The key that must end every connection sent under this proof."""
        return self._facts.tls_spki_sha256

    @property
    def keyset_sha256(self) -> bytes:
        return self._facts.keyset_sha256

    @property
    def not_after(self) -> int:
        """Unix seconds: the first end of keyset, collateral, policy, operator's certificate, and one hour."""
        return self._facts.not_after

    @property
    def platform(self) -> str:
        return self._facts.platform

    @property
    def freshness(self) -> Floor:
        """The collateral's numbers, to raise the roll-back floors with."""
        return self._facts.freshness

    def __repr__(self) -> str:
        return f"<Attested {self.verdict.tee} simulated={self.verdict.simulated} until={self.not_after}>"


@dataclass(frozen=True)
class AttestedFacts:
    """What an `Attested` holds. By itself it proves nothing."""

    verdict: Verdict
    tls_spki_sha256: bytes
    keyset_sha256: bytes
    not_after: int
    platform: str
    freshness: Floor


def attest(  # noqa: PLR0913  every input of the decision is an argument, none is ambient
    evidence: Sequence[Evidence],
    collateral: Collateral,
    *,
    keyset_sha256: bytes,
    tls_spki_sha256: bytes,
    challenge_root: bytes,
    channel: ChannelFacts,
    policy: Policy,
    trust: Trust,
    floors: Mapping[str, Floor],
    now: int,
) -> Attested:
    """Return the proof, or raise AttestationError.

    `channel` and `tls_spki_sha256` are what the caller's own connection and the keyset behind
    `keyset_sha256` say. `floors` are what this caller saw before, by `Claims.platform`. `now` is Unix
    seconds. EvidenceRejected carries the whole verdict.
    """
    claims = examine(
        evidence,
        collateral,
        keyset_sha256=keyset_sha256,
        challenge_root=challenge_root,
        trust=trust,
        now=now,
    )
    floor = floors.get(claims.platform, Floor())
    verdict = appraisal.appraise(claims, channel, policy=policy, floor=floor, now=now)  # 4
    if not verdict.accepted:
        raise EvidenceRejected(verdict.reasons[0], _summary(verdict), verdict=verdict, hint=_hint(verdict))
    return Attested(_MINT, _facts(claims, channel, policy, verdict, tls_spki_sha256, keyset_sha256, now))


def examine(  # noqa: PLR0913  every input of the decision is an argument, none is ambient
    evidence: Sequence[Evidence],
    collateral: Collateral,
    *,
    keyset_sha256: bytes,
    challenge_root: bytes,
    trust: Trust,
    now: int,
) -> Claims:
    """Return what verified and bound evidence says, or raise AttestationError (steps 1 to 3).

    Nothing is judged: whatever code runs on genuine hardware passes. It is for showing, and for a first
    policy; it never leads to an `Attested`.
    """
    if not evidence:
        raise EvidenceMalformed(Reason.EVIDENCE_MISSING, "the answer has no evidence")
    claims = vendors.verify(evidence[0], collateral, trust=trust, now=now)  # 1
    for _ in evidence[1:]:  # 2
        raise EvidenceMalformed(
            Reason.EVIDENCE_UNKNOWN_TYPE, "evidence of a type that may not stand beside the primary piece"
        )
    expected = binding.report_data(
        keyset_sha256=keyset_sha256, challenge_root=challenge_root, others=evidence[1:]
    )
    if not hmac.compare_digest(claims.report_data, expected):  # 3
        raise EvidenceForged(
            Reason.REPORT_DATA_MISMATCH,
            "the hardware signed something else than this server's keys and this challenge: "
            "the evidence is replayed or belongs to another server",
            hint="nothing in a policy accepts this: find out what answered instead of the server",
        )
    return claims


def _facts(
    claims: Claims,
    channel: ChannelFacts,
    policy: Policy,
    verdict: Verdict,
    tls_spki_sha256: bytes,
    keyset_sha256: bytes,
    now: int,
) -> AttestedFacts:
    # A proof ends with the first thing that it rests on: an expired policy accepts nothing.
    ends = [channel.not_after, claims.not_after, now + MAX_TRUST_SECONDS]
    if policy.expires is not None:
        ends.append(policy.expires)
    if policy.operator_spki_sha256 and channel.operator_not_after is not None:
        ends.append(channel.operator_not_after)
    return AttestedFacts(
        verdict=verdict,
        tls_spki_sha256=tls_spki_sha256,
        keyset_sha256=keyset_sha256,
        not_after=min(ends),
        platform=claims.platform,
        freshness=claims.freshness,
    )


def _summary(verdict: Verdict) -> str:
    first = verdict.failures[0]
    more = f" (and {len(verdict.failures) - 1} more)" if len(verdict.failures) > 1 else ""
    wanted = f", expected {first.expected}" if first.expected else ""
    return f"the server does not satisfy the policy: {first.claim} is {first.found}{wanted}{more}"


_HINTS = {
    Reason.MEASUREMENT_MISMATCH: "other code runs there than the policy names: do not send data unless you "
    "expected an upgrade",
    Reason.NAME_MISMATCH: "dial a name that the server lists, or start it with --name; the policy's names "
    "may list others than the one dialled",
    Reason.OPERATOR_MISMATCH: "is it the right file? the operator may have changed keys: ask for the new "
    "certificate by a way that you trust",
    Reason.OPERATOR_UNKNOWN: "the server shows no certificate of an operator; what `verify "
    "--save-certificate` wrote is the server's own, not an operator's",
    Reason.TEE_NOT_ACCEPTED: "the policy is for another kind of hardware: blindai policy show FILE",
    Reason.POLICY_EXPIRED: "get a newer policy from whoever made this one",
    Reason.KEYSET_EXPIRED: "check this computer's clock, and the server's",
    Reason.KEYSET_NOT_YET_VALID: "check this computer's clock, and the server's",
    Reason.TCB_OUT_OF_DATE: "the machine needs its vendor's updates; tcb_status accepts it as it is",
    Reason.CRL_MISSING: "the server must staple AMD's CRL: `blindai collateral fetch amd` gets it",
    Reason.PLATFORM_CONFIGURATION: "the policy's allow_ keys accept such a platform",
}


def _hint(verdict: Verdict) -> str:
    """Return what to do about the first failure."""
    return _HINTS.get(verdict.reasons[0], "")
