"""The simulation's bytes against those of real hardware: same fields, same places, same constants."""

from __future__ import annotations

import hashlib
import json
import struct

import dcap_qvl
import pytest
from cryptography import x509

from blindai.tee.measurement import simulated_measurements
from blindai.tee.simulated import Platform, SimulatedTdx

NOW = 1_790_000_000
MEASUREMENTS = simulated_measurements(hashlib.sha256(b"some sources").hexdigest())


def mint(**knobs):
    return SimulatedTdx(now=NOW, measurements=MEASUREMENTS, platform=Platform(**knobs))


def quote_of(tdx):
    return tdx.evidence(bytes(range(64))).value


def layout(quote):
    """Walk a quote by its own length fields; return the lengths, types and constants met, and the PEM."""
    version = struct.unpack_from("<H", quote)[0]
    body_at, body_size, body_type = 48, 584, None
    if version == 5:
        body_type, body_size = struct.unpack_from("<HI", quote, 48)
        body_at = 54
    length_at = body_at + body_size
    (length,) = struct.unpack_from("<I", quote, length_at)
    end = length_at + 4 + length
    outer_type, outer_size = struct.unpack_from("<HI", quote, length_at + 4 + 128)
    qe_at = length_at + 4 + 128 + 6
    assert qe_at + outer_size == end
    (auth_size,) = struct.unpack_from("<H", quote, qe_at + 448)
    chain_type, chain_size = struct.unpack_from("<HI", quote, qe_at + 450 + auth_size)
    chain_at = qe_at + 450 + auth_size + 6
    assert chain_at + chain_size == end
    qe_report = quote[qe_at : qe_at + 384]
    facts = {
        "header": quote[:28].hex(),
        "body": (body_type, body_size),
        "length_at": length_at,
        "certification": (outer_type, chain_type),
        "auth_size": auth_size,
        "td_attributes": quote[body_at + 120 : body_at + 128].hex(),
        "mr_signer_seam": quote[body_at + 64 : body_at + 112].hex(),
        "qe_misc_select": qe_report[16:20].hex(),
        "qe_attributes": qe_report[48:64].hex(),
        "qe_reserved": (qe_report[20:48] + qe_report[96:128] + qe_report[160:256] + qe_report[260:320]).hex(),
        "qe_product": qe_report[256:258].hex(),
        "qe_report_data_tail": qe_report[352:].hex(),
        "trailing": quote[end:].strip(b"\0"),
    }
    return facts, quote[chain_at : chain_at + chain_size]


@pytest.mark.parametrize(
    ("name", "knobs"),
    [("v4-uptodate-b0c06f", {}), ("v5-uptodate-90c06f", {"quote_version": 5, "body_type": 3})],
)
def test_the_quote_has_the_genuine_layout(genuine_tdx, name, knobs):
    """Header, offsets, lengths, types and constants are those of a quote from real hardware."""
    genuine, genuine_chain = layout(genuine_tdx(name).quote)
    ours, chain = layout(quote_of(mint(**knobs)))
    assert ours == genuine
    assert (chain[-2:], chain.count(b"BEGIN CERTIFICATE")) == (
        genuine_chain[-2:],
        genuine_chain.count(b"BEGIN CERTIFICATE"),
    )


def test_v4_sizes_are_fixed_by_its_length_field():
    """A v4 quote is header 48, report 584, a 4-byte length, and exactly that many bytes."""
    quote = quote_of(mint())
    (length,) = struct.unpack_from("<I", quote, 632)
    assert len(quote) == 48 + 584 + 4 + length
    assert quote[48 + 520 : 48 + 584] == bytes(range(64))


def test_the_pck_certificate_has_the_genuine_form(genuine_tdx):
    """Same extensions in the same order with the same critical flags, and the same SGX extension inside."""
    forms = []
    for quote in (genuine_tdx("v4-uptodate-b0c06f").quote, quote_of(mint())):
        chain = x509.load_pem_x509_certificates(layout(quote)[1].rstrip(b"\0"))
        forms.append(
            [[(extension.oid, extension.critical) for extension in link.extensions] for link in chain]
            + [[link.extensions.get_extension_for_class(x509.BasicConstraints).value for link in chain]]
            + [[link.extensions.get_extension_for_class(x509.KeyUsage).value for link in chain]]
            + [_shape_of_sgx_extension(chain[0])]
        )
    assert forms[0] == forms[1]


def test_the_pck_certificate_tells_the_platform():
    """The production parser reads the fields of the SGX extension that the platform was given."""
    tdx = mint(fmspc=b"SIM\0\0\2")
    extension = dcap_qvl.parse_pck_extension_from_pem(layout(quote_of(tdx))[1])
    assert extension.fmspc == b"SIM\0\0\2"
    assert (extension.pce_svn, extension.pce_id, extension.sgx_type) == (13, b"\0\0", 1)
    assert len(extension.ppid) == len(extension.platform_instance_id) == len(extension.cpu_svn) == 16
    assert dcap_qvl.Quote.parse(quote_of(tdx)).ca() == "platform"


def test_the_collateral_has_the_genuine_form(genuine_tdx):
    """Same members, types and encodings; the signed texts have the same keys in the same order."""
    genuine = genuine_tdx("v4-uptodate-b0c06f").collateral
    ours = mint().collateral()["intel"]
    assert ours.keys() == genuine.keys()
    for key in ("tcb_info", "qe_identity"):
        theirs, mine = json.loads(genuine[key]), json.loads(ours[key])
        assert list(mine) == list(theirs)
        assert {name: type(value) for name, value in mine.items()} == {
            name: type(value) for name, value in theirs.items()
        }
        assert ": " not in ours[key]
    for key in ("tcb_info_signature", "qe_identity_signature"):
        assert len(bytes.fromhex(ours[key])) == len(bytes.fromhex(genuine[key])) == 64
    for key in (name for name in genuine if name.endswith("_chain")):
        assert ours[key].count("BEGIN CERTIFICATE") == genuine[key].count("BEGIN CERTIFICATE")


@pytest.mark.parametrize("key", ["root_ca_crl", "pck_crl"])
def test_the_crls_have_the_genuine_form(genuine_tdx, key):
    """CRLs are DER in hexadecimal, with the same extensions as genuine ones."""
    genuine = x509.load_der_x509_crl(bytes.fromhex(genuine_tdx("v4-uptodate-b0c06f").collateral[key]))
    ours = x509.load_der_x509_crl(bytes.fromhex(mint().collateral()["intel"][key]))
    assert [(e.oid, e.critical) for e in ours.extensions] == [(e.oid, e.critical) for e in genuine.extensions]
    assert ours.signature_algorithm_oid == genuine.signature_algorithm_oid
    assert ours.next_update_utc > ours.last_update_utc


def _shape_of_sgx_extension(certificate):
    """The nested (tag, object identifier or length) of the extension, without its values."""
    (extension,) = (e for e in certificate.extensions if e.oid.dotted_string == "1.2.840.113741.1.13.1")
    return list(_shape(extension.value.value))


def _shape(der):
    while der:
        tag, size, at = der[0], der[1], 2
        if size & 0x80:
            at += size & 0x7F
            size = int.from_bytes(der[2:at], "big")
        content, der = der[at : at + size], der[at + size :]
        yield (tag, list(_shape(content)) if tag == 0x30 else content if tag == 0x06 else size)
