"""The simulated SEV-SNP machine, judged as a client judges it: by the production verifier, over TLS too."""

from __future__ import annotations

import hashlib
import time
import tomllib

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

import blindai
from blindai.attestation import vendors
from blindai.attestation.policy import Policy
from blindai.attestation.trust import ProductionTrust, SimulationTrust, StapledSimulationTrust
from blindai.attestation.types import SNP_REPORT
from blindai.errors import AttestationError, Reason
from blindai.tee.attester import Attester
from blindai.tee.measurement import Launch, policy_toml, simulated_launch, source_sha256
from blindai.tee.simulated import SimulatedSnp
from blindai.testing import CapturingPeer, FakeSnp, TlsIdentity, http_response, make_answer
from tests import evidence
from tests.attestation.scene import Client, assert_refused, attest

# Serial number 0 is what makes a VCEK genuine.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

NOW = 1_790_000_000
SOURCES = hashlib.sha256(b"some sources").hexdigest()
REPORT_DATA = bytes(range(64))


@pytest.fixture(scope="module")
def snp():
    return SimulatedSnp(now=NOW, source_sha256=SOURCES)


def claims_of(snp, *, now=NOW, trust=None):
    trust = SimulationTrust([snp.root_sha256]) if trust is None else trust
    return vendors.verify(snp.evidence(REPORT_DATA), snp.collateral(), trust=trust, now=now)


def certificates(snp):
    amd = snp.collateral()["amd"]
    return x509.load_pem_x509_certificates((amd["leaf"] + amd["issuer_chain"]).encode())


def test_it_is_an_attester(snp):
    """The simulated machine fits the protocol that a server expects of every evidence producer."""
    attester: Attester = snp
    assert (attester.tee, attester.simulated) == ("sev-snp", True)
    assert attester.evidence(REPORT_DATA).media_type == SNP_REPORT
    assert {vendor: set(members) for vendor, members in snp.collateral().items()} == {
        "amd": {"leaf", "issuer_chain", "crl"}
    }


def test_the_verifier_reads_what_was_measured(snp):
    """Report data, launch measurement and TCB version come out of the production verifier as they went in."""
    claims = claims_of(snp)
    launch = simulated_launch(SOURCES)
    assert (claims.simulated, claims.signing_key, claims.report_data) == (True, "vcek", REPORT_DATA)
    assert (claims.measurement, claims.product) == (launch.measurement, launch.product)
    assert all(tcb == launch.tcb for tcb in claims.tcbs.values())
    assert snp.measurements == launch
    assert claims.not_after == snp.collateral_expires == NOW + 30 * 24 * 3600


def test_its_own_policy_accepts_it_and_relaxes_nothing(snp):
    """What `blindai measure` prints names the code and a floor, and accepts the machine as it is."""
    text = policy_toml(snp.measurements)
    (entry,) = tomllib.loads(text)["accept"]
    assert set(entry) == {"tee", "measurement", "boot", "product", "min_tcb"}
    assert "SIMULATION - NOT A TEE" in text.splitlines()[0]
    verdict = attest(snp, Client(policy=Policy.from_toml(text))).verdict
    assert (verdict.accepted, verdict.simulated) == (True, True)


def test_other_sources_are_refused(snp):
    """The policy of other sources refuses this machine for its measurement."""
    other = Policy.from_toml(policy_toml(simulated_launch("00" * 32)))
    assert_refused(lambda: attest(snp, Client(policy=other)), Reason.MEASUREMENT_MISMATCH)


def test_older_firmware_is_refused():
    """The floor of the policy is a floor: the same launch on older microcode is refused."""
    launch = simulated_launch(SOURCES)
    older = FakeSnp(now=NOW, measurement=launch.measurement)
    newer = Launch(launch.measurement, launch.product, {**launch.tcb, "microcode": 220})
    assert attest(older, Client(policy=Policy.from_toml(policy_toml(launch)))).verdict.accepted
    assert_refused(
        lambda: attest(older, Client(policy=Policy.from_toml(policy_toml(newer)))), Reason.TCB_TOO_LOW
    )


@pytest.mark.parametrize("trust", [ProductionTrust(), SimulationTrust(["ab" * 32])], ids=["vendor", "other"])
def test_no_other_root_vouches_for_it(snp, trust):
    """Production trust refuses it, and so does a simulation that named another root."""
    assert_refused(lambda: claims_of(snp, trust=trust), Reason.ROOT_UNKNOWN)


def test_another_start_refuses_it(snp):
    """The ARK of one start does not vouch for the next, though product and names are the same."""
    another = SimulatedSnp(now=NOW, source_sha256=SOURCES)
    trust = SimulationTrust([another.root_sha256])
    assert_refused(lambda: claims_of(snp, trust=trust), Reason.ROOT_UNKNOWN)


@pytest.mark.parametrize("name", ["milan-vcek-ok", "genoa-vcek-ok", "turin-vcek-ok"])
def test_its_root_refuses_genuine_evidence(snp, name):
    """Evidence of real hardware is refused where this simulation is trusted."""
    sample = evidence.read("snp", name)
    trust = SimulationTrust([snp.root_sha256])
    assert_refused(lambda: sample.verify(trust=trust), Reason.ROOT_UNKNOWN)


def test_a_reused_root_vouches_for_a_second_machine(snp):
    """With `root=` other sources verify under the same anchor."""
    second = SimulatedSnp(now=NOW, source_sha256="00" * 32, root=snp.root)
    assert second.root_sha256 == snp.root_sha256
    assert claims_of(second).measurement != claims_of(snp).measurement


def test_every_certificate_says_that_it_is_a_simulation(snp):
    """Subject and issuer of all three carry the mark, and the VCEK has the serial number of AMD's."""
    leaf, issuer, root = certificates(snp)
    for certificate in (leaf, issuer, root):
        for name in (certificate.subject, certificate.issuer):
            for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
                (mark,) = name.get_attributes_for_oid(oid)
                assert mark.value.startswith("SIMULATION - NOT A TEE")
    assert (leaf.serial_number, issuer.serial_number > 0) == (0, True)
    assert x509.load_pem_x509_certificate(snp.root_pem.encode()) == root
    assert hashlib.sha256(snp.root_der).hexdigest() == snp.root_sha256


def test_collateral_is_a_copy(snp):
    """Whoever changes the collateral they were given does not change the machine's."""
    snp.collateral()["amd"].clear()
    snp.published.collateral.clear()
    assert set(snp.collateral()["amd"]) == {"leaf", "issuer_chain", "crl"}


def test_report_data_have_64_bytes(snp):
    """Report data of another length are not padded in silence."""
    with pytest.raises(ValueError, match="64"):
        snp.evidence(bytes(63))


def test_a_launch_measurement_has_48_bytes():
    """A measurement of another length cannot be made."""
    with pytest.raises(ValueError, match="48"):
        Launch(bytes(32), "Milan", {})


@pytest.fixture
def serving():
    """A server of these very sources, on its own simulated machine; every byte it is sent is kept."""
    now, identity = int(time.time()), TlsIdentity.make("127.0.0.1")
    snp = SimulatedSnp(now=now, source_sha256=source_sha256())

    def answer(nonce):
        body = make_answer(
            snp, nonce=nonce, now=now, tls_spki_sha256=identity.spki_sha256, names=("127.0.0.1",)
        )
        return http_response(body)

    with CapturingPeer(answer, identities=[identity]) as peer:
        yield snp, peer


def test_a_client_accepts_it_over_tls(serving):
    """Handshake, attestation and verdict, with the root that the server told and with the stapled one."""
    snp, peer = serving
    policy = Policy.from_toml(policy_toml(simulated_launch(source_sha256())))
    for simulation in (snp.root_sha256, True):
        verdict = blindai.verify(f"127.0.0.1:{peer.port}", policy=policy, simulation=simulation)
        assert (verdict.accepted, verdict.simulated, verdict.tee) == (True, True, "sev-snp")


def test_a_client_that_expects_hardware_sends_it_nothing(serving):
    """Without `simulation=` the handshake ends at the root, before a byte of a request."""
    _, peer = serving
    policy = Policy.from_toml(policy_toml(simulated_launch(source_sha256())))
    with (
        pytest.raises(AttestationError) as caught,
        blindai.connect(f"127.0.0.1:{peer.port}", policy=policy) as client,
    ):
        client.models()
    assert caught.value.reason is Reason.ROOT_UNKNOWN
    assert peer.request_bytes == b""


def test_a_stapled_root_is_enough_on_this_machine_only(snp):
    """The mark in the root's name is what `--simulation` without a fingerprint goes by."""
    assert claims_of(snp, trust=StapledSimulationTrust()).simulated
