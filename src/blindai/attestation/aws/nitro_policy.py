"""What a policy may demand of Nitro Enclaves, and the judgement of verified claims against it.

Code identity is PCR 0, the whole image; or PCR 8, who signed it, with PCR 1 (kernel and boot ramdisk) and
PCR 2 (application).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from blindai.attestation.aws.document import MAX_PCR, PCR_BYTES
from blindai.attestation.aws.nitro import TEE, NitroClaims
from blindai.attestation.relaxation import Relaxation
from blindai.attestation.times import shown
from blindai.attestation.toml_table import Table
from blindai.attestation.verdict import Check, judge
from blindai.errors import PolicyError, Reason

IDENTITIES = (("pcr0",), ("pcr8", "pcr1", "pcr2"))
MAX_AGE_SECONDS = 300
CLOCK_SKEW_SECONDS = 300
RELAXATIONS: tuple[Relaxation, ...] = ()


@dataclass(frozen=True)
class NitroAccept:
    """One `[[accept]] tee = "nitro"`. `pcrs` are compared; a document is good for `max_age_seconds`."""

    pcrs: Mapping[int, bytes]
    max_age_seconds: int = MAX_AGE_SECONDS
    tee: str = TEE


DEFAULTS = NitroAccept({})
"""What is demanded of the platform when nobody named a measurement (simulation without a policy)."""


def load(table: Table) -> NitroAccept:
    """Read an entry, or raise PolicyError. A missing code identity does not load."""
    if "allow_debug" in table:
        raise table.error("allow_debug", "is not offered: a debug enclave is always refused")
    pcrs = {
        index: value
        for index in range(MAX_PCR + 1)
        if (value := table.hexadecimal(f"pcr{index}", size_bytes=PCR_BYTES)) is not None
    }
    for index, value in pcrs.items():
        if not any(value):
            raise table.error(f"pcr{index}", "is zero: that is a register that nothing was measured into")
    accept = NitroAccept(pcrs, table.integer("max_age_seconds", default=MAX_AGE_SECONDS))
    table.finish()  # first: a misspelt key is named as that, not as missing
    named = {f"pcr{index}" for index in pcrs}
    if not any(named.issuperset(identity) for identity in IDENTITIES):
        raise PolicyError(
            f"{table.error('tee', 'says nitro')}, but pcr0 is missing: "
            "the policy does not say which code it accepts",
            hint="name pcr0, or pcr8 with pcr1 and pcr2; nitro-cli build-enclave prints them",
        )
    return accept


def entry_toml(claims: NitroClaims) -> str:
    """Return the keys of an entry that accepts exactly the code of these claims."""
    measured = {f"pcr{i}": claims.pcrs[i] for i in (0, 1, 2, 8) if any(claims.pcrs.get(i, b""))}
    return "".join(f'{name} = "{value.hex()}"\n' for name, value in measured.items())


def appraise(accept: NitroAccept, claims: NitroClaims, *, now: int) -> tuple[Check, ...]:
    """Judge every claim that the entry speaks about."""
    return (*_measured(accept, claims), *_age(accept, claims, now))


def _measured(accept: NitroAccept, claims: NitroClaims) -> Iterator[Check]:
    for index, expected in accept.pcrs.items():
        found = claims.pcrs.get(index, b"")
        yield judge(
            f"pcr{index}",
            found == expected,
            Reason.MEASUREMENT_MISMATCH,
            source="evidence",
            found=found.hex() or "not in the document",
            expected=expected.hex(),
            accepted_by=f'pcr{index} = "{found.hex()}"' if any(found) else "",
        )


def _age(accept: NitroAccept, claims: NitroClaims, now: int) -> Iterator[Check]:
    """The nonce proves freshness; the time that AWS signed is a second, independent sign of it."""
    yield judge(
        "document_age",
        now - claims.timestamp <= accept.max_age_seconds,
        Reason.EVIDENCE_STALE,
        source="evidence",
        found=f"made {shown(claims.timestamp)}",
        expected=f"at most {accept.max_age_seconds} s before {shown(now)}",
        accepted_by=f"max_age_seconds = {max(now - claims.timestamp, 0)}",
    )
    yield judge(
        "document_time",
        claims.timestamp <= now + CLOCK_SKEW_SECONDS,
        Reason.EVIDENCE_NOT_YET_VALID,
        source="evidence",
        found=f"made {shown(claims.timestamp)}",
        expected=f"before {shown(now + CLOCK_SKEW_SECONDS)}",
    )
