"""Texts that would load and mean less than they say, and dates that no calendar holds."""

from __future__ import annotations

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blindai.attestation.policy import Policy
from blindai.errors import EvidenceMalformed, PolicyError, Reason
from blindai.testing import TlsIdentity
from tests.attestation.scene import Client, answer_of, assert_refused, healthy, peer_of, policy_of


def test_an_operators_certificate_of_the_year_0_is_malformed():
    """ASN.1 knows that year and Python does not: a ValueError would leave through the client."""
    key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "operator")])
    start = datetime.datetime(2055, 1, 1, tzinfo=datetime.UTC)
    base = x509.CertificateBuilder().subject_name(name).issuer_name(name).not_valid_before(start)
    base = base.not_valid_after(start.replace(year=2056))
    operator = base.public_key(key.public_key()).serial_number(5).sign(key, hashes.SHA256())
    leaf = base.public_key(leaf_key.public_key()).serial_number(6).sign(key, hashes.SHA256())
    der = operator.public_bytes(Encoding.DER).replace(b"20550101000000Z", b"00000101000000Z")
    identity, machine = TlsIdentity(leaf_key, leaf), healthy("tdx")
    body = answer_of(
        machine,
        tls_spki_sha256=identity.spki_sha256,
        more_collateral={"operator": {"certificate": ssl.DER_cert_to_PEM_cert(der)}},
    )
    client = Client(peer=peer_of(identity))
    assert_refused(lambda: client.conclude(body, machine), Reason.CERTIFICATE_MALFORMED, EvidenceMalformed)


@pytest.mark.parametrize("part", ["a", '"a"', "'a'", r'"\""'])
def test_a_key_of_very_many_parts_costs_nothing(part):
    """tomllib takes cubic time for it: the operator of a server could stop whoever reads their policy."""
    with pytest.raises(PolicyError, match="more than 40 parts"):
        Policy.from_toml("version = 1\n" + " . ".join([part] * 5_000) + " = 1\n")


@pytest.mark.parametrize(
    ("tee", "lines"),
    [
        ("sev-snp", f"min_guest_svn = 0x{'f' * 5000}"),
        ("sev-snp", "max_vmpl = 4"),
        ("tdx", f"min_tcb_evaluation = 0x{'f' * 5000}"),
        ("tdx", f"[require]\nisolation = 0x{'f' * 5000}"),
        ("sgx", 'attributes_xfrm = "e700000000000000"\nattributes_mask_xfrm = "0000000000000000"'),
    ],
)
def test_what_could_not_be_shown_or_would_not_be_compared_does_not_load(tee, lines):
    """A number that Python will not print, a value that its mask hides, a level that no guest has."""
    with pytest.raises(PolicyError):
        policy_of(healthy(tee), entry=lines)


def test_a_floor_is_not_ignored_because_any_version_will_do():
    """Not even where no product says what its numbers mean."""
    entry = f'version = 1\n[[accept]]\ntee = "sev-snp"\nmeasurement = "{"ab" * 48}"\nboot = "direct"\n'
    with pytest.raises(PolicyError, match="leave one out"):
        Policy.from_toml(entry + 'relax = ["any-tcb"]\nmin_tcb = { bootloder = 9 }\n')
