"""The layout of an SEV-SNP attestation report, versions 2 to 5 (SEV Secure Nested Paging Firmware ABI, 7.3).

1184 bytes, little-endian: 672 that are signed, then r and s of an ECDSA P-384 signature in 72 bytes each.
Every byte is read or must be zero: what neither is signed nor looked at could carry anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from blindai.errors import EvidenceMalformed, Reason

REPORT_BYTES = 1184
SIGNED_BYTES = 0x2A0
ECDSA_P384_SHA384 = 1
VCEK, VLEK = 0, 1
SIGNING_KEYS = {VCEK: "vcek", VLEK: "vlek"}
NUMBER_BYTES, NUMBER_SPACE = 48, 72

# Bits of the guest policy: the owner's demands, enforced by the firmware.
GUEST_POLICY_BITS = {
    "smt": 16, "migrate_ma": 18, "debug": 19, "single_socket": 20, "cxl_allow": 21, "mem_aes_256_xts": 22,
    "rapl_dis": 23, "ciphertext_hiding_dram": 24, "page_swap_disable": 25,
}  # fmt: skip
_POLICY_MUST_BE_ONE = 17
_POLICY_BITS = 26
# Bits of platform_info: how the machine is configured. Later firmware adds more.
PLATFORM_INFO_BITS = {
    "smt": 0, "tsme": 1, "ecc": 2, "rapl_dis": 3, "ciphertext_hiding_dram": 4, "alias_check_complete": 5,
}  # fmt: skip

# Offsets that must be zero: (from, to, in versions before). The first rows hold for every version.
_ALWAYS = 100
_RESERVED = (
    (0x4C, 0x50, _ALWAYS),
    (0x18B, 0x1A0, _ALWAYS),
    (0x1EB, 0x1EC, _ALWAYS),
    (0x1EF, 0x1F0, _ALWAYS),
    (0x208, SIGNED_BYTES, _ALWAYS),
    (SIGNED_BYTES + NUMBER_BYTES, SIGNED_BYTES + NUMBER_SPACE, _ALWAYS),
    (SIGNED_BYTES + NUMBER_SPACE + NUMBER_BYTES, REPORT_BYTES, _ALWAYS),
    (0x188, 0x18B, 3),  # since version 3: family, model and stepping of the processor
    (0x1F8, 0x208, 5),  # since version 5: mitigation vectors
)


@dataclass(frozen=True)
class Report:
    """A parsed report; nothing in it is verified. Names are the specification's."""

    signed: bytes
    r: int
    s: int
    version: int
    guest_svn: int
    guest_policy: frozenset[str]
    vmpl: int
    platform_info: frozenset[str]
    signing_key: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    reported_tcb: bytes
    current_tcb: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    cpuid: tuple[int, int] | None
    chip_id: bytes
    mitigations: int


def parse(raw: bytes) -> Report:
    """Read a report, or raise EvidenceMalformed."""
    if len(raw) != REPORT_BYTES:
        raise _malformed(f"it has {len(raw)} bytes, not {REPORT_BYTES}")
    version = _number(raw, 0x00, 4)
    if not 2 <= version <= 5:
        raise _malformed(f"version {version} is not 2 to 5")
    if _number(raw, 0x34, 4) != ECDSA_P384_SHA384:
        raise _malformed("its signature is not ECDSA P-384 with SHA-384")
    for start, end, before in _RESERVED:
        if version < before and any(raw[start:end]):
            raise _malformed(f"reserved bytes at {start:#x} are not zero")
    return Report(
        signed=raw[:SIGNED_BYTES],
        r=_number(raw, SIGNED_BYTES, NUMBER_BYTES),
        s=_number(raw, SIGNED_BYTES + NUMBER_SPACE, NUMBER_BYTES),
        version=version,
        guest_svn=_number(raw, 0x04, 4),
        guest_policy=_guest_policy(_number(raw, 0x08, 8)),
        vmpl=_number(raw, 0x30, 4),
        platform_info=_bits(_number(raw, 0x40, 8), PLATFORM_INFO_BITS),
        signing_key=_signing_key(_number(raw, 0x48, 4)),
        report_data=raw[0x50:0x90],
        measurement=raw[0x90:0xC0],
        host_data=raw[0xC0:0xE0],
        id_key_digest=raw[0xE0:0x110],
        author_key_digest=raw[0x110:0x140],
        reported_tcb=raw[0x180:0x188],
        current_tcb=raw[0x38:0x40],
        committed_tcb=raw[0x1E0:0x1E8],
        launch_tcb=raw[0x1F0:0x1F8],
        cpuid=(raw[0x188], raw[0x189]) if version >= 3 else None,
        chip_id=raw[0x1A0:0x1E0],
        mitigations=_number(raw, 0x1F8, 8) & _number(raw, 0x200, 8),  # at launch, and still
    )


def _guest_policy(value: int) -> frozenset[str]:
    if not value >> _POLICY_MUST_BE_ONE & 1 or value >> _POLICY_BITS:
        raise _malformed("reserved bits of its guest policy are not as they must be")
    return _bits(value, GUEST_POLICY_BITS)


def _signing_key(flags: int) -> int:
    if flags >> 5:
        raise _malformed("reserved bits of its flags are not zero")
    key = flags >> 2 & 7
    if key not in SIGNING_KEYS:
        raise _malformed(f"signing key {key} is neither VCEK nor VLEK")
    return key


def _bits(value: int, names: dict[str, int]) -> frozenset[str]:
    return frozenset(name for name, bit in names.items() if value >> bit & 1)


def _number(raw: bytes, offset: int, size: int) -> int:
    return int.from_bytes(raw[offset : offset + size], "little")


def _malformed(what: str) -> EvidenceMalformed:
    return EvidenceMalformed(Reason.REPORT_MALFORMED, f"the SEV-SNP report is malformed: {what}")
