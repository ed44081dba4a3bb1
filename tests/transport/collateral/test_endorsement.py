"""What endorses an SNP machine: from its host where that fits, from the KDS or Azure's host where not."""

from __future__ import annotations

import json
import time

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust
from blindai.errors import BlindAIError, UnreachableError, UsageError
from blindai.tee.simulated import Window
from blindai.tee.simulated.snp_machine import SnpTcb
from blindai.testing import FakeSnp
from blindai.transport.collateral import amd, endorsement
from blindai.transport.collateral.source import service_url
from tests.transport.collateral import services
from tests.transport.collateral.services import Reply, kds_routes, thim_routes, vcek_path

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")
DAY = 24 * 3600
CHAIN, CRL = "/vcek/v1/Milan/cert_chain", "/vcek/v1/Milan/crl"


@pytest.fixture(scope="module")
def snp():
    return FakeSnp()


@pytest.fixture
def kds(snp):
    with services.running(kds_routes(snp)) as service:
        yield service


def report(snp):
    return snp.evidence(bytes(64)).value


def given(snp, *names):
    """What a host's table holds about a machine: everything, or the members that are named."""
    stapled = snp.collateral()["amd"]
    return {name: stapled[name] for name in names or stapled}


def verify(snp, fetched):
    claims = vendors.verify(
        snp.evidence(bytes(64)),
        {"amd": dict(fetched.members)},
        trust=SimulationTrust([snp.root_sha256]),
        now=int(time.time()),
    )
    assert claims.tee == "sev-snp"
    return claims


@pytest.mark.parametrize("product", amd.PRODUCTS)
def test_without_a_host_the_kds_gives_all(server, product):
    """Certificate, issuers and CRL, each of which verifies; the end is the CRL's."""
    snp = FakeSnp(product=product)
    with services.running(kds_routes(snp)) as kds:
        fetched = server.amd(kds, report(snp))
    assert fetched.members == snp.collateral()["amd"]
    assert (fetched.problems, sorted(kds.paths)) == ((), sorted(kds_routes(snp)))
    assert verify(snp, fetched).not_after == fetched.until


def test_what_the_host_has_is_not_asked_for(snp, kds, server):
    """A table with everything costs no request; at a refresh, one for the list of what is revoked."""
    fetched = server.amd(kds, report(snp), given(snp), anew=False)
    assert (fetched.members, fetched.problems, kds.paths) == (snp.collateral()["amd"], (), [])
    verify(snp, fetched)
    assert server.amd(kds, report(snp), given(snp)) == fetched
    assert kds.paths == [CRL]


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (("leaf", "issuer_chain"), {CRL}),
        (("leaf",), {CHAIN, CRL}),
        (("leaf", "crl"), {CHAIN}),
        (("issuer_chain",), {CHAIN, CRL, "vcek"}),
        (("crl",), {CHAIN, "vcek"}),
    ],
)
def test_what_the_host_lacks_is_asked_for(snp, kds, server, names, asked):
    """Piece by piece; issuers without a leaf tell nothing that the KDS need not be asked about."""
    fetched = server.amd(kds, report(snp), given(snp, *names), anew=False)
    assert set(kds.paths) == {vcek_path(snp) if path == "vcek" else path for path in asked}
    assert fetched.members == snp.collateral()["amd"]
    verify(snp, fetched)


def _other(snp, **knobs):
    return FakeSnp(root=snp.root, **knobs)


STRANGERS = {
    "another chip": lambda snp: given(_other(snp, chip_id=b"\x07" * 64), "leaf", "issuer_chain"),
    "the firmware before": lambda snp: given(
        _other(snp, leaf_tcb=SnpTcb(4, 0, 23, 219)), "leaf", "issuer_chain"
    ),
    "another product": lambda snp: given(_other(snp, product="Genoa"), "leaf", "issuer_chain"),
    "a cloud's": lambda snp: given(_other(snp, leaf="vlek"), "leaf", "issuer_chain"),
    "issuers of another": lambda snp: {
        "leaf": snp.collateral()["amd"]["leaf"],
        "issuer_chain": _other(snp, leaf="vlek").collateral()["amd"]["issuer_chain"],
    },
    "one issuer": lambda snp: {"leaf": snp.collateral()["amd"]["leaf"], "issuer_chain": snp.root.pem},
    "expired": lambda snp: given(_other(snp, leaf_window=Window(-30 * DAY, -DAY)), "leaf", "issuer_chain"),
    "nonsense": lambda _: {"leaf": "-----BEGIN", "issuer_chain": "\0", "crl": "zz"},
}


@pytest.mark.parametrize("host", STRANGERS.values(), ids=STRANGERS)
def test_what_does_not_fit_is_not_stapled(snp, kds, server, host):
    """A host that was not updated with its firmware, or mixes machines up: the KDS has what fits."""
    fetched = server.amd(kds, report(snp), host(snp))
    assert fetched.members == snp.collateral()["amd"]
    verify(snp, fetched)


@pytest.mark.parametrize("knobs", [{"crl_by_stranger": True}, {"crl": Window(-2 * DAY, DAY // 2)}])
def test_a_crl_of_the_host_that_will_not_do_is_asked_for(snp, kds, server, knobs):
    """One that the authority did not sign, or that ends today."""
    crl = _other(snp, **knobs).collateral()["amd"]["crl"]
    fetched = server.amd(kds, report(snp), {**given(snp, "leaf", "issuer_chain"), "crl": crl})
    assert (kds.paths, fetched.members) == ([CRL], snp.collateral()["amd"])


def test_a_crl_of_the_host_that_ends_today_is_better_than_none(snp, server):
    """Where the KDS cannot be reached."""
    crl = _other(snp, crl=Window(-DAY, DAY // 2)).collateral()["amd"]["crl"]
    with services.running() as gone:
        fetched = server.amd(gone, report(snp), {**given(snp, "leaf", "issuer_chain"), "crl": crl})
    assert fetched.members["crl"] == crl
    assert len(fetched.problems) == 1
    verify(snp, fetched)


def test_a_host_that_was_set_back_undoes_nothing(snp, kds, server):
    """A newer CRL that was kept stays, though the host hands over an older one that would hold."""
    newer = _other(snp, crl_number=7)
    kds.routes[CRL] = Reply(bytes.fromhex(newer.collateral()["amd"]["crl"]))
    first = server.amd(kds, report(snp), given(snp, "leaf", "issuer_chain"))
    kds.asked.clear()
    fetched = server.amd(kds, report(snp), given(snp))
    assert fetched.members["crl"] == first.members["crl"] != snp.collateral()["amd"]["crl"]


def test_a_refresh_asks_for_the_crl_alone(snp, kds, server):
    """A certificate never changes and issuers hardly ever; the list of what is revoked does."""
    server.amd(kds, report(snp))
    kds.asked.clear()
    renewed = _other(snp, crl_number=2)
    kds.routes[CRL] = Reply(bytes.fromhex(renewed.collateral()["amd"]["crl"]))
    fetched = server.amd(kds, report(snp))
    assert kds.paths == [CRL]
    assert fetched.members["crl"] == renewed.collateral()["amd"]["crl"]
    kds.asked.clear()
    server.now += 31 * DAY
    server.amd(kds, report(snp))
    assert kds.paths == [CHAIN, CRL]


def test_new_firmware_needs_a_new_certificate(snp, kds, server):
    """What was kept for the TCB version before is of no use."""
    server.amd(kds, report(snp))
    updated = _other(snp, reported_tcb=SnpTcb(4, 0, 25, 219))
    kds.routes.update(kds_routes(updated))
    kds.asked.clear()
    fetched = server.amd(kds, report(updated), anew=False)
    assert kds.paths[-1] == vcek_path(updated)
    assert fetched.members["leaf"] == updated.collateral()["amd"]["leaf"]


@pytest.mark.parametrize("reply", [Reply(status=404), Reply(status=500), Reply(b"garbage")])
def test_without_a_crl_it_goes_on(snp, kds, server, reply):
    """It is said, and the client's policy decides what evidence without a CRL is worth."""
    kds.routes[CRL] = reply
    fetched = server.amd(kds, report(snp))
    assert set(fetched.members) == {"leaf", "issuer_chain"}
    (problem,) = fetched.problems
    assert "AMD's CRL" in problem
    assert "without it" in problem
    verify(snp, fetched)


def test_a_crl_that_has_ended_is_left_out(snp, kds, server):
    """It would be refused by every policy, its absence by some."""
    server.amd(kds, report(snp))
    kds.routes[CRL] = Reply(status=500)
    server.now += 40 * DAY
    fetched = server.amd(kds, report(snp))
    assert "crl" not in fetched.members
    assert "which ended 20" in fetched.problems[-1]


def test_a_crl_that_was_kept_stays(snp, kds, server):
    """The service is down, the list holds."""
    server.amd(kds, report(snp))
    kds.routes[CRL] = Reply(status=500)
    fetched = server.amd(kds, report(snp))
    assert fetched.members == snp.collateral()["amd"]
    assert len(fetched.problems) == 1


def test_down_at_the_first_start(snp, server):
    """No host, no KDS, nothing kept: there is nothing."""
    with services.running() as gone:
        pass
    with pytest.raises(UnreachableError):
        server.amd(gone, report(snp))


def test_a_clouds_key_is_the_hosts_to_hand_over(server):
    """A VLEK's certificate comes from the host; its issuers and their CRL from where the KDS has those."""
    cloud = FakeSnp(leaf="vlek")
    with services.running(kds_routes(cloud)) as kds:
        fetched = server.amd(kds, report(cloud), given(cloud, "leaf"))
        assert kds.paths == ["/vlek/v1/Milan/cert_chain", "/vlek/v1/Milan/crl"]
        verify(cloud, fetched)
        kds.asked.clear()
        assert server.amd(kds, report(cloud), given(cloud), anew=False).members == fetched.members
        assert kds.paths == []
        for wrong in ({}, given(FakeSnp(root=cloud.root), "leaf")):
            with pytest.raises(UsageError, match="VLEK, and the host hands over no certificate"):
                server.again().amd(kds, report(cloud), wrong)


def test_a_hidden_chip_is_said(snp, kds, server):
    """No certificate can be shown to be that of zeros: nobody is asked, whatever the host hands over."""
    hidden = FakeSnp(chip_id=bytes(64))
    with pytest.raises(UsageError, match="hides the chip's id") as caught:
        server.amd(kds, report(hidden), given(hidden))
    assert "VLEK" in caught.value.hint
    assert kds.asked == []


def test_a_cloud_may_hide_its_chips(server):
    """A VLEK is not of a chip."""
    cloud = FakeSnp(leaf="vlek", chip_id=bytes(64))
    with services.running(kds_routes(cloud)) as kds:
        verify(cloud, server.amd(kds, report(cloud), given(cloud)))


def test_an_unsigned_report_leads_nowhere():
    """Firmware says so where the host masked the chip's key."""
    with pytest.raises(UsageError, match="no key signed it"):
        amd.signer_of(report(FakeSnp(signing_key=7)))


def test_an_old_report_is_of_the_product_of_its_certificate(server):
    """A report of version 2 does not tell its product, a certificate of this very chip does."""
    old = FakeSnp(version=2)
    with services.running(kds_routes(old)) as kds:
        fetched = server.amd(kds, report(old), given(old, "leaf", "issuer_chain"))
        verify(old, fetched)
        assert kds.paths == [CRL]
        with pytest.raises(UsageError, match="does not tell its product"):
            server.again().amd(kds, report(old))


def test_azures_host_has_leaf_and_issuers(snp, kds, server):
    """Asked with the header that shows that no browser was tricked; the CRL is the KDS's."""
    with services.running(thim_routes(snp)) as thim:
        fetched = server.amd(kds, report(snp), thim=thim)
        assert fetched.members == snp.collateral()["amd"]
        verify(snp, fetched)
        ((_, headers),) = thim.asked
        assert headers["Metadata"] == "true"
        assert kds.paths == [CRL]
        thim.asked.clear()
        server.amd(kds, report(snp), thim=thim)
        assert thim.asked == []


def test_a_move_to_another_host_asks_again(snp, kds, server):
    """The address is the same, the chip is not: what was kept is the other chip's."""
    moved = _other(snp, chip_id=b"\x07" * 64)
    with services.running(thim_routes(snp)) as thim:
        server.amd(kds, report(snp), thim=thim)
        thim.routes.update(thim_routes(moved))
        fetched = server.amd(kds, report(moved), thim=thim, anew=False)
    assert fetched.members["leaf"] == moved.collateral()["amd"]["leaf"]
    assert server.warned == []


def _answer(snp, **changes):
    value = json.loads(thim_routes(snp)[services.THIM_PATH].body)
    return Reply(json.dumps({**value, **changes}).encode())


ANSWERS = {
    "another chip": lambda snp: _answer(_other(snp, chip_id=b"\x07" * 64)),
    "not JSON": lambda _: Reply(b"<html>"),
    "not an object": lambda _: Reply(b"[]"),
    "no leaf": lambda snp: _answer(snp, vcekCert=None),
    "no issuers": lambda snp: _answer(snp, certificateChain=7),
    "no PEM": lambda snp: _answer(snp, vcekCert="x"),
    "not ASCII": lambda snp: _answer(snp, vcekCert="é", certificateChain="é"),
    "no DER": lambda snp: _answer(
        snp, vcekCert="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    ),
    "three issuers": lambda snp: _answer(snp, certificateChain=snp.root.pem * 3),
    "down": lambda _: Reply(status=500),
    "elsewhere": lambda _: Reply(b"", {"Location": "http://127.0.0.1/"}, 302),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_broken_host_service_is_our_error(snp, kds, server, answer):
    """Whatever it says; and a certificate that was kept survives it."""
    with services.running({services.THIM_PATH: answer(snp)}) as thim:
        with pytest.raises(BlindAIError):
            server.amd(kds, report(snp), thim=thim)
        thim.routes.update(thim_routes(snp))
        first = server.amd(kds, report(snp), thim=thim)
        thim.routes[services.THIM_PATH] = answer(snp)
        server.now = int(time.time()) + 30 * DAY + 60  # when the issuers are asked for again
        fetched = server.amd(kds, report(snp), thim=thim)
    assert fetched.members["leaf"] == first.members["leaf"]
    assert fetched.problems


def test_plain_http_is_for_that_one_address():
    """The address is a constant: no URL of the settings leads there, or anywhere else in clear."""
    assert endorsement.THIM_URL.startswith("http://169.254.169.254/")
    with pytest.raises(UsageError, match="not https"):
        service_url(endorsement.THIM_URL)


@pytest.mark.parametrize("path", ["vcek", CHAIN, CRL])
@pytest.mark.parametrize("reply", [Reply(status=404), Reply(b"x"), Reply(b"", {"Location": "/"}, 302)])
def test_no_problem_names_the_chip(snp, kds, server, path, reply):
    """Problems go to logs and to the health page; the identifier goes to AMD and into the certificate."""
    chip = snp.machine.chip.hex()[:16]
    kds.routes[vcek_path(snp) if path == "vcek" else path] = reply
    try:
        said = server.amd(kds, report(snp)).problems
    except BlindAIError as exc:
        said = (str(exc), exc.hint, repr(exc.__cause__))
    assert said
    names = [file.name for file in server.folder.iterdir()] if server.folder.exists() else []
    assert chip not in " ".join([*said, *server.warned, *names, repr(amd.signer_of(report(snp)))]).lower()
