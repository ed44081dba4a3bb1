"""Who may end a chain. Production and simulation are types that cannot be turned into each other."""

from __future__ import annotations

import inspect

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from blindai.attestation import trust as trust_module
from blindai.attestation.trust import (
    PINNED_ROOTS,
    SIMULATION_MARK,
    ProductionTrust,
    SimulationTrust,
    StapledSimulationTrust,
    fingerprint,
)
from blindai.errors import UsageError
from blindai.testing import TlsIdentity
from tests import evidence
from tests.attestation.vendor_tricks import Workshop, der_of

INTEL = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"


def intel_root():
    sample = evidence.read("tdx", "v4-uptodate-b0c06f")
    return x509.load_pem_x509_certificates(sample.collateral["tcb_info_issuer_chain"].encode())[-1]


def simulated_root():
    return Workshop.make().vendor.root.certificate


def test_the_pinned_root_is_the_one_that_intel_publishes():
    """The constant is written twice, so that a slip in either place shows."""
    assert PINNED_ROOTS["intel"] == {INTEL}


def test_production_trusts_the_vendors_root_and_no_other():
    """Intel's root, for Intel's evidence, and nothing that somebody made."""
    trust = ProductionTrust()
    assert trust.accepts("intel", intel_root())
    assert not trust.accepts("amd", intel_root())
    assert not trust.accepts("", intel_root())
    assert not trust.accepts("intel", simulated_root())
    assert trust.simulated is False


def test_production_trust_takes_no_argument():
    """There is no way to hand it a root of one's own."""
    assert not inspect.signature(ProductionTrust).parameters
    with pytest.raises(TypeError):
        ProductionTrust(["ab" * 32])  # type: ignore[call-arg]


def test_simulation_trusts_the_named_roots():
    """A fingerprint names one root, in either case and with or without colons."""
    root = simulated_root()
    text = fingerprint(root)
    colons = ":".join(text[i : i + 2] for i in range(0, 64, 2)).upper()
    for spelling in (text, text.upper(), colons):
        assert SimulationTrust([spelling]).accepts("intel", root)
    assert not SimulationTrust([text]).accepts("intel", simulated_root())
    assert SimulationTrust([text]).simulated is True


@pytest.mark.parametrize(
    "fingerprints",
    [
        [],
        [""],
        ["ab" * 31],
        ["ab" * 33],
        ["xy" * 32],
        ["ab" * 32, ""],
        "ab" * 32,
        ["٣" * 64],
        [" " + "a" * 63],
    ],
)
def test_a_fingerprint_that_is_none_is_refused(fingerprints):
    """No root, half a root or something else: refused when it is said, not when it is used."""
    with pytest.raises(UsageError):
        SimulationTrust(fingerprints)


@pytest.mark.parametrize(
    "spelling", [INTEL, INTEL.upper(), ":".join(INTEL[i : i + 2] for i in range(0, 64, 2))]
)
def test_a_production_root_is_no_simulation_root(spelling):
    """Else genuine evidence would pass for a simulation, and a simulation's client would take it."""
    with pytest.raises(UsageError):
        SimulationTrust(["ab" * 32, spelling])


def test_a_stapled_root_must_say_that_it_is_a_simulation():
    """The mark in its organization name decides; a root without it, or with it elsewhere, does not count."""
    trust = StapledSimulationTrust()
    assert trust.accepts("intel", simulated_root())
    assert not trust.accepts("intel", intel_root())
    assert not trust.accepts("intel", TlsIdentity.make("localhost", is_authority=True).certificate)
    assert not trust.accepts("intel", TlsIdentity.make(SIMULATION_MARK, is_authority=True).certificate)
    assert trust.simulated is True


def test_a_root_whose_name_cannot_be_read_carries_no_mark():
    """Nothing is trusted for a name that nobody can read."""
    der = der_of(Workshop.make().vendor.root.pem)
    subject = der.rindex(SIMULATION_MARK.encode() + b": SGX Root CA")
    strange = x509.load_der_x509_certificate(der[:subject] + b"\xff\xfe" + der[subject + 2 :])
    assert not StapledSimulationTrust().accepts("intel", strange)


def test_a_pinned_root_with_the_mark_is_still_no_simulation(monkeypatch):
    """What is pinned as production never passes for a simulation, whatever it calls itself."""
    root = simulated_root()
    assert StapledSimulationTrust().accepts("intel", root)
    monkeypatch.setattr(trust_module, "_EVERY_PINNED_ROOT", frozenset({fingerprint(root)}))
    assert not StapledSimulationTrust().accepts("intel", root)


@pytest.mark.parametrize("trust", [ProductionTrust, StapledSimulationTrust])
def test_what_is_trusted_cannot_be_changed_afterwards(trust):
    """A trust is handed around; nobody on its way may switch it over."""
    made = trust()
    with pytest.raises(AttributeError):
        made.simulated = not made.simulated
    with pytest.raises(AttributeError):
        made.accepts = lambda *_: True


def test_a_stapled_root_is_signed_by_itself():
    """A root of which a bit was changed on the way is refused, though its mark and its key may be whole."""
    trust = StapledSimulationTrust()
    root = simulated_root()
    assert trust.accepts("intel", root)
    der = bytearray(der_of(root.public_bytes(Encoding.PEM).decode()))
    start = der.index(root.tbs_certificate_bytes)
    changed = 0
    for offset in range(start, start + len(root.tbs_certificate_bytes)):
        der[offset] ^= 1
        try:
            other = x509.load_der_x509_certificate(bytes(der))
        except (ValueError, x509.InvalidVersion):
            pass
        else:
            changed += 1
            assert not trust.accepts("intel", other), offset
        der[offset] ^= 1
    assert changed > 100
