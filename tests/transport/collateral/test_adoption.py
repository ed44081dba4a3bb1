"""What is not genuine, wherever it came from: it costs a refresh, is said, and decides nothing after it."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from blindai.attestation import vendors
from blindai.attestation.trust import StapledSimulationTrust
from blindai.errors import UnreachableError, UsageError
from blindai.tee.simulated.snp_machine import SnpTcb
from blindai.testing import FakeSnp, FakeTdx
from blindai.transport.collateral.cache import Cache
from blindai.transport.collateral.piece import Answer, Request
from tests.transport.collateral import services
from tests.transport.collateral.services import Reply, kds_routes, vcek_path

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")
DAY = 24 * 3600
ROOT_CRL = "/IntelSGXRootCA.der"
CRL = "/vcek/v1/Milan/crl"


@pytest.fixture
def vendor(tdx):
    return FakeTdx(root=tdx.root)


@pytest.fixture
def server(server, vendor):
    server.machine = vendor
    return server


@pytest.fixture
def pcs(vendor, platform):
    with services.running(services.pcs_routes(vendor.collateral()["intel"], platform)) as service:
        yield service


@pytest.fixture(scope="module")
def snp():
    return FakeSnp()


@pytest.fixture
def kds(snp):
    with services.running(kds_routes(snp)) as service:
        yield service


def check_intel(server, fetched):
    """Judge it as a client would."""
    sample = server.machine.evidence(bytes(64))
    vendors.verify(sample, {"intel": dict(fetched.members)}, trust=StapledSimulationTrust(), now=server.now)


def check_amd(server, snp, fetched):
    sample = snp.evidence(bytes(64))
    vendors.verify(sample, {"amd": dict(fetched.members)}, trust=StapledSimulationTrust(), now=server.now)


def report(snp):
    return snp.evidence(bytes(64)).value


def forged_crl(genuine):
    """A list with that name, a number that none will reach, and an end that nobody will see."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(x509.load_der_x509_crl(genuine).issuer)
    builder = builder.last_update(now).next_update(now + datetime.timedelta(days=36500))
    builder = builder.add_extension(x509.CRLNumber(10**9), critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.DER)


def forged_tcb_info(reply, **changes):
    """TCB info that Intel did not sign: the signature is another text's."""
    value = json.loads(reply.body)
    value["tcbInfo"] |= {"tcbEvaluationDataNumber": 10**9, **changes}
    return dataclasses.replace(reply, body=json.dumps(value).encode())


def poison(server, service, path, body, headers=None):
    """Put an answer where the server keeps those to this request."""
    name = Request("", f"{service.url}{path}").name
    Cache(server.folder, say=str).write(name, Answer(body, headers or {}, int(time.time())))


def test_a_forged_list_pins_nothing(pcs, platform, server):
    """It is said while the service hands it out; the day the service is honest again all is as before."""
    before = server.intel(pcs, platform)
    good = pcs.routes[ROOT_CRL]
    pcs.routes[ROOT_CRL] = Reply(forged_crl(good.body))
    during = server.intel(pcs, platform)
    assert during.members == before.members
    assert "does not verify (crl-forged)" in during.problems[0]
    assert "going on with what was verified" in during.problems[0]
    pcs.routes[ROOT_CRL] = good
    for again in (server, server.again()):
        assert again.intel(pcs, platform) == before


def test_a_forged_list_at_the_first_start(pcs, platform, server):
    """Nothing is stapled, and nothing of it kept: it is the next attempt's to find an honest service."""
    good = pcs.routes[ROOT_CRL]
    pcs.routes[ROOT_CRL] = Reply(forged_crl(good.body))
    with pytest.raises(UnreachableError, match="does not verify"):
        server.intel(pcs, platform, anew=False)
    assert not server.folder.exists()
    pcs.routes[ROOT_CRL] = good
    assert server.intel(pcs, platform).problems == ()


@pytest.mark.parametrize("anew", [False, True])
def test_a_poisoned_folder_costs_one_refresh(pcs, platform, server, anew):
    """Whatever lies there, high numbers or far ends: everything is fetched without it, and replaces it."""
    first = server.intel(pcs, platform)
    poison(server, pcs, ROOT_CRL, forged_crl(pcs.routes[ROOT_CRL].body))
    restarted = server.again()
    healed = restarted.intel(pcs, platform, anew=anew)
    assert healed.members == first.members
    assert "what was kept does not do (crl-forged): everything was fetched anew" in healed.problems[-1]
    assert restarted.intel(pcs, platform).problems == ()
    assert server.again().intel(pcs, platform, anew=False) == first


def test_a_poisoned_folder_without_a_service(pcs, platform, server):
    """There is nothing genuine to staple, and it is said; the service that comes back heals it."""
    first = server.intel(pcs, platform)
    poison(server, pcs, ROOT_CRL, forged_crl(pcs.routes[ROOT_CRL].body))
    routes, pcs.routes, pcs.default = pcs.routes, {}, Reply(status=500)
    restarted = server.again()
    with pytest.raises(UnreachableError, match="does not verify"):
        restarted.intel(pcs, platform, anew=False)
    pcs.routes = routes
    assert restarted.intel(pcs, platform).members == first.members
    assert restarted.intel(pcs, platform) == first


def test_a_date_does_not_hide_a_forgery(pcs, platform, server):
    """A text of tomorrow is refused for its date, before its signature: it replaces nothing that verifies."""
    first = server.intel(pcs, platform)
    path = next(path for path in pcs.routes if "/tcb?" in path)
    good = pcs.routes[path]
    pcs.routes[path] = forged_tcb_info(
        good, issueDate="2099-01-01T00:00:00Z", nextUpdate="2100-01-01T00:00:00Z"
    )
    during = server.intel(pcs, platform)
    assert during.members == first.members
    assert "collateral-not-yet-valid" in during.problems[0]
    pcs.routes[path] = good
    assert server.intel(pcs, platform) == first


def test_a_clock_that_is_wrong_drops_nothing(pcs, platform, server):
    """Dates are the client's to judge, by the client's clock: it is stapled, said, and kept nowhere."""
    server.now -= 10 * DAY
    fetched = server.intel(pcs, platform)
    assert fetched.members == server.machine.collateral()["intel"]
    assert "not-yet-valid" in fetched.problems[0]
    assert not server.folder.exists()


def test_a_debug_guest_has_collateral(platform, server):
    """It is for clients to refuse it, by that name; its collateral is fine."""
    guest = server.machine = FakeTdx(debug=True)
    with services.running(services.pcs_routes(guest.collateral()["intel"], platform)) as pcs:
        fetched = server.intel(pcs, platform)
    assert (fetched.members, fetched.problems) == (guest.collateral()["intel"], ())


def test_bad_news_is_stapled(pcs, vendor, platform, server):
    """A machine that Intel revokes is not hidden behind the list of yesterday."""
    server.intel(pcs, platform)
    vendor._platform = dataclasses.replace(vendor.platform, pck_revoked=True)
    server.now += 3600
    vendor.renew(server.now)
    pcs.routes = services.pcs_routes(vendor.collateral()["intel"], platform)
    fetched = server.intel(pcs, platform)
    assert fetched.members == vendor.collateral()["intel"]
    assert fetched.problems == ("it is refused: certificate-revoked",)


@pytest.mark.parametrize("anew", [False, True])
def test_a_certificate_for_another_tcb_is_not_kept(snp, kds, server, anew):
    """Of the right chip, and it never ends: on the disk it would never be asked for again."""
    other = FakeSnp(root=snp.root, leaf_tcb=SnpTcb(4, 0, 23, 219))
    good = kds.routes[vcek_path(snp)]
    kds.routes[vcek_path(snp)] = Reply(other.leaf_der)
    with pytest.raises((UnreachableError, UsageError)):
        server.amd(kds, report(snp))
    assert not any(path.stat().st_size for path in server.folder.glob("*"))  # marks of the pace are empty
    poison(server, kds, vcek_path(snp), other.leaf_der)
    kds.routes[vcek_path(snp)] = good
    healed = server.again().amd(kds, report(snp), anew=anew)
    check_amd(server, snp, healed)
    assert server.again().amd(kds, report(snp), anew=False).problems == ()


@pytest.mark.parametrize("names", [("leaf", "issuer_chain"), ("leaf", "issuer_chain", "crl")])
def test_a_root_of_the_hosts_own(snp, kds, server, names):
    """A table that holds together and ends nowhere: the KDS alone is asked, and it is said."""
    stranger = FakeSnp(chip_id=snp.machine.chip)
    stapled = {name: stranger.collateral()["amd"][name] for name in names}
    fetched = server.amd(kds, report(snp), stapled, anew=False)
    assert fetched.members == snp.collateral()["amd"]
    assert "what was kept does not do" in fetched.problems[0]


@pytest.mark.parametrize("newer", ["host", "KDS"])
def test_the_newer_list_of_both(snp, kds, server, newer):
    """An old list of the host hides no revocation, a slow service undoes none: a refresh asks the KDS."""
    late = FakeSnp(root=snp.root, crl_number=7).collateral()["amd"]["crl"]
    stapled = snp.collateral()["amd"]
    if newer == "host":
        stapled = {**stapled, "crl": late}
    else:
        kds.routes[CRL] = Reply(bytes.fromhex(late))
    fetched = server.amd(kds, report(snp), stapled)
    assert (fetched.members["crl"], fetched.problems, kds.paths) == (late, (), [CRL])
    # And it stays, from memory or from the disk, though both are set back.
    kds.routes[CRL] = Reply(bytes.fromhex(snp.collateral()["amd"]["crl"]))
    for again in (server, server.again()):
        assert again.amd(kds, report(snp), snp.collateral()["amd"]).members["crl"] == late


def test_a_list_of_the_kds_that_is_forged(snp, kds, server):
    """The host's, which its authority signed, is taken in its place."""
    kds.routes[CRL] = Reply(forged_crl(bytes.fromhex(snp.collateral()["amd"]["crl"])))
    fetched = server.amd(kds, report(snp), snp.collateral()["amd"])
    assert fetched.members == snp.collateral()["amd"]
    assert "is not AMD's CRL" in fetched.problems[0]
