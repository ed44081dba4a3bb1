"""The types that the steps of a verification hand to each other. No imports from this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

MAX_EVIDENCE_BYTES = 64 * 1024
TDX_QUOTE = "application/vnd.blindai.tdx-quote"
SGX_QUOTE = "application/vnd.blindai.sgx-quote"
SNP_REPORT = "application/vnd.blindai.sev-snp-report"
NITRO_DOCUMENT = "application/vnd.blindai.nitro-document"
MAX_KEYSET_LIFE_SECONDS = 48 * 3600


@dataclass(frozen=True)
class Evidence:
    """One CMW record (RFC 9999): what hardware signed, and the media type that says how to read it."""

    media_type: str
    value: bytes


Collateral = Mapping[str, Any]
"""Vendor name -> the certificates, CRLs and TCB data stapled for that vendor, as decoded JSON."""


@dataclass(frozen=True)
class Floor:
    """The newest collateral seen for a platform: nothing older is accepted again (roll-back)."""

    tcb_evaluation: int = 0
    leaf_crl: int = 0
    root_crl: int = 0
    leaf_crl_date: int = 0
    root_crl_date: int = 0

    def raised_to(self, other: Floor) -> Floor:
        return Floor(
            max(self.tcb_evaluation, other.tcb_evaluation),
            max(self.leaf_crl, other.leaf_crl),
            max(self.root_crl, other.root_crl),
            max(self.leaf_crl_date, other.leaf_crl_date),
            max(self.root_crl_date, other.root_crl_date),
        )


class Claims(Protocol):
    """What verified evidence says, whatever the vendor. Signatures and dates hold; nothing is judged."""

    @property
    def tee(self) -> str: ...

    @property
    def report_data(self) -> bytes: ...

    @property
    def simulated(self) -> bool: ...

    @property
    def not_after(self) -> int:
        """Unix seconds at which the first piece of collateral expires."""

    @property
    def platform(self) -> str:
        """The key for roll-back floors: root and platform family, no hardware serial number."""

    @property
    def freshness(self) -> Floor: ...

    @property
    def measurements(self) -> Mapping[str, bytes]: ...

    @property
    def verified(self) -> Mapping[str, str]:
        """What the verification has shown beside the claims: claim -> how. Absent where nothing was shown."""


class Accept(Protocol):
    """One `[[accept]]` entry of a policy."""

    @property
    def tee(self) -> str: ...


@dataclass(frozen=True)
class ChannelFacts:
    """What the connection and the bound keyset say: appraised beside the evidence's claims.

    `dialled` is the name that the caller used. `operator_spki_sha256` is the key that issued the
    certificate of this very connection, if such an issuer was shown and its signature holds.
    """

    dialled: str
    names: tuple[str, ...]
    not_before: int
    not_after: int
    simulated: bool
    settings: Mapping[str, Any] = field(default_factory=dict)
    operator_spki_sha256: str | None = None
    operator_not_after: int | None = None
