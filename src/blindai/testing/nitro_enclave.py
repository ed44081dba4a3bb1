"""What a fake Nitro enclave is like: its measurements, its document, and the chain that vouches for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blindai.tee.measurement import SIMULATION_LABEL
from blindai.tee.simulated import Window
from blindai.tee.simulated.platform import DAY_SECONDS

PCR_COUNT = 16
PCR_BYTES = 48
_HOUR_SECONDS = 3600
_YEAR_SECONDS = 365 * DAY_SECONDS
# As in genuine documents: each certificate lives shorter than the one above it, the last one 3 hours.
_ROOT = Window(-5 * _YEAR_SECONDS, 25 * _YEAR_SECONDS)
_REGION = Window(-4 * DAY_SECONDS, 16 * DAY_SECONDS)
_ZONE = Window(-DAY_SECONDS, 5 * DAY_SECONDS)
_INSTANCE = Window(-_HOUR_SECONDS, 23 * _HOUR_SECONDS)
_LEAF = Window(-_HOUR_SECONDS // 2, 5 * _HOUR_SECONDS // 2 + 3)
AUTHORITIES = ("region", "zone", "instance")


def _measured() -> dict[int, bytes]:
    named = {0: b"image", 1: b"kernel", 2: b"application", 3: b"role", 4: b"instance"}
    return {
        index: hashlib.sha384(SIMULATION_LABEL + b"Nitro " + name).digest() for index, name in named.items()
    }


@dataclass(frozen=True)
class NitroEnclave:
    """Every knob of `FakeNitro`. The defaults are a healthy enclave.

    Whatever is turned, the document is signed as the hypervisor would sign it; only `signed_by_stranger`,
    `edit_envelope`, `flipped_bit_at` and `trailing` touch the signature or what surrounds it.
    """

    # The enclave.
    pcrs: Mapping[int, bytes] = field(default_factory=dict)  # instead of the healthy ones, by index
    debug: bool = False  # started in debug mode: PCR 0 to 2 are zero
    module_id: str = "i-00000000000000000-enc0000000000000000"

    # The document. `user_data` carries the report data unless `payload` says otherwise.
    timestamp_offset: float = 0  # seconds from now
    digest: str = "SHA384"
    public_key: bytes | None = None
    nonce: bytes | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)  # members instead of, or beside, the true ones
    left_out: tuple[str, ...] = ()  # members of the payload
    repeated: str | None = None  # a member of the payload that is there twice
    indefinite: bool = False  # the payload is a map without a length, as some genuine ones are
    edit_payload: Callable[[dict[str, Any]], None] | None = None  # before it is signed
    edit_payload_bytes: Callable[[bytes], bytes] | None = None  # likewise, encoded

    # The COSE envelope.
    protected: bytes = bytes.fromhex("a1013822")  # {1: -35}, that is ES384
    tagged: bool = False  # tag 18 in front

    # The chain. A certificate by a stranger names its issuer, who never signed it.
    leaf_by_stranger: bool = False
    authority_by_stranger: str | None = None  # one of `AUTHORITIES`
    leaf_curve: str = "P-384"  # or "P-256", "P-521"
    leaf_is_ca: bool = False
    no_ca: str | None = None  # the one of `AUTHORITIES` that may not issue certificates
    no_cert_sign: str | None = None  # the one of `AUTHORITIES` whose key may not sign certificates
    path_lengths: tuple[int | None, int | None, int | None] = (2, 1, 0)  # of `AUTHORITIES`
    edit_bundle: Callable[[list[bytes]], None] | None = None  # DER: root, region, zone, instance

    # Dates. A reused root keeps its own.
    root_window: Window = _ROOT
    region_window: Window = _REGION
    zone_window: Window = _ZONE
    instance_window: Window = _INSTANCE
    leaf_window: Window = _LEAF

    # After the document was composed.
    signed_by_stranger: bool = False  # a P-384 key without a certificate
    edit_envelope: Callable[[list[Any]], None] | None = None  # protected, unprotected, payload, signature
    flipped_bit_at: int | None = None  # offset of the byte whose lowest bit is inverted
    trailing: bytes = b""

    def __post_init__(self) -> None:
        for name in ("authority_by_stranger", "no_ca", "no_cert_sign"):
            if getattr(self, name) not in (None, *AUTHORITIES):
                raise ValueError(f"{name} is one of {', '.join(AUTHORITIES)}")

    @property
    def registers(self) -> dict[int, bytes]:
        """All PCRs as the document tells them."""
        registers = {index: bytes(PCR_BYTES) for index in range(PCR_COUNT)} | _measured()
        if self.debug:
            registers |= {index: bytes(PCR_BYTES) for index in range(3)}
        return registers | dict(self.pcrs)
