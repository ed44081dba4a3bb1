"""The fake SGX machine's bytes against those of real hardware: same fields, same places, same constants."""

from __future__ import annotations

import json
import struct

import dcap_qvl
import pytest
from cryptography import x509

from blindai.testing import FakeSgx
from tests import evidence

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))
# Fields of the 384-byte enclave report: offset in the quote, length.
ENCLAVE = {
    "cpu_svn": (48, 16),
    "misc_select": (64, 4),
    "attributes": (96, 16),
    "mr_enclave": (112, 32),
    "mr_signer": (176, 32),
    "isv_prod_id": (304, 2),
    "isv_svn": (306, 2),
    "report_data": (368, 64),
}


@pytest.fixture(scope="module")
def healthy():
    return FakeSgx(now=NOW)


@pytest.fixture(scope="module")
def genuine():
    return evidence.read("sgx", "v3-config-and-swhardening-00a067")


def quote_of(sgx):
    return sgx.evidence(REPORT_DATA).value


def field(quote, name):
    offset, size = ENCLAVE[name]
    return quote[offset : offset + size]


def read_by_the_library(sgx):
    claims = dcap_qvl.QuoteVerifier(sgx.root_der).verify_with_policy(
        quote_of(sgx),
        dcap_qvl.QuoteCollateralV3.from_json(json.dumps(sgx.collateral()["intel"])),
        NOW,
        dcap_qvl.QuotePolicy.claims_only(NOW),
    )
    return json.loads(claims.to_json())["report"]["SgxEnclave"]


def layout(quote):
    """Walk a quote by its own length fields; return its constants, types and lengths, and the PEM chain."""
    (length,) = struct.unpack_from("<I", quote, 432)
    end = 436 + length
    qe = quote[436 + 128 : 436 + 128 + 384]
    auth_at = 436 + 128 + 384 + 64
    (auth_size,) = struct.unpack_from("<H", quote, auth_at)
    chain_type, chain_size = struct.unpack_from("<HI", quote, auth_at + 2 + auth_size)
    chain_at = auth_at + 2 + auth_size + 6
    facts = {
        "header": quote[:8].hex() + quote[12:28].hex(),
        "header_end": quote[44:48],
        "attributes": field(quote, "attributes").hex(),
        "misc_select": field(quote, "misc_select").hex(),
        "reserved": _reserved(quote[48:432]),
        "chain_type": chain_type,
        "auth": quote[auth_at : auth_at + 2 + auth_size].hex(),
        "qe_product": qe[256:258].hex(),
        "qe_attributes": qe[48:64].hex(),
        "qe_reserved": _reserved(qe),
        "qe_report_data_tail": qe[352:].hex(),
        "chain_ends_the_quote": chain_at + chain_size == end == len(quote),
    }
    return facts, quote[chain_at : chain_at + chain_size]


def _reserved(report):
    return (report[20:48] + report[96:128] + report[160:256] + report[260:320]).hex()


def test_the_quote_has_the_genuine_layout(healthy, genuine):
    """Header, offsets, lengths, types and constants are those of a quote from real hardware."""
    ours, chain = layout(quote_of(healthy))
    theirs, genuine_chain = layout(genuine.quote)
    assert ours == theirs
    assert ours["header"].startswith("0300020000000000")
    assert (chain[-2:], chain.count(b"BEGIN CERTIFICATE")) == (
        genuine_chain[-2:],
        genuine_chain.count(b"BEGIN CERTIFICATE"),
    )


def test_the_enclave_report_says_what_was_asked_for():
    """Every knob of the enclave is at its field's offset, and the library reads the same."""
    knobs = {
        "cpu_svn": bytes([9] * 16),
        "misc_select": b"\1\0\0\0",
        "attributes": bytes.fromhex("0500000000000000e702000000000000"),
        "mr_enclave": b"\xe0" * 32,
        "mr_signer": b"\x51" * 32,
    }
    sgx = FakeSgx(now=NOW, isv_prod_id=0x1234, isv_svn=0x5678, **knobs)
    quote = quote_of(sgx)
    assert {name: field(quote, name) for name in knobs} == knobs
    assert (field(quote, "isv_prod_id"), field(quote, "isv_svn")) == (b"\x34\x12", b"\x78\x56")
    assert field(quote, "report_data") == REPORT_DATA
    report = read_by_the_library(sgx)
    assert {name: bytes.fromhex(report[name]) for name in ("mr_enclave", "mr_signer", "attributes")} == {
        name: knobs[name] for name in ("mr_enclave", "mr_signer", "attributes")
    }
    assert (report["isv_prod_id"], report["isv_svn"]) == (0x1234, 0x5678)


def test_the_collateral_has_the_genuine_form(healthy, genuine):
    """Same nine members, types and encodings; the signed texts have the same keys in the same order."""
    ours = healthy.collateral()["intel"]
    assert ours.keys() == genuine.collateral.keys()
    for key, head in (("tcb_info", ("SGX", 3)), ("qe_identity", ("QE", 2))):
        theirs, mine = json.loads(genuine.collateral[key]), json.loads(ours[key])
        assert (mine["id"], mine["version"]) == (theirs["id"], theirs["version"]) == head
        assert list(mine) == list(theirs)
        assert {name: type(value) for name, value in mine.items()} == {
            name: type(value) for name, value in theirs.items()
        }
        assert mine["tcbLevels"][0].keys() <= theirs["tcbLevels"][0].keys()
    levels = [json.loads(text)["tcbLevels"][0] for text in (ours["tcb_info"], genuine.collateral["tcb_info"])]
    assert levels[0]["tcb"].keys() == levels[1]["tcb"].keys()
    assert json.loads(ours["qe_identity"])["isvprodid"] == 1
    for key in (name for name in genuine.collateral if name.endswith("_chain")):
        assert ours[key].count("BEGIN CERTIFICATE") == genuine.collateral[key].count("BEGIN CERTIFICATE")


def test_the_crls_and_the_pck_certificate_are_of_the_platform_ca(healthy):
    """The PCK chain, as the library reads it, ends in the CA that issued the PCK CRL."""
    assert dcap_qvl.Quote.parse(quote_of(healthy)).ca() == "platform"
    crl = x509.load_der_x509_crl(bytes.fromhex(healthy.collateral()["intel"]["pck_crl"]))
    chain = x509.load_pem_x509_certificates(layout(quote_of(healthy))[1].rstrip(b"\0"))
    assert crl.issuer == chain[1].subject == chain[0].issuer


def test_debug_is_one_bit_of_the_attributes():
    """`debug` sets bit 1 of the flags beside whatever attributes were asked for."""
    sgx = FakeSgx(now=NOW, debug=True, attributes=bytes.fromhex("1500000000000000e700000000000000"))
    assert field(quote_of(sgx), "attributes").hex() == "1700000000000000e700000000000000"
