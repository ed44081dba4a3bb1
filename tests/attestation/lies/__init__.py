"""Every way to be refused: one lie each, and the reason and the class of error that it must end in."""

from __future__ import annotations

from tests.attestation.lies import answers, nitro, sgx, snp, tdx
from tests.attestation.lies.answers import ISOLATED, OPERATOR
from tests.attestation.lies.connections import NO_BUNDLES, WIRE_LIES
from tests.attestation.lies.lie import HOUR, Lie, told

LIES = [*answers.LIES, *tdx.LIES, *sgx.LIES, *snp.LIES, *nitro.LIES]
TRUTHS = {"tdx": tdx.TRUTHS, "sgx": sgx.TRUTHS, "sev-snp": snp.TRUTHS, "nitro": nitro.TRUTHS}

__all__ = [
    "HOUR",
    "ISOLATED",
    "LIES",
    "NO_BUNDLES",
    "OPERATOR",
    "TRUTHS",
    "WIRE_LIES",
    "Lie",
    "named",
    "told",
]


def named(tee: str, name: str) -> Lie:
    """Return the one lie of this name about this TEE."""
    (found,) = (lie for lie in LIES if (lie.tee, lie.name) == (tee, name))
    return found
