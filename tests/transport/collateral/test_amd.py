"""AMD's collateral as the KDS serves it, and the identifier of a chip, which shows nowhere."""

from __future__ import annotations

import datetime
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust
from blindai.errors import BlindAIError, UnreachableError, UsageError
from blindai.testing import FakeSnp
from blindai.transport.collateral import amd
from tests.testing.genuine import read_file
from tests.transport.collateral import services
from tests.transport.collateral.services import Reply

CHIP_ID = bytes(range(64))
CHIP = amd.Chip("Genoa", CHIP_ID, amd.Tcb(10, 0, 23, 84))
PATH = f"/vcek/v1/Genoa/{CHIP_ID.hex()}?blSPL=10&teeSPL=00&snpSPL=23&ucodeSPL=84"
KEY = ec.generate_private_key(ec.SECP384R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TEST")])
DAY = datetime.timedelta(days=1)


def certificate(hwid: bytes) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.3704.1.4"), hwid)
    return (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now - DAY)
        .not_valid_after(now + 99 * DAY)
        .add_extension(extension, critical=False)
        .sign(KEY, hashes.SHA384())
        .public_bytes(Encoding.DER)
    )


def crl(end: datetime.timedelta = DAY) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(NAME)
    built = builder.last_update(now - 9 * DAY).next_update(now + end).sign(KEY, hashes.SHA384())
    return built.public_bytes(Encoding.DER)


VCEK = certificate(CHIP_ID)
CHAIN = ssl.DER_cert_to_PEM_cert(certificate(b"")) * 2


@pytest.fixture
def kds():
    """A KDS that knows one chip."""
    routes = {
        PATH: Reply(VCEK),
        "/vcek/v1/Genoa/cert_chain": Reply(CHAIN.encode()),
        "/vcek/v1/Genoa/crl": Reply(crl()),
    }
    with services.running(routes) as service:
        yield service


def test_the_kds_gives_certificate_chain_and_crl(kds, operator):
    """The three members, in the encodings that a server staples."""
    fetched = operator.amd(kds, CHIP)
    assert fetched == {
        "leaf": ssl.DER_cert_to_PEM_cert(VCEK),
        "issuer_chain": CHAIN,
        "crl": kds.routes["/vcek/v1/Genoa/crl"].body.hex(),
    }


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("milan-vcek-ok", "blSPL="),
        ("genoa-vcek-ok", "blSPL=10&teeSPL=00&snpSPL=23&ucodeSPL=84"),
        ("turin-vcek-ok", "fmcSPL="),
    ],
)
def test_a_genuine_report_leads_to_its_own_certificate(operator, name, path):
    """Product, identifier and TCB of a genuine report name the certificate that came with it."""
    product = name.partition("-")[0].capitalize()
    chip = amd.chip_of(read_file("snp", name, "report.bin"), product)
    assert (chip.product, len(chip.chip_id)) == (product, 8 if product == "Turin" else 64)
    vcek = read_file("snp", name, "vcek.der")
    with services.running(default=Reply(vcek)) as kds:
        kds.routes[f"/vcek/v1/{product}/cert_chain"] = Reply(read_file("snp", name, "ask_ark.pem"))
        kds.routes[f"/vcek/v1/{product}/crl"] = Reply(crl())
        fetched = operator.amd(kds, chip)
    assert ssl.PEM_cert_to_DER_cert(fetched["leaf"]) == vcek
    assert f"/vcek/v1/{product}/{chip.chip_id.hex()}?{path}" in kds.paths[0]


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("name", ["milan-vcek-ok", "genoa-vcek-ok", "turin-vcek-ok"])
def test_the_tcb_of_a_genuine_report_is_that_of_its_certificate(name):
    """The bytes of reported_tcb are read in the product's order: each equals the certificate's extension."""
    product = name.partition("-")[0].capitalize()
    tcb = amd.chip_of(read_file("snp", name, "report.bin"), product).tcb
    vcek = x509.load_der_x509_certificate(read_file("snp", name, "vcek.der"))

    def number(arc: str) -> int:
        oid = x509.ObjectIdentifier(f"1.3.6.1.4.1.3704.1.3.{arc}")
        return int.from_bytes(vcek.extensions.get_extension_for_oid(oid).value.value[2:], "big")

    assert (tcb.bootloader, tcb.tee, tcb.snp, tcb.microcode) == tuple(map(number, "1238"))
    assert tcb.fmc == (number("9") if product == "Turin" else None)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("product", amd.PRODUCTS)
def test_the_verifier_accepts_what_the_kds_gives(operator, product):
    """The collateral of a simulated machine's own report, in the form that its verifier reads."""
    snp = FakeSnp(product=product)
    evidence = snp.evidence(bytes(64))
    stapled = snp.collateral()["amd"]
    with services.running(default=Reply(snp.leaf_der)) as kds:
        kds.routes[f"/vcek/v1/{product}/cert_chain"] = Reply(stapled["issuer_chain"].encode())
        kds.routes[f"/vcek/v1/{product}/crl"] = Reply(bytes.fromhex(stapled["crl"]))
        fetched = operator.amd(kds, amd.chip_of(evidence.value, product))
    assert fetched == stapled
    trust = SimulationTrust([snp.root_sha256])
    claims = vendors.verify(evidence, {"amd": fetched}, trust=trust, now=int(time.time()))
    assert claims.tee == "sev-snp"


def test_a_certificate_is_kept_for_ever_and_a_crl_until_its_end(kds, operator):
    """The second time nobody is asked for what cannot change, nor for what has not ended."""
    operator.amd(kds, CHIP)
    kds.asked.clear()
    operator.amd(kds, CHIP)
    assert kds.paths == []


def test_a_crl_that_has_ended_is_asked_for_each_time(kds, operator):
    """What is of the past when it comes is passed on, said, and not kept."""
    kds.routes["/vcek/v1/Genoa/crl"] = Reply(crl(-DAY))
    operator.amd(kds, CHIP)
    kds.asked.clear()
    operator.amd(kds, CHIP)
    assert kds.paths == ["/vcek/v1/Genoa/crl"]
    assert any("AMD's CRL ended" in text for text in operator.heard)


def test_another_tcb_is_another_certificate(kds, operator):
    """A firmware update does not get the certificate of before."""
    operator.amd(kds, CHIP)
    with pytest.raises(UsageError, match="does not have the VCEK"):
        operator.amd(kds, amd.Chip("Genoa", CHIP_ID, amd.Tcb(11, 0, 23, 84)))


def test_requests_are_spaced_even_across_processes(kds, operator):
    """A loop over a fleet's reports is as polite as one command."""
    begin = time.monotonic()
    operator.amd(kds, CHIP, interval_seconds=0.3)
    services.Operator(operator.folder).amd(kds, amd.Chip("Genoa", CHIP_ID, CHIP.tcb), interval_seconds=0.3)
    kds.routes[PATH.replace("blSPL=10", "blSPL=11")] = Reply(VCEK)
    services.Operator(operator.folder).amd(
        kds, amd.Chip("Genoa", CHIP_ID, amd.Tcb(11, 0, 23, 84)), interval_seconds=0.3
    )
    assert len(kds.asked) == 4
    # By the client's clock: when a loaded machine notices a request says nothing about when it was sent.
    assert time.monotonic() - begin > 3 * 0.3 - 0.01


@pytest.mark.parametrize(
    "route", [PATH, "/vcek/v1/Genoa/cert_chain", "/vcek/v1/Genoa/crl"], ids=["leaf", "chain", "crl"]
)
@pytest.mark.parametrize(
    "reply",
    [
        Reply(b""),
        Reply(b"\x30\x80\0\0"),
        Reply(b"<html>busy</html>"),
        Reply(certificate(bytes(64))),
        Reply(VCEK + b"\0\0"),
        Reply(VCEK[:-1]),
        Reply(CHAIN.encode() * 3),
        Reply(b"x" * 300_000),
        Reply(b"x", status=500),
        Reply(b"", {"Location": f"/{CHIP_ID.hex()}"}, 302),
        Reply(CHIP_ID.hex().encode(), status=404),
    ],
    ids=["empty", "indefinite", "html", "stranger", "tail", "cut", "long", "big", "500", "302", "404"],
)
def test_a_chip_is_named_nowhere(kds, operator, route, reply):
    """Whatever fails: no error, word or file name holds the identifier, and garbage is not kept."""
    kds.routes[route] = reply
    with pytest.raises(BlindAIError) as caught:
        operator.amd(kds, CHIP)
    chain = (caught.value, caught.value.__cause__, caught.value.__context__)
    names = [path.name for path in operator.folder.iterdir()] if operator.folder.exists() else []
    shown = " ".join([*map(repr, chain), *operator.heard, *names, repr(CHIP), caught.value.hint]).lower()
    assert CHIP_ID.hex()[:16] not in shown
    assert "\\x00\\x01\\x02" not in shown
    kds.asked.clear()
    with pytest.raises(BlindAIError):
        operator.amd(kds, CHIP)
    assert route in kds.paths


def test_another_chips_certificate_is_not_kept(kds, operator):
    """What would stay for ever is looked at: a mix-up at the service must not."""
    kds.routes[PATH] = Reply(certificate(bytes(64)))
    with pytest.raises(UnreachableError, match="another chip"):
        operator.amd(kds, CHIP)
    kds.routes[PATH] = Reply(VCEK)
    assert operator.amd(kds, CHIP)["leaf"] == ssl.DER_cert_to_PEM_cert(VCEK)


def report(
    version: int = 3, model: tuple[int, int] = (0x19, 0x11), chip: bytes = CHIP_ID, key: int = 0
) -> bytes:
    data = bytearray(amd.REPORT_BYTES)
    data[0], data[0x48] = version, key << 2
    data[0x180:0x188] = bytes([10, 0, 0, 0, 0, 0, 23, 84])
    data[0x188:0x18A] = bytes(model)
    data[0x1A0 : 0x1A0 + len(chip)] = chip
    return bytes(data)


def test_a_report_names_its_chip():
    """Product, identifier and TCB are where the ABI has them."""
    assert amd.chip_of(report()) == CHIP
    assert amd.chip_of(report(version=2, model=(0, 0)), "Genoa") == CHIP
    turin = amd.chip_of(report(model=(0x1A, 2), chip=CHIP_ID[:8]))
    assert turin == amd.Chip("Turin", CHIP_ID[:8], amd.Tcb(0, 0, 0, 84, fmc=10))


@pytest.mark.parametrize(
    ("data", "product", "said"),
    [
        (b"", None, "not an SNP report"),
        (report()[:-1], None, "not an SNP report"),
        (report(version=9), None, "not an SNP report"),
        (report(version=2), None, "does not tell its product"),
        (report(model=(0x17, 1)), None, "does not tell its product"),
        (report(), "Milan", "of a Genoa, not of a Milan"),
        (report(chip=b""), None, "the host hides it"),
        (report(key=1), None, "VLEK"),
        (report(model=(0x1A, 2)), None, "not that of a Turin"),
    ],
)
def test_what_cannot_be_fetched_is_said_without_asking(data, product, said):
    """A report that leads to no certificate is a usage error that says why."""
    with pytest.raises(UsageError, match=said):
        amd.chip_of(data, product)


@pytest.mark.parametrize(
    ("product", "chip_id", "tcb"),
    [
        ("Turin", CHIP_ID, amd.Tcb(1, 1, 1, 1, fmc=1)),
        ("Turin", CHIP_ID[:8], amd.Tcb(1, 1, 1, 1)),
        ("Milan", CHIP_ID, amd.Tcb(1, 1, 1, 1, fmc=1)),
        ("Milan", CHIP_ID[:8], amd.Tcb(1, 1, 1, 1)),
        ("Milan", CHIP_ID, amd.Tcb(256, 1, 1, 1)),
        ("Milan", CHIP_ID, amd.Tcb(1, -1, 1, 1)),
    ],
)
def test_values_that_do_not_fit_the_product_are_refused(product, chip_id, tcb):
    """Lengths and numbers are those of the product."""
    with pytest.raises(UsageError):
        amd.Chip(product, chip_id, tcb)
