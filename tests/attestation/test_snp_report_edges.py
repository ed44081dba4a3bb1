"""The layout of an SEV-SNP report: every field where it stands, every reserved byte and bit zero."""

from __future__ import annotations

import pytest

from blindai.attestation.amd import product, report
from blindai.errors import EvidenceMalformed, Reason
from blindai.tee.simulated import snp_layout
from blindai.testing import SnpMachine, SnpTcb
from tests.attestation.scene import assert_refused

# Offsets that no version gives a meaning to, then those that versions before the number leave zero.
NEVER = [
    *range(0x4C, 0x50), *range(0x18B, 0x1A0), 0x1EB, 0x1EF, *range(0x208, 0x2A0), *range(0x2D0, 0x2E8),
    *range(0x318, 0x4A0),
]  # fmt: skip
SINCE_3 = list(range(0x188, 0x18B))
SINCE_5 = list(range(0x1F8, 0x208))
# Offsets of numbers of which not every value is a report: version, algorithm, guest policy, flags.
CHECKED = [*range(4), *range(0x08, 0x10), *range(0x34, 0x38), *range(0x48, 0x4C)]
GUEST_POLICY = {
    16: "smt", 18: "migrate_ma", 19: "debug", 20: "single_socket", 21: "cxl_allow", 22: "mem_aes_256_xts",
    23: "rapl_dis", 24: "ciphertext_hiding_dram", 25: "page_swap_disable",
}  # fmt: skip
PLATFORM_INFO = {
    0: "smt", 1: "tsme", 2: "ecc", 3: "rapl_dis", 4: "ciphertext_hiding_dram", 5: "alias_check_complete",
}  # fmt: skip


def raw(**knobs):
    return snp_layout.compose(SnpMachine(**knobs), bytes(64))


def with_number(offset, size, value):
    changed = raw()
    changed[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(changed)


def assert_malformed(value):
    assert_refused(lambda: report.parse(value), Reason.REPORT_MALFORMED, EvidenceMalformed)


@pytest.mark.parametrize(
    ("version", "reserved"),
    [(2, [*NEVER, *SINCE_3, *SINCE_5]), (3, NEVER + SINCE_5), (4, NEVER + SINCE_5), (5, NEVER)],
)
def test_exactly_the_reserved_bytes_must_be_zero(version, reserved):
    """Each by itself; what has a meaning in a later version has none in an earlier one."""
    healthy = bytes(raw(version=version))
    for offset in set(range(len(healthy))) - set(CHECKED):
        value = bytearray(healthy)
        value[offset] ^= 0x80
        if offset in reserved:
            assert_malformed(bytes(value))
        else:
            report.parse(bytes(value))


def test_a_report_has_one_length():
    """1184 bytes: nothing is missing, and nothing follows."""
    value = bytes(raw())
    assert len(value) == 1184
    for other in (b"", value[:-1], value + b"\0"):
        assert_malformed(other)


def test_versions_are_2_to_5():
    """The number has four bytes."""
    for version in (2, 3, 4, 5):
        assert report.parse(bytes(raw(version=version))).version == version
    for version in (0, 1, 6, 3 + (1 << 8), 3 + (1 << 24)):
        assert_malformed(with_number(0, 4, version))


def test_the_signature_algorithm_is_one():
    """ECDSA with P-384 and SHA-384, in a number of four bytes."""
    for algorithm in (0, 2, 1 + (1 << 8), 1 + (1 << 24)):
        assert_malformed(with_number(0x34, 4, algorithm))


def test_every_bit_of_the_guest_policy_has_its_meaning():
    """The version of the ABI below, 17 always one, nothing from 26 on; and each name is one bit."""
    for bit in range(64):
        value = with_number(8, 8, 1 << 17 | 1 << bit)
        if bit > 25:
            assert_malformed(value)
        else:
            expected = {GUEST_POLICY[bit]} if bit in GUEST_POLICY else set()
            assert report.parse(value).guest_policy == expected
    assert_malformed(with_number(8, 8, 0x3FDFFFF))


def test_every_bit_of_platform_info_has_its_meaning():
    """Bits without a name are later firmware's, and refused by nobody."""
    for bit in range(64):
        expected = {PLATFORM_INFO[bit]} if bit in PLATFORM_INFO else set()
        assert report.parse(with_number(0x40, 8, 1 << bit)).platform_info == expected


def test_the_flags_say_who_signed_and_nothing_that_is_unknown():
    """Bits 2 to 4 are the signing key, VCEK or VLEK; the two below are about key digests and masking."""
    for flags in range(1 << 5):
        key = flags >> 2
        if key in (0, 1):
            assert report.parse(with_number(0x48, 4, flags)).signing_key == key
        else:
            assert_malformed(with_number(0x48, 4, flags))
    for bit in range(5, 32):
        assert_malformed(with_number(0x48, 4, 1 << bit))


def test_every_field_is_read_from_its_place():
    """All of them different, so that none can pass for another."""
    chip, key, author = (bytes([letter]) * size for letter, size in ((1, 64), (2, 48), (3, 48)))
    parsed = report.parse(
        bytes(
            raw(
                version=5,
                guest_svn=0x01020304,
                vmpl=0x05060708,
                measurement=b"\4" * 48,
                host_data=b"\5" * 32,
                id_key_digest=key,
                author_key_digest=author,
                chip_id=chip,
                reported_tcb=SnpTcb(1, 2, 3, 4),
                current_tcb=SnpTcb(5, 6, 7, 8),
                committed_tcb=SnpTcb(9, 10, 11, 12),
                launch_tcb=SnpTcb(13, 14, 15, 16),
                cpuid=(0x19, 0x02, 3),
                launch_mitigations=1 << 63 | 0b110,
                current_mitigations=1 << 63 | 0b011,
            )
        )
    )
    assert (parsed.guest_svn, parsed.vmpl) == (0x01020304, 0x05060708)
    assert (parsed.measurement, parsed.host_data) == (b"\4" * 48, b"\5" * 32)
    assert (parsed.id_key_digest, parsed.author_key_digest, parsed.chip_id) == (key, author, chip)
    tcbs = (parsed.reported_tcb, parsed.current_tcb, parsed.committed_tcb, parsed.launch_tcb)
    assert [list(tcb) for tcb in tcbs] == [
        [1, 2, 0, 0, 0, 0, 3, 4],
        [5, 6, 0, 0, 0, 0, 7, 8],
        [9, 10, 0, 0, 0, 0, 11, 12],
        [13, 14, 0, 0, 0, 0, 15, 16],
    ]
    assert parsed.cpuid == (0x19, 0x02)
    assert parsed.mitigations == 1 << 63 | 0b010


def test_the_edges_of_the_fields():
    """The first and the last byte of each belong to it, and no other byte does."""
    for name, start, end in (
        ("report_data", 0x50, 0x90),
        ("measurement", 0x90, 0xC0),
        ("host_data", 0xC0, 0xE0),
        ("id_key_digest", 0xE0, 0x110),
        ("author_key_digest", 0x110, 0x140),
        ("reported_tcb", 0x180, 0x188),
        ("current_tcb", 0x38, 0x40),
        ("committed_tcb", 0x1E0, 0x1E8),
        ("launch_tcb", 0x1F0, 0x1F8),
        ("chip_id", 0x1A0, 0x1E0),
    ):
        value = raw(version=5)
        value[start], value[end - 1] = value[start] or 2, 0x5A
        assert getattr(report.parse(bytes(value)), name) == bytes(value[start:end])


def test_the_signature_is_two_numbers_of_48_bytes():
    """Each in a space of 72, little-endian; they sign all that stands before them."""
    value = raw()
    value[0x2A0:0x2D0] = (r := (1 << 383) + 1).to_bytes(48, "little")
    value[0x2E8:0x318] = (s := (1 << 383) + 2).to_bytes(48, "little")
    parsed = report.parse(bytes(value))
    assert (parsed.r, parsed.s) == (r, s)
    assert parsed.signed == bytes(value[:0x2A0])


def test_the_processor_is_named_since_version_3():
    """Before, the bytes are reserved: they name none."""
    assert report.parse(bytes(raw(version=2))).cpuid is None
    assert report.parse(bytes(raw(version=3))).cpuid == (0x19, 0x01)


def test_every_processor_is_of_one_product_or_of_none():
    """By family and model, each a byte: what is not listed has a TCB layout that nobody knows."""
    milan = {(0x19, model) for model in range(0x10)}
    genoa = {(0x19, model) for first in (0x10, 0xA0) for model in range(first, first + 0x10)}
    turin = {(0x1A, model) for model in range(0x100)}
    for family in range(0x100):
        for model in range(0x100):
            found = product.from_cpuid(family, model)
            named = {"Milan": milan, "Genoa": genoa, "Turin": turin}
            expected = {name for name, cpus in named.items() if (family, model) in cpus}
            assert {found.name if found else None} == (expected or {None})
