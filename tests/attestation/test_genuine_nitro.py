"""Genuine Nitro documents, judged by the production verifier at the time they were signed."""

from __future__ import annotations

import ssl

import pytest

from blindai.attestation import vendors, verifier
from blindai.attestation.policy import Policy
from blindai.attestation.trust import ProductionTrust, SimulationTrust, StapledSimulationTrust
from blindai.attestation.types import ChannelFacts
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from blindai.testing import FakeNitro, cbor
from blindai.wire import strict_cbor
from tests import evidence
from tests.attestation.judging import with_lines, without
from tests.attestation.scene import assert_refused, refusal
from tests.evidence import refused

PRODUCTION = "prod-nonce-2022"
DEBUG = ["debug-2022", "debug-fastcrypto-2024"]
HOUR_SECONDS = 3600
SIGNATURE_BYTES = 96


@pytest.fixture
def sample():
    return evidence.read("nitro", PRODUCTION)


@pytest.fixture
def claims(sample):
    return sample.verify()


def rebuilt(sample, **members):
    """Return the document with other members in its payload, under the signature of the genuine one."""
    protected, unprotected, payload, signature = strict_cbor.decode(sample.quote, max_bytes=2**15)
    fields = {**strict_cbor.decode(payload, max_bytes=2**15), **members}
    return cbor.encode([protected, unprotected, cbor.encode(fields), signature])


def bundle_of(sample):
    payload = strict_cbor.decode(sample.quote, max_bytes=2**15)[2]
    return list(strict_cbor.decode(payload, max_bytes=2**15)["cabundle"])


def test_a_production_document_is_accepted(sample, claims):
    """At its time, by its own PCRs: nothing needs to be relaxed."""
    assert refused(claims, vendors.entry_toml(claims), now=sample.now) == []
    assert claims.pcrs[0].hex().startswith("f4d48b81a460c991")
    assert claims.pcrs[8].hex().startswith("8790eb3cce6c83d0")
    assert len(claims.nonce) == 256
    assert claims.simulated is False
    assert claims.not_after == sample.valid_to


def test_rebuilding_a_document_changes_nothing(sample, claims):
    """Else the refusals of rebuilt documents below would show nothing. Tag 18 may stand in front."""
    assert rebuilt(sample) == sample.quote
    assert sample.verify(value=b"\xd2" + sample.quote) == claims


@pytest.mark.parametrize(
    ("seconds", "lines", "expected"),
    [
        (300, (), []),
        (301, (), [("document_age", Reason.EVIDENCE_STALE)]),
        (600, (), [("document_age", Reason.EVIDENCE_STALE)]),
        (600, ("max_age_seconds = 600",), []),
        (3 * HOUR_SECONDS - 1, (f"max_age_seconds = {3 * HOUR_SECONDS}",), []),
        (-3, (), []),
    ],
)
def test_a_document_is_fresh_for_five_minutes(sample, claims, seconds, lines, expected):
    """By the time that AWS signed, unless the policy allows more; the leaf would allow three hours."""
    entry = with_lines(vendors.entry_toml(claims), *lines)
    now = claims.timestamp + seconds
    assert refused(sample.verify(now=now), entry, now=now) == expected


@pytest.mark.parametrize("name", [PRODUCTION, *DEBUG])
@pytest.mark.parametrize(
    ("edge", "seconds", "reason"),
    [
        ("valid_from", -1, Reason.CERTIFICATE_NOT_YET_VALID),
        ("valid_from", -(10**8), Reason.CERTIFICATE_NOT_YET_VALID),
        ("valid_to", 0, Reason.CERTIFICATE_EXPIRED),
        ("valid_to", 3 * HOUR_SECONDS, Reason.CERTIFICATE_EXPIRED),
        ("valid_to", 10**8, Reason.CERTIFICATE_EXPIRED),
    ],
)
def test_the_leaf_lives_three_hours(name, edge, seconds, reason):
    """A second before and at its end; also a debug enclave's document is refused for that first."""
    sample = evidence.read("nitro", name)
    now = getattr(sample, edge) + seconds
    assert_refused(lambda: sample.verify(now=now), reason, EvidenceRejected)
    assert sample.valid_to - sample.valid_from == 3 * HOUR_SECONDS + 3


def test_a_document_verifies_throughout_its_leafs_life(sample):
    """The first and the last second are inside."""
    for now in (sample.valid_from, sample.valid_to - 1):
        assert sample.verify(now=now).tee == "nitro"


@pytest.mark.parametrize("name", DEBUG)
def test_a_genuine_debug_enclave_is_refused(name):
    """Its console shows everything, whatever its signature is worth: throughout its time."""
    sample = evidence.read("nitro", name)
    for now in (sample.valid_from, sample.now, sample.valid_to - 1):
        assert_refused(lambda now=now: sample.verify(now=now), Reason.DEBUG_ENABLED, EvidenceRejected)


@pytest.mark.parametrize("name", [PRODUCTION, *DEBUG])
@pytest.mark.parametrize("trust", [SimulationTrust(["ab" * 32]), StapledSimulationTrust()])
def test_real_hardware_is_refused_where_a_simulation_is_expected(name, trust):
    """A client that opted into a simulation cannot be given real evidence."""
    sample = evidence.read("nitro", name)
    assert_refused(lambda: sample.verify(trust=trust), Reason.ROOT_UNKNOWN, EvidenceForged)


def test_another_root_in_front_of_the_bundle_is_refused(sample):
    """Another vendor's genuine root; the bundle's own intermediate; a root of one's own."""
    root, region, *rest = bundle_of(sample)
    intel = evidence.read("tdx", "v4-uptodate-b0c06f").collateral["tcb_info_issuer_chain"]
    end = "-----END CERTIFICATE-----\n"
    foreign = ssl.PEM_cert_to_DER_cert(intel.split(end)[1] + end)
    own = FakeNitro(now=sample.now).root_der
    for bundle in (
        [foreign, region, *rest],
        [own, region, *rest],
        [region, *rest],
        [foreign],
        [*reversed(rest), region, root],
        [region, root, *rest],
    ):
        document = rebuilt(sample, cabundle=bundle)
        assert_refused(
            lambda document=document: sample.verify(value=document), Reason.ROOT_UNKNOWN, EvidenceForged
        )


def test_another_partitions_root_is_refused(sample):
    """AWS China signs with another root. A chain that differs from the genuine one in nothing but that."""
    foreign = FakeNitro(now=sample.now, pcrs=sample.verify().pcrs)
    assert_refused(
        lambda: sample.verify(value=foreign.evidence(bytes(64)).value), Reason.ROOT_UNKNOWN, EvidenceForged
    )


def test_a_bundle_in_another_order_or_length_is_refused(sample):
    """Root first, then each issues the next; an authority left out, repeated or of another document."""
    root, region, zone, instance = bundle_of(sample)
    for bundle in (
        [root],
        [root, zone, instance],
        [root, region, instance, zone],
        [root, region, region, zone, instance],
        [root, region, zone],
    ):
        document = rebuilt(sample, cabundle=bundle)
        assert_refused(
            lambda document=document: sample.verify(value=document), Reason.CHAIN_INVALID, EvidenceForged
        )
    assert_refused(
        lambda: sample.verify(value=rebuilt(sample, cabundle=[])),
        Reason.DOCUMENT_MALFORMED,
        EvidenceMalformed,
    )


@pytest.mark.parametrize("name", DEBUG)
def test_parts_of_another_document_are_refused(sample, name):
    """Its leaf was issued by another instance's key; its signature is over something else."""
    other = evidence.read("nitro", name)
    payload = strict_cbor.decode(strict_cbor.decode(other.quote, max_bytes=2**15, tag=18)[2], max_bytes=2**15)
    spliced = rebuilt(sample, certificate=payload["certificate"])
    assert_refused(lambda: sample.verify(value=spliced), Reason.CHAIN_INVALID, EvidenceForged)
    mixed = sample.quote[:-SIGNATURE_BYTES] + other.quote[-SIGNATURE_BYTES:]
    assert_refused(lambda: sample.verify(value=mixed), Reason.SIGNATURE_INVALID, EvidenceForged)


@pytest.mark.parametrize(
    "members",
    [{"nonce": None}, {"user_data": bytes(64)}, {"timestamp": 1665651482_000}, {"module_id": "i-1"},
     {"pcrs": {i: bytes([1]) * 48 for i in range(16)}}, {"public_key": b"\1"}],
)  # fmt: skip
def test_a_changed_member_breaks_the_signature(sample, members):
    """Every member of the payload is signed for."""
    assert_refused(
        lambda: sample.verify(value=rebuilt(sample, **members)), Reason.SIGNATURE_INVALID, EvidenceForged
    )


def test_other_code_is_refused_for_exactly_that(sample, claims):
    """By the image's PCR, or by signer, kernel and application."""
    entry = vendors.entry_toml(claims)
    by_signer = without(entry, "pcr0")
    assert refused(claims, by_signer, now=sample.now) == []
    for index in (0, 1, 2, 8):
        other = with_lines(entry, f'pcr{index} = "{"ab" * 48}"')
        assert refused(claims, other, now=sample.now) == [(f"pcr{index}", Reason.MEASUREMENT_MISMATCH)]


def test_a_document_for_another_protocol_binds_nothing(sample, claims):
    """It was signed over somebody's nonce: that is no report data of ours, whatever they are."""
    assert claims.report_data == b""
    now = sample.now
    error = refusal(
        lambda: verifier.attest(
            [sample.evidence],
            sample.stapled,
            keyset_sha256=bytes(32),
            tls_spki_sha256=bytes(32),
            challenge_root=bytes(32),
            channel=ChannelFacts("host.example", ("host.example",), now, now + 3600, simulated=False),
            policy=Policy.from_toml(f"version = 1\n{vendors.entry_toml(claims)}"),
            trust=ProductionTrust(),
            floors={},
            now=now,
        )
    )
    assert error.reason == Reason.REPORT_DATA_MISMATCH


def test_nothing_can_be_stapled(sample):
    """A document carries its certificates: whatever lies beside it was not asked for."""
    for stapled in ({"aws": {}}, {"aws": {"root": "x"}}):
        assert_refused(
            lambda stapled=stapled: sample.verify(collateral=stapled),
            Reason.COLLATERAL_MALFORMED,
            EvidenceMalformed,
        )
