"""The sample runner on recordings that no author has described: made from genuine files, or broken."""

from __future__ import annotations

import datetime
import functools
import json
import shutil
import ssl

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust
from blindai.errors import Reason
from blindai.testing import FakeSnp
from blindai.testing.samples import folder as folders
from blindai.testing.samples.judgement import ACCEPT, REJECT
from blindai.testing.samples.runner import run
from tests import evidence
from tests.testing import recordings
from tests.testing.recordings import COPIES, MILAN, NITRO, SGX, TDX, verdict

# Serial number 0 is what makes a VCEK genuine.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

NOW = 1_790_000_000


@pytest.fixture
def copy(tmp_path):
    """Copy a genuine sample to where it may be changed."""
    return functools.partial(recordings.copied, tmp_path)


def iso(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


@pytest.mark.parametrize(("tee", "name"), [("tdx", TDX), ("sgx", SGX)])
@pytest.mark.parametrize("spelling", [bytes, lambda raw: raw.hex().encode() + b"\n"])
def test_the_right_nonce_changes_nothing(copy, tee, name, spelling):
    """Raw, or as hexadecimal text."""
    folder = copy(tee, name)
    before = verdict(folder)
    claims = evidence.read(tee, name).verify()
    (folder / "nonce.dat").write_bytes(spelling(claims.report_data))
    assert verdict(folder) == before


def test_a_short_nonce_is_padded_with_zeros(copy):
    """The sample's report data are the text, then zeros."""
    folder = copy("sgx", SGX)
    before = verdict(folder)
    (folder / "nonce.dat").write_bytes(b"Hello, world!")
    assert verdict(folder) == before


@pytest.mark.parametrize("nonce", [b"", b"\x01", b"Hello, world", b"Hello, world!\x01", bytes(65), b"00"])
def test_another_nonce_is_a_mismatch(copy, nonce):
    """Also none at all, a prefix, and one that is too long."""
    folder = copy("sgx", SGX)
    (folder / "nonce.dat").write_bytes(nonce)
    assert verdict(folder) == (REJECT, Reason.REPORT_DATA_MISMATCH)


def test_a_nitro_document_carries_it_as_its_nonce(copy):
    """Exactly: nothing pads there."""
    folder = copy("nitro", NITRO)
    nonce = evidence.read("nitro", NITRO).verify().nonce
    for written, expected in (
        (nonce, (ACCEPT,)),
        (nonce[:-1], (REJECT, Reason.REPORT_DATA_MISMATCH)),
        (nonce + b"\0", (REJECT, Reason.REPORT_DATA_MISMATCH)),
    ):
        (folder / "nonce.dat").write_bytes(written)
        assert verdict(folder) == expected


def test_the_right_leaf_mends_the_sample_with_the_wrong_one(copy):
    """What meta.json says of `vcek-right.der`: then accept."""
    folder = copy("snp", "milan-wrong-vcek")
    (folder / "vcek-right.der").replace(folder / "vcek.der")
    assert verdict(folder) == (ACCEPT,)


def test_files_may_have_other_names_orders_and_spellings(copy):
    """PEM leaf, root before signing key and one file each, a report as text; a quote as quote.dat."""
    folder = copy("snp", MILAN)
    (folder / "vcek.pem").write_text(ssl.DER_cert_to_PEM_cert((folder / "vcek.der").read_bytes()))
    (folder / "vcek.der").unlink()
    ask, ark = (folder / "ask_ark.pem").read_text().split("-----END CERTIFICATE-----\n")[:2]
    (folder / "z_ask.pem").write_text(f"{ask}-----END CERTIFICATE-----\r\n")
    (folder / "ark.der").write_bytes(ssl.PEM_cert_to_DER_cert(f"{ark}-----END CERTIFICATE-----\n"))
    (folder / "ask_ark.pem").unlink()
    (folder / "report.hex").write_text((folder / "report.bin").read_bytes().hex(" ", 16))
    (folder / "report.bin").unlink()
    assert verdict(folder) == (ACCEPT,)
    (folder / "vcek.pem").rename(folder / "chip_vcek.crt")
    assert verdict(folder) == (ACCEPT,)
    folder = copy("tdx", TDX)
    (folder / "quote.bin").rename(folder / "quote.dat")
    assert verdict(folder) == (ACCEPT,)
    (folder / "quote.dat").rename(folder / "my_tdx_quote.blob")
    assert verdict(folder) == (ACCEPT,)


def test_a_vlek_is_looked_for_where_the_report_names_one(copy):
    """Both may lie there: a VCEK's report is not judged by the other file."""
    folder = copy("snp", MILAN)
    shutil.copy(evidence.require("snp", "milan-wrong-vcek", "vcek.der"), folder / "vlek.der")
    assert verdict(folder) == (ACCEPT,)


def test_a_vlek_and_a_crl_are_found(tmp_path):
    """A cloud's leaf, a root before its signing key, a CRL: the verifier gets as far as the strange root."""
    made = FakeSnp(now=NOW, leaf="vlek")
    (tmp_path / "report.bin").write_bytes(made.evidence(bytes(64)).value)
    (tmp_path / "vlek.der").write_bytes(made.leaf_der)
    (tmp_path / "crl.der").write_bytes(made.crl)
    (tmp_path / "ark_asvk.pem").write_text(made.root.pem + made.issuer.pem)
    (tmp_path / "meta.json").write_text(
        json.dumps({"tee": "snp", "now": NOW, "expect": {"verdict": "reject"}})
    )
    assert verdict(tmp_path) == (REJECT, Reason.ROOT_UNKNOWN)
    stapled = folders.read(tmp_path, "snp").collateral
    assert stapled == made.collateral()
    claims = vendors.verify(
        made.evidence(bytes(64)), stapled, trust=SimulationTrust([made.root_sha256]), now=NOW
    )
    assert claims.revocation_checked


def test_the_chains_of_several_products_may_lie_beside_each_other(copy):
    """The names lead from the leaf to the right two."""
    folder = copy("snp", MILAN)
    for other in ("genoa-vcek-ok", "turin-vcek-ok"):
        shutil.copy(evidence.require("snp", other, "ask_ark.pem"), folder / f"{other[:5]}.pem")
    assert verdict(folder) == (ACCEPT,)


def test_collateral_is_put_together_from_its_pieces(copy):
    """Without collateral.json, from Intel's responses, the CRLs and the TCB signer's certificate."""
    folder = copy("tdx", TDX)
    chain = json.loads((folder / "collateral.json").read_text())["tcb_info_issuer_chain"]
    (folder / "collateral.json").unlink()
    assert verdict(folder) == (REJECT, Reason.COLLATERAL_MALFORMED)
    (folder / "tcb_chain.pem").write_text(chain)
    assert verdict(folder) == (ACCEPT,)


@pytest.mark.parametrize(("tee", "name"), [*COPIES, ("tdx", "v5-uptodate-90c06f")])
def test_outside_its_time_a_sample_is_refused(copy, tee, name):
    """By its dates and nothing else."""
    sample = evidence.read(tee, name)
    early = {"tdx": Reason.COLLATERAL_NOT_YET_VALID, "sgx": Reason.COLLATERAL_NOT_YET_VALID}
    late = {"tdx": Reason.CRL_EXPIRED, "sgx": Reason.COLLATERAL_EXPIRED}
    folder = copy(tee, name, now=iso(sample.valid_from - 1))
    assert verdict(folder) == (REJECT, early.get(tee, Reason.CERTIFICATE_NOT_YET_VALID))
    shutil.rmtree(folder)
    folder = copy(tee, name, now=sample.valid_to)
    assert verdict(folder) == (REJECT, late.get(tee, Reason.CERTIFICATE_EXPIRED))


def test_the_files_of_another_sample_do_not_do(copy):
    """Collateral of another platform, a report of another chip, evidence of another TEE."""
    folder = copy("tdx", TDX)
    shutil.copy(evidence.require("sgx", SGX, "collateral.json"), folder)
    assert verdict(folder) == (REJECT, Reason.COLLATERAL_OTHER_TEE)
    shutil.copy(evidence.require("sgx", SGX, "quote.bin"), folder)
    assert verdict(folder) == (REJECT, Reason.QUOTE_MALFORMED)
    folder = copy("snp", MILAN)
    shutil.copy(evidence.require("snp", "genoa-vcek-ok", "report.bin"), folder)
    assert verdict(folder) == (REJECT, Reason.PRODUCT_MISMATCH)
    folder = copy("nitro", NITRO)
    shutil.copy(evidence.require("snp", MILAN, "report.bin"), folder / "attestation_doc.cbor")
    assert verdict(folder) == (REJECT, Reason.DOCUMENT_MALFORMED)


@pytest.mark.parametrize(
    ("tee", "name", "file", "reason"),
    [
        ("tdx", TDX, "quote.bin", Reason.EVIDENCE_MISSING),
        ("sgx", SGX, "quote.bin", Reason.EVIDENCE_MISSING),
        ("snp", MILAN, "report.bin", Reason.EVIDENCE_MISSING),
        ("snp", MILAN, "vcek.der", Reason.COLLATERAL_MISSING),
        ("snp", MILAN, "ask_ark.pem", Reason.CERTIFICATE_MALFORMED),
        ("nitro", NITRO, "attestation_doc.cbor", Reason.EVIDENCE_MISSING),
    ],
)
def test_a_missing_file_is_a_refusal(copy, tee, name, file, reason):
    """The reason says what is missing."""
    folder = copy(tee, name)
    (folder / file).unlink()
    assert verdict(folder) == (REJECT, reason)


@pytest.mark.parametrize(("tee", "name"), COPIES)
@pytest.mark.parametrize(
    "junk",
    [b"", b"\0", b"{", b"null", b"[" * 100_000, b'{"pck_crl": 1}', b"\xff" * 2000, bytes(1_100_000),
     b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
     b"-----BEGIN CERTIFICATE-----\n!"],
)  # fmt: skip
def test_junk_in_any_file_is_a_refusal(copy, tee, name, junk):
    """Each file in turn, as empty, huge, deep, or something else altogether."""
    folder = copy(tee, name)
    needed = {"quote.bin", "collateral.json", "report.bin", "vcek.der", "ask_ark.pem", "attestation_doc.cbor"}
    for path in [path for path in folder.iterdir() if path.name in needed]:
        content = path.read_bytes()
        path.write_bytes(junk)
        word, reason = verdict(folder)
        assert word == REJECT, path.name
        assert reason in Reason
        path.write_bytes(content)
    assert not run(folder, root=folder).contradiction


def test_two_files_that_might_be_the_evidence_are_none(copy):
    """The runner does not choose what it judges."""
    folder = copy("nitro", NITRO)
    (folder / "attestation_doc.cbor").rename(folder / "one.cbor")
    assert verdict(folder) == (ACCEPT,)
    shutil.copy(folder / "one.cbor", folder / "two.cbor")
    assert verdict(folder) == (REJECT, Reason.EVIDENCE_MISSING)
