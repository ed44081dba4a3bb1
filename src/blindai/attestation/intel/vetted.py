"""Intel collateral that holds, and the certificate chain of a platform with it.

1. the collateral is parsed, within its caps
2. TCB info and QE identity are those of this TEE
3. one trusted root ends all four certificate chains
4. every chain holds, and both CRLs are signed by the authority that they speak for
5. every signed text, CRL and certificate is valid now
6. no CRL lists the platform or an issuer
7. the TCB signing certificate, and no other, comes with TCB info and QE identity

All but 3 and 5 say the same of the same bytes for ever: what was met before, every byte of the collateral and
of the platform's chain, is not parsed and checked again. Who is trusted, and the time, are asked every time.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from blindai.attestation import chain
from blindai.attestation.chain import Dated
from blindai.attestation.intel import collateral as intel_collateral
from blindai.attestation.intel.collateral import IntelCollateral
from blindai.attestation.intel.memory import Memory
from blindai.attestation.trust import Trust, fingerprint, unknown_root
from blindai.attestation.types import Floor

Key = tuple[str, bytes, frozenset[tuple[str, str]]]
"""The TEE, the platform's chain, every member of the collateral: all that steps 1, 2, 4, 6 and 7 look at."""

MAX_KEPT = 8


@dataclass(frozen=True, eq=False)
class Vetted:
    """Collateral that holds for one platform, and what was read of it on the way. Equal only to itself."""

    collateral: IntelCollateral
    root: x509.Certificate
    root_der: bytes
    root_sha256: str
    dated: tuple[Dated, ...]

    @functools.cached_property
    def freshness(self) -> Floor:
        return intel_collateral.freshness(self.collateral)


_met: Memory[Key, Vetted] = Memory(MAX_KEPT)


def vet(collateral: Any, pck_chain_pem: bytes, *, tee: str, trust: Trust, now: int) -> tuple[Vetted, int]:
    """Return what holds at Unix time `now` and until when, or raise AttestationError."""
    key = _key(collateral, pck_chain_pem, tee)
    known = None if key is None else _met.get(key)
    if known is not None:
        if not trust.accepts("intel", known.root):  # 3
            raise unknown_root("Intel", trust)
        return known, chain.check_dates(known.dated, now)  # 5
    stapled = intel_collateral.parse(collateral)  # 1
    pck_chain = intel_collateral.certificates(pck_chain_pem)
    intel_collateral.check_tee(stapled, tee)  # 2
    root = intel_collateral.trusted_root((*stapled.chains, pck_chain), trust)  # 3
    intel_collateral.check_signatures(stapled, pck_chain, root)  # 4
    dated = tuple(intel_collateral.validity(stapled, pck_chain))
    not_after = chain.check_dates(dated, now)  # 5
    intel_collateral.check_revocation(stapled, pck_chain)  # 6
    intel_collateral.check_signers(stapled)  # 7
    vetted = Vetted(
        collateral=stapled,
        root=root,
        root_der=root.public_bytes(Encoding.DER),
        root_sha256=fingerprint(root),
        dated=dated,
    )
    if key is not None:
        _met.keep(key, vetted)
    return vetted, not_after


def _key(collateral: Any, pck_chain_pem: bytes, tee: str) -> Key | None:
    """Return None for collateral that no check will let through: a member of it is not a text."""
    if not isinstance(collateral, dict) or not all(isinstance(text, str) for text in collateral.values()):
        return None
    return tee, pck_chain_pem, frozenset(collateral.items())


def forget() -> None:
    """Forget all collateral, as if this process had met none yet."""
    _met.forget()
