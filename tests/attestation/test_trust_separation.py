"""No simulation passes for hardware and no hardware for a simulation, whichever vendor's."""

from __future__ import annotations

import inspect

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

import blindai
from blindai.attestation import vendors
from blindai.attestation.trust import (
    PINNED_ROOTS,
    ProductionTrust,
    SimulationTrust,
    StapledSimulationTrust,
    fingerprint,
)
from blindai.errors import EvidenceForged, Reason, UsageError
from tests import evidence
from tests.attestation.scene import FAKES, NOW, assert_refused, healthy

# As the vendors publish them; written here a second time, so that a slip in either place shows.
PUBLISHED = {
    "intel": "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3",
    "amd-milan": "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
    "amd-genoa": "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
    "amd-turin": "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
    "aws": "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b",
}
GENUINE = [
    ("tdx", "v4-uptodate-b0c06f"),
    ("tdx", "v5-uptodate-90c06f"),
    ("sgx", "v3-config-and-swhardening-00a067"),
    ("snp", "milan-vcek-ok"),
    ("snp", "genoa-vcek-ok"),
    ("snp", "turin-vcek-ok"),
    ("nitro", "prod-nonce-2022"),
]


@pytest.mark.parametrize("tee", FAKES)
def test_a_simulation_is_refused_by_production_trust(tee):
    """Evidence and collateral are sound under their own root, and end at a root that is nobody's."""
    fake = healthy(tee)
    told = (fake.evidence(bytes(64)), fake.collateral())
    assert vendors.verify(*told, trust=SimulationTrust([fake.root_sha256]), now=NOW).simulated
    assert vendors.verify(*told, trust=StapledSimulationTrust(), now=NOW).simulated
    for trust in (ProductionTrust(), SimulationTrust(["ab" * 32])):
        assert_refused(
            lambda trust=trust: vendors.verify(*told, trust=trust, now=NOW),
            Reason.ROOT_UNKNOWN,
            EvidenceForged,
        )


@pytest.mark.parametrize("tee", FAKES)
def test_no_root_of_one_simulation_vouches_for_another(tee):
    """Every other fake's root is as unknown as an attacker's."""
    fake = healthy(tee)
    others = SimulationTrust([healthy(other).root_sha256 for other in FAKES if other != tee])
    assert_refused(
        lambda: vendors.verify(fake.evidence(bytes(64)), fake.collateral(), trust=others, now=NOW),
        Reason.ROOT_UNKNOWN,
    )


@pytest.mark.parametrize(("tee", "name"), GENUINE)
def test_hardware_is_refused_by_simulation_trust(tee, name):
    """Genuine evidence verifies under production trust, and under no simulation's."""
    sample = evidence.read(tee, name)
    assert not sample.verify(trust=ProductionTrust()).simulated
    for trust in (StapledSimulationTrust(), SimulationTrust([healthy(fake).root_sha256 for fake in FAKES])):
        assert_refused(lambda trust=trust: sample.verify(trust=trust), Reason.ROOT_UNKNOWN, EvidenceForged)


def test_the_pinned_roots_are_those_that_the_vendors_publish():
    """One for each vendor, and one for each product of AMD."""
    assert {vendor: set(roots) for vendor, roots in PINNED_ROOTS.items()} == {
        vendor: {root} for vendor, root in PUBLISHED.items()
    }


@pytest.mark.parametrize("vendor", PUBLISHED)
def test_no_vendors_root_can_be_named_as_a_simulations(vendor):
    """Else hardware would pass for a simulation: refused when it is said."""
    with pytest.raises(UsageError):
        SimulationTrust([PUBLISHED[vendor]])


def test_a_vendors_root_vouches_for_that_vendor_only():
    """AMD's root of one product ends no chain of another product, nor Intel's or AWS's."""
    trust = ProductionTrust()
    roots = {
        f"amd-{name.partition('-')[0]}": x509.load_pem_x509_certificates(
            (evidence.require("snp", name) / "ask_ark.pem").read_bytes()
        )[1]
        for name in ("milan-vcek-ok", "genoa-vcek-ok", "turin-vcek-ok")
    }
    roots["aws"] = x509.load_pem_x509_certificate(
        (evidence.require("nitro", "prod-nonce-2022") / "aws-nitro-root.pem").read_bytes()
    )
    for owner, root in roots.items():
        assert fingerprint(root) == PUBLISHED[owner]
        assert {vendor for vendor in PUBLISHED if trust.accepts(vendor, root)} == {owner}


def test_another_organization_is_no_simulation():
    """A certificate that no one pinned, of an organization that is not the mark: AMD's intermediate."""
    pem = (evidence.require("snp", "milan-vcek-ok") / "ask_ark.pem").read_bytes()
    intermediate = x509.load_pem_x509_certificates(pem)[0]
    assert intermediate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert not StapledSimulationTrust().accepts("amd-milan", intermediate)


def test_no_public_function_takes_a_root_for_production():
    """`simulation=` is the only way to name a root, and what it names is simulated."""
    for function in (blindai.verify, blindai.connect, blindai.aconnect):
        names = set(inspect.signature(function).parameters)
        assert "simulation" in names
        assert not {name for name in names if "root" in name or "trust" in name}
    assert not inspect.signature(ProductionTrust).parameters
