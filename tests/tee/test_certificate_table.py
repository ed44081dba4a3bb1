"""The host's certificate table: what is in it, and that nothing else is taken for one."""

from __future__ import annotations

import random
import struct
import uuid

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust
from blindai.attestation.types import Evidence
from blindai.tee import certificate_table
from blindai.tee.certificate_table import CertificateTable
from blindai.testing import FakeSnp
from blindai.testing.certificate_table import ARK, ASK, CRL, VCEK, VLEK, table_of
from blindai.testing.certificate_table import certificate_table as made_by_host
from tests import evidence as genuine

NOW = 1_790_000_000
SNP = FakeSnp(now=NOW)
TABLE = made_by_host(SNP)
FOUND = certificate_table.parse(TABLE)
OTHER = uuid.UUID(int=0x1234)


def entry(guid: uuid.UUID, offset: int, length: int) -> bytes:
    return struct.pack("<16sII", guid.bytes_le, offset, length)


def refused(table: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        certificate_table.parse(table)


@pytest.mark.parametrize("leaf", ["vcek", "vlek"])
def test_the_verifier_takes_its_members(leaf):
    """They are what a server would staple."""
    machine = FakeSnp(now=NOW, leaf=leaf)
    members = certificate_table.parse(made_by_host(machine)).members()
    assert members == machine.collateral()["amd"]
    report = machine.evidence(bytes(64))
    trust = SimulationTrust([machine.root_sha256])
    assert vendors.verify(report, {"amd": members}, trust=trust, now=NOW).signing_key == leaf


def test_genuine_certificates_are_taken():
    """A VCEK has serial number 0; the chain was published by AMD."""
    sample = genuine.read("snp", "milan-vcek-ok")
    folder = genuine.require("snp", "milan-vcek-ok")
    leaf = (folder / "vcek.der").read_bytes()
    found = certificate_table.parse(table_of([(VCEK, leaf)]))
    assert found == CertificateTable(vcek=leaf)
    collateral = {"amd": {**sample.collateral, **found.members()}}
    report = Evidence(sample.evidence.media_type, sample.quote)
    assert (
        vendors.verify(report, collateral, trust=genuine.ProductionTrust(), now=sample.now).tee == "sev-snp"
    )


def test_any_may_be_absent():
    """What is not there is not in the members; a chain of one certificate is none."""
    assert certificate_table.parse(b"") == certificate_table.parse(bytes(24)) == CertificateTable()
    assert CertificateTable().members() == {}
    for guid, blob, members in (
        (VCEK, FOUND.vcek, {"leaf"}), (VLEK, FOUND.vcek, {"leaf"}), (ASK, FOUND.ask, set()),
        (ARK, FOUND.ark, set()), (CRL, FOUND.crl, {"crl"}),
    ):  # fmt: skip
        assert certificate_table.parse(table_of([(guid, blob)])).members().keys() == members


def test_of_two_leaves_the_clouds_is_the_one():
    """Firmware signs with the VLEK wherever a host loaded one."""
    both = certificate_table.parse(table_of([(VCEK, FOUND.ark), (VLEK, FOUND.vcek)]))
    assert both.leaf == both.vlek == FOUND.vcek


def test_entries_of_other_kinds_are_passed_over():
    """Clouds put their own things beside the certificates."""
    table = table_of([(OTHER, b"\0anything"), (VCEK, FOUND.vcek), (OTHER, b"twice")])
    assert certificate_table.parse(table) == CertificateTable(vcek=FOUND.vcek)


def test_the_order_of_the_blobs_is_free():
    """And there may be gaps between them, and padding behind."""
    start = 3 * 24
    ark_at = start + 10
    ask_at = ark_at + len(FOUND.ark) + 5
    table = entry(ASK, ask_at, len(FOUND.ask)) + entry(ARK, ark_at, len(FOUND.ark)) + bytes(24)
    table = table.ljust(ark_at, b"\1") + FOUND.ark + b"\1" * 5 + FOUND.ask
    found = certificate_table.parse(table.ljust(8192, b"\0"))
    assert found == CertificateTable(ask=FOUND.ask, ark=FOUND.ark)


LEAF = FOUND.vcek
NONSENSE = {
    "too large": (TABLE.ljust(64 * 1024 + 1, b"\0"), "at most"),
    "no last entry": (entry(VCEK, 24, len(LEAF)) + LEAF[:20], "before its last entry"),
    "half an entry": (bytes(23), "before its last entry"),
    "too many": (table_of([(OTHER, b"x")] * 17), "more than 16"),
    "without a kind": (entry(uuid.UUID(int=0), 24, 1) + bytes(25), "without a kind"),
    "beyond the end": (entry(VCEK, 48, len(LEAF) + 1) + bytes(24) + LEAF, "beyond its end"),
    "far beyond": (entry(VCEK, 2**32 - 1, 2**32 - 1) + bytes(24) + LEAF, "beyond its end"),
    "in the entries": (entry(VCEK, 24, len(LEAF)) + bytes(24) + LEAF, "overlap"),
    "at the start": (entry(VCEK, 0, 48) + bytes(24), "overlap"),
    "overlap": (entry(VCEK, 72, len(LEAF)) + entry(ARK, 72, len(LEAF)) + bytes(24) + LEAF, "overlap"),
    "overlap of another": (
        entry(VCEK, 72, len(LEAF)) + entry(OTHER, 72 + len(LEAF) - 1, 1) + bytes(24) + LEAF, "overlap"),
    "empty": (entry(VCEK, 48, 0) + bytes(24), "empty"),
    "empty another": (entry(OTHER, 48, 0) + bytes(24), "empty"),
    "twice": (table_of([(VCEK, LEAF), (VCEK, LEAF)]), "two entries for vcek"),
    "not DER": (table_of([(VCEK, b"x" * 500)]), "vcek in a certificate table is not DER"),
    "PEM": (table_of([(VCEK, b"-----BEGIN CERTIFICATE-----\n")]), "not DER"),
    "behind the DER": (table_of([(ARK, FOUND.ark + b"\0")]), "ark in a certificate table is not DER"),
    "behind the list": (table_of([(CRL, FOUND.crl + b"\0")]), "crl in a certificate table is not DER"),
    "a list as leaf": (table_of([(VCEK, FOUND.crl)]), "not DER"),
    "a leaf as list": (table_of([(CRL, LEAF)]), "not DER"),
    "cut": (table_of([(ASK, FOUND.ask[:-1])]), "not DER"),
}  # fmt: skip


@pytest.mark.parametrize("table, words", NONSENSE.values(), ids=NONSENSE)  # noqa: PT006
def test_nonsense_is_refused(table, words):
    """Each for what is wrong with it; the host's bytes are not in the message."""
    refused(table, words)


def test_any_bytes_are_a_table_or_a_value_error():
    """Changed tables and junk: nothing else is raised, and what is found lies inside."""
    chance = random.Random(5)  # noqa: S311 - the same every time
    for _ in range(1500):
        table = bytearray(TABLE[: chance.randrange(len(TABLE) + 1)] if chance.random() < 0.3 else TABLE)
        for _ in range(chance.randrange(4)):
            if table:
                table[chance.randrange(min(len(table), 160))] = chance.randrange(256)
        try:
            found = certificate_table.parse(bytes(table))
        except ValueError:
            continue
        assert all(blob in table for blob in vars(found).values())
