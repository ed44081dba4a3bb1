"""Intel's collateral as a PCS and a PCCS serve it."""

from __future__ import annotations

import datetime
import json
import time
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust
from blindai.errors import UnreachableError, UsageError
from blindai.testing import FakeTdx
from blindai.transport.collateral import intel
from tests.testing.genuine import read_file
from tests.transport.collateral import services
from tests.transport.collateral.services import Reply

GENUINE = [
    ("tdx", "v4-uptodate-b0c06f", "B0C06F000000"),
    ("tdx", "v4-outofdate-00806f05", "00806F050000"),
    ("tdx", "v5-uptodate-90c06f", "90C06F000000"),
    ("sgx", "v3-config-and-swhardening-00a067", "00A067110000"),
]


def test_a_pcs_gives_collateral_that_the_verifier_accepts(tdx, platform, pcs, operator):
    """All nine members arrive as they were published, and evidence verifies with them."""
    fetched = operator.intel(pcs, platform)
    assert fetched == tdx.collateral()["intel"]
    claims = vendors.verify(
        tdx.evidence(bytes(64)),
        {"intel": fetched},
        trust=SimulationTrust([tdx.root_sha256]),
        now=int(time.time()),
    )
    assert claims.tee == "tdx"
    assert len(pcs.asked) == 4


def test_a_pccs_gives_the_same(tdx, platform, operator):
    """A PCCS has CRLs in hexadecimal, its own copy of the root CRL, and an URL with a path."""
    collateral = tdx.collateral()["intel"]
    routes = services.pcs_routes(collateral, platform)
    pck = f"/sgx/certification/v4/pckcrl?ca={platform.ca}&encoding=der"
    routes[pck] = Reply(collateral["pck_crl"].encode(), routes[pck].headers)
    del routes["/IntelSGXRootCA.der"]
    routes["/sgx/certification/v4/rootcacrl"] = Reply(collateral["root_ca_crl"].upper().encode() + b"\n")
    with services.running(routes) as pccs:
        where = intel.Service.at(f"{pccs.url}/sgx/certification/v4/")
        assert where.url == pccs.url
        assert operator.intel(pccs, platform, root_crl_url=where.root_crl_url) == collateral


@pytest.mark.parametrize(
    "change", [lambda pem: pem.replace("\n", "\r\n"), str.rstrip], ids=["crlf", "no end"]
)
def test_another_spelling_of_a_chain_becomes_the_verifiers(tdx, platform, pcs, operator, change):
    """Line ends differ from service to service; the verifier takes one spelling."""
    collateral = tdx.collateral()["intel"]
    path = next(path for path in pcs.routes if "/tcb?" in path)
    chain = quote(change(collateral["tcb_info_issuer_chain"]))
    pcs.routes[path] = Reply(pcs.routes[path].body, {"SGX-TCB-Info-Issuer-Chain": chain})
    assert operator.intel(pcs, platform) == collateral


def test_a_plus_sign_is_itself(tdx, platform, pcs, operator):
    """A service may leave the "+" of base64 as it is: it is no blank, as it would be in a form."""
    collateral = tdx.collateral()["intel"]
    path = next(path for path in pcs.routes if "/pckcrl" in path)
    chain = collateral["pck_crl_issuer_chain"] + collateral["tcb_info_issuer_chain"]
    assert "+" in chain
    three = chain[: chain.rindex("-----BEGIN")]
    pcs.routes[path] = Reply(pcs.routes[path].body, {"SGX-PCK-CRL-Issuer-Chain": quote(three, safe="/+=")})
    assert operator.intel(pcs, platform)["pck_crl_issuer_chain"] == three


def test_pem_crls_are_taken_too(tdx, platform, pcs, operator):
    """A PCS gives CRLs in PEM where it ignores the encoding that is asked for."""
    der = bytes.fromhex(tdx.collateral()["intel"]["root_ca_crl"])
    pcs.routes["/IntelSGXRootCA.der"] = Reply(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM))
    assert operator.intel(pcs, platform)["root_ca_crl"] == der.hex()


@pytest.mark.parametrize(("tee", "name", "fmspc"), GENUINE)
def test_genuine_answers_become_the_samples_collateral(operator, tee, name, fmspc):
    """From the genuine quote to the genuine collateral, with the answers that Intel gave."""
    collateral = json.loads(read_file(tee, name, "collateral.json"))
    platform = intel.platform_of(read_file(tee, name, "quote.bin"))
    assert (platform.fmspc, platform.tee) == (fmspc, tee)
    routes = services.pcs_routes(collateral, platform)
    for path, member in (("/tcb?", "tcb_info"), ("/qe/identity", "qe_identity")):
        (found,) = [key for key in routes if path in key]
        body = read_file(tee, name, f"{member}.response.json")
        routes[found] = Reply(body, routes[found].headers)
    with services.running(routes) as pcs:
        assert operator.intel(pcs, platform) == collateral
    # The samples are of the past: used as asked, but not kept.
    assert any("ended" in text for text in operator.heard)
    again = services.Operator(operator.folder)
    with services.running(routes) as pcs:
        again.intel(pcs, platform)
        assert pcs.paths


def test_signed_texts_keep_their_bytes(tdx, platform, pcs, operator):
    """Blanks, order and escapes within a signed text are part of what is signed."""
    path = next(path for path in pcs.routes if "/tcb?" in path)
    spaced = json.dumps(json.loads(tdx.collateral()["intel"]["tcb_info"]), indent=3).replace(
        "TDX_01", "TDX\\u005f01"
    )
    body = f' {{ "signature" : "{"0A" * 64}" ,\n "tcbInfo"\t:\n {spaced} , "note": "tcbInfo" }} \n'
    pcs.routes[path] = Reply(body.encode(), pcs.routes[path].headers)
    fetched = operator.intel(pcs, platform)
    assert fetched["tcb_info"] == spaced
    assert fetched["tcb_info_signature"] == "0A" * 64


def test_the_key_goes_to_the_service_and_nowhere_else(tdx, platform, pcs, operator):
    """The host of the root CRL is another one and learns no key; nothing shows it."""
    crl = pcs.routes["/IntelSGXRootCA.der"]
    with services.running({"/IntelSGXRootCA.der": crl}) as other:
        where = f"{other.url}/IntelSGXRootCA.der"
        operator.intel(pcs, platform, root_crl_url=where, api_key="CANARY-KEY")
    assert {headers.get(intel.API_KEY_HEADER) for _, headers in pcs.asked} == {"CANARY-KEY"}
    assert "CANARY-KEY" not in str(other.asked) + str(operator.heard)
    assert "CANARY-KEY" not in repr(intel.Service.at(api_key="CANARY-KEY"))


def test_early_data_are_asked_for_and_kept_apart(tdx, platform, pcs, operator):
    """--update early reaches both signed texts, and is no substitute for standard data in the cache."""
    operator.intel(pcs, platform)
    pcs.routes = services.pcs_routes(tdx.collateral()["intel"], platform, update="early")
    pcs.asked.clear()
    operator.intel(pcs, platform, update="early")
    assert pcs.paths == [path for path in pcs.routes if "early" in path]


@pytest.mark.parametrize(
    "knobs", [{"tcb_info_id": "SGX"}, {"tcb_info_fmspc": b"OTHER\0"}, {"qe_identity_id": "QE"}]
)
def test_an_answer_about_another_platform_is_reported(platform, operator, knobs):
    """A service that mixes things up is found out here and not on the day the collateral is needed."""
    routes = services.pcs_routes(FakeTdx(**knobs).collateral()["intel"], platform)
    with services.running(routes) as pcs:
        with pytest.raises(UnreachableError, match="about another"):
            operator.intel(pcs, platform)


@pytest.mark.parametrize(
    "quote_bytes",
    [b"", bytes(48), b"\x04\0\x02\0\x07" + bytes(600), b"\x03\0" + bytes(600)],
    ids=["empty", "zero", "another TEE", "no certificate"],
)
def test_what_is_no_quote_is_refused(quote_bytes):
    """A file that is no quote, or carries no certificate, is a usage error."""
    with pytest.raises(UsageError):
        intel.platform_of(quote_bytes)


def test_broken_quotes_end_in_our_error(tdx):
    """Truncated, or with a byte of its certificate changed, a quote ends in a platform or our error."""
    whole = tdx.evidence(bytes(64)).value
    start = whole.index(b"-----BEGIN")
    broken = [whole[:length] for length in range(0, len(whole), 37)]
    broken += [whole[:at] + b"A" + whole[at + 1 :] for at in range(start, start + 1500, 7)]
    for data in broken:
        try:
            assert intel.platform_of(data).tee == "tdx"
        except UsageError:
            continue


@pytest.mark.parametrize("san", ["3004a3023000", "3004a5023000"], ids=["x400", "edi"])
def test_a_name_that_the_library_will_not_read(tdx, san):
    """Whatever it raises for what the device sent is our error: it must not end the task that asked."""
    whole = tdx.evidence(bytes(64)).value
    start = whole.index(b"-----BEGIN")
    end = whole.index(b"-----END CERTIFICATE-----", start) + 25
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Intel SGX PCK Platform CA")])
    now, key = datetime.datetime.now(datetime.UTC), ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5, now, now + datetime.timedelta(1))
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex(san))
    pem = builder.add_extension(odd, critical=False).sign(key, SHA256()).public_bytes(Encoding.PEM)
    with pytest.raises(UsageError, match="not a PCK certificate"):
        intel.platform_of(whole[:start] + pem.strip() + whole[end:])


def test_the_processor_ca_is_told_from_the_platform_ca():
    """The issuer's name says which CRL is needed; both occur among the genuine samples."""
    quotes = [read_file(tee, name, "quote.bin") for tee, name, _ in GENUINE]
    assert {intel.platform_of(quote_bytes).ca for quote_bytes in quotes} == {"processor", "platform"}
