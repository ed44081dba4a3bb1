"""What a server staples when a service is down, slow, broken or set back: piece by piece, and said aloud."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time

import pytest
from cryptography import x509

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust
from blindai.errors import UnreachableError, UsageError
from blindai.tee.simulated import Window
from blindai.testing import FakeTdx
from blindai.transport.collateral import intel
from blindai.transport.collateral.source import Limits
from tests.transport.collateral import services
from tests.transport.collateral.services import Reply

DAY = 24 * 3600
# A part of each piece's path, and the members that come with it.
PIECES = {
    "/tcb?": ("the TCB info", "tcb_info"),
    "/qe/identity": ("the QE identity", "qe_identity"),
    "/pckcrl": ("the PCK CRL", "pck_crl"),
    "/IntelSGXRootCA.der": ("the root CRL", "root_ca_crl"),
}


@pytest.fixture
def vendor(tdx):
    """A machine whose vendor publishes again in the course of a test."""
    return FakeTdx(root=tdx.root)


@pytest.fixture
def server(server, vendor):
    """The server runs on that machine."""
    server.machine = vendor
    return server


@pytest.fixture
def pcs(vendor, platform):
    with services.running(services.pcs_routes(vendor.collateral()["intel"], platform)) as service:
        yield service


def publish(pcs, vendor, platform, *, later=3600):
    """Publish everything again, some time later; return that time."""
    now = int(time.time()) + later
    vendor.renew(now)
    pcs.routes = services.pcs_routes(vendor.collateral()["intel"], platform)
    return now


def edition(vendor, *, now=None, **changes):
    """What this vendor would have published for the same machine, with these knobs."""
    vendor._platform = dataclasses.replace(vendor.platform, **changes)
    return vendor._publish(int(time.time()) if now is None else now, 0).collateral["intel"]


def spoil(pcs, part, reply):
    """Answer with something else where a path has this part; return the path."""
    (path,) = [path for path in pcs.routes if part in path]
    pcs.routes[path] = reply
    return path


def verify(vendor, fetched, now):
    """Judge it as a client would, with evidence of the machine."""
    return vendors.verify(
        vendor.evidence(bytes(64)),
        {"intel": dict(fetched.members)},
        trust=SimulationTrust([vendor.root_sha256]),
        now=now,
    )


def test_what_is_gathered_verifies(vendor, platform, pcs, server):
    """Four requests, no problem, and the end is that of the piece which ends first."""
    fetched = server.intel(pcs, platform)
    assert fetched.members == vendor.collateral()["intel"]
    assert (fetched.problems, len(pcs.asked), server.warned) == ((), 4, [])
    assert verify(vendor, fetched, server.now).not_after == fetched.until == vendor.collateral_expires


def test_a_restart_asks_nobody(vendor, platform, pcs, server):
    """What was kept holds: a server comes up without a network."""
    first = server.intel(pcs, platform)
    pcs.asked.clear()
    assert server.again().intel(pcs, platform, anew=False) == first
    assert pcs.asked == []


def test_a_refresh_asks_for_every_piece(vendor, platform, pcs, server):
    """Though what was kept would hold for weeks: a TCB recovery is seen the same day."""
    server.intel(pcs, platform)
    server.now = publish(pcs, vendor, platform)
    pcs.asked.clear()
    fetched = server.intel(pcs, platform)
    assert (fetched.members, len(pcs.asked)) == (vendor.collateral()["intel"], 4)
    assert fetched.problems == ()


REPLIES = {
    "down": Reply(status=500),
    "refusing": Reply(status=403),
    "unknown": Reply(status=404),
    "elsewhere": Reply(status=302),
    "garbage": Reply(b"<html>"),
    "empty": Reply(b""),
    "huge": Reply(b"x" * 300_000),
    "busy": Reply(status=503),
}


@pytest.mark.parametrize("part", PIECES)
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_one_piece_that_fails_is_the_one_that_was_kept(vendor, platform, pcs, server, part, reply):
    """The other three are new, one line says so, and all of it verifies together."""
    before = server.intel(pcs, platform).members
    server.now = publish(pcs, vendor, platform)
    spoil(pcs, part, reply)
    fetched = server.intel(pcs, platform)
    (problem,) = fetched.problems
    assert "going on with the one at hand, which ends 20" in problem
    assert platform.fmspc not in problem
    new = vendor.collateral()["intel"]
    changed = {name for name in new if fetched.members[name] != new[name]}
    assert changed >= {PIECES[part][1]}
    assert all(fetched.members[name] == before[name] for name in changed)
    assert verify(vendor, fetched, server.now)
    # And on the disk too: after a restart it is the same.
    assert server.intel(pcs, platform, anew=False).members == fetched.members


def test_a_service_that_is_down_takes_nothing_away(vendor, platform, pcs, server):
    """All four pieces are those that were kept, and four lines say so."""
    first = server.intel(pcs, platform)
    pcs.routes.clear()
    pcs.default = Reply(status=500)
    fetched = server.intel(pcs, platform)
    assert (fetched.members, fetched.until, len(fetched.problems)) == (first.members, first.until, 4)


def test_nobody_there(vendor, platform, server):
    """A closed port: the same."""
    with services.running(services.pcs_routes(vendor.collateral()["intel"], platform)) as pcs:
        first = server.intel(pcs, platform)
    fetched = server.intel(pcs, platform)
    assert (fetched.members, len(fetched.problems)) == (first.members, 4)
    assert all("cannot reach" in problem for problem in fetched.problems)


@pytest.mark.parametrize("part", PIECES)
def test_a_service_that_was_set_back_undoes_nothing(vendor, platform, pcs, server, part):
    """An older edition, genuine and valid: what was known since, a revocation perhaps, stays known."""
    old = dict(pcs.routes)
    server.now = publish(pcs, vendor, platform)
    new = server.intel(pcs, platform)
    path = spoil(pcs, part, None)
    pcs.routes[path] = old[path]
    fetched = server.intel(pcs, platform)
    assert fetched.members == new.members
    (problem,) = fetched.problems
    assert f"an older edition of {PIECES[part][0]}" in problem
    # Nor is the older one kept.
    again = server.intel(pcs, platform, anew=False)
    assert (again.members, again.problems) == (new.members, ())


@pytest.mark.parametrize(
    "older",
    [
        {"tcb_evaluation": 17},
        {"pck_crl_number": 0},
        {"root_crl_number": 0},
        {"tcb_info": Window(-2 * DAY, 30 * DAY)},
    ],
    ids=["evaluation", "PCK CRL", "root CRL", "date"],
)
def test_each_number_that_grows_counts(vendor, platform, server, older):
    """A TCB recovery that is taken back shows in its evaluation number, a CRL's roll-back in its own."""
    with services.running(services.pcs_routes(vendor.collateral()["intel"], platform)) as pcs:
        new = server.intel(pcs, platform)
        before = edition(vendor, now=int(time.time()) + 60, **older)  # whatever has a date of now is newer
        pcs.routes = services.pcs_routes(before, platform)
        fetched = server.intel(pcs, platform)
    assert any("an older edition" in problem for problem in fetched.problems)
    rolled_back = {"tcb_evaluation": "tcb_info", "tcb_info": "tcb_info", "pck_crl_number": "pck_crl"}
    member = rolled_back.get(next(iter(older)), "root_ca_crl")
    assert fetched.members[member] == new.members[member]


def test_what_has_ended_does_not_replace_what_holds(vendor, platform, pcs, server):
    """A service that hands out last month's pieces with today's date."""
    first = server.intel(pcs, platform)
    ended = FakeTdx(root=vendor.root, tcb_info=Window(60, 120), tcb_evaluation=19)
    path = spoil(pcs, "/tcb?", None)
    pcs.routes[path] = services.pcs_routes(ended.collateral()["intel"], platform)[path]
    server.now += 3600
    fetched = server.intel(pcs, platform)
    assert fetched.members == first.members
    assert "has ended" in fetched.problems[0]


def test_what_has_ended_is_better_than_nothing(platform, server):
    """Kept or new, it is stapled with its end: the client says what is wrong, not that it lacks."""
    short = server.machine = FakeTdx(tcb_info=Window(-60, 600))
    with services.running(services.pcs_routes(short.collateral()["intel"], platform)) as pcs:
        first = server.intel(pcs, platform)
        server.now += 3600
        served = server.intel(pcs, platform)
    gone = server.intel(pcs, platform)
    for fetched in (served, gone):
        assert (fetched.members, fetched.until) == (first.members, first.until)
        assert any("the one at hand, which ended 20" in problem for problem in fetched.problems)


def test_from_the_disk_what_has_ended_is_asked_for(vendor, platform, pcs, server):
    """Without being told to refresh, too: only the piece that needs it."""
    lasting = vendor.collateral()["intel"]
    routes = services.pcs_routes(
        {**lasting, **_tcb_info(edition(vendor, tcb_info=Window(-60, 600)))}, platform
    )
    with services.running(routes) as first:
        server.intel(first, platform)
        first.routes.update(dict(services.pcs_routes(lasting, platform)))
        first.asked.clear()
        server.now += 3600
        fetched = server.intel(first, platform, anew=False)
    assert [path for path in first.paths if "/tcb?" not in path] == []
    assert fetched.members["tcb_info"] == lasting["tcb_info"]


def _tcb_info(members):
    return {name: text for name, text in members.items() if name.startswith("tcb_info")}


@pytest.mark.parametrize("reply", [Reply(status=500), Reply(status=403), Reply(b"{}")])
def test_a_piece_that_is_nowhere_is_an_error(platform, pcs, server, reply):
    """Nothing kept, nothing given: there is no collateral with a hole in it."""
    spoil(pcs, "/qe/identity", reply)
    with pytest.raises((UnreachableError, UsageError)) as caught:
        server.intel(pcs, platform)
    assert platform.fmspc not in str(caught.value)


def test_a_damaged_file_is_no_fallback(vendor, platform, pcs, server):
    """It is said and fetched anew; where that fails as well, there is nothing."""
    server.intel(pcs, platform)
    for path in server.folder.iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    assert server.again().intel(pcs, platform).problems == ()
    assert sum("damaged" in text for text in server.warned) == 4
    for path in server.folder.iterdir():
        path.write_bytes(b"")
    spoil(pcs, "/tcb?", Reply(status=500))
    with pytest.raises(UnreachableError):
        server.again().intel(pcs, platform)


def test_a_piece_that_drips_does_not_cost_the_others_their_refresh(vendor, platform, pcs, server):
    """It gets half of the time that is left, and the next ones the rest."""
    server.intel(pcs, platform)
    server.now = publish(pcs, vendor, platform)
    spoil(pcs, "/tcb?", Reply(b"x" * 10_000, drip_seconds=0.2))
    server.limits = Limits(timeout_seconds=4)
    fetched = server.intel(pcs, platform)
    assert len(fetched.problems) == 1
    assert "did not arrive within 2 seconds" in fetched.problems[0]
    assert fetched.members["qe_identity"] == vendor.collateral()["intel"]["qe_identity"]


def test_a_long_retry_after_is_not_waited_for(vendor, platform, pcs, server):
    """A service that is busy for an hour is one problem, now."""
    server.intel(pcs, platform)
    spoil(pcs, "/tcb?", Reply(b"", {"Retry-After": "3600"}, 429))
    (problem,) = server.intel(pcs, platform).problems
    assert "busy for 3600 s" in problem


@pytest.mark.parametrize("folder", ["none", "not writable", "emptied"])
def test_without_a_disk_there_is_memory(vendor, platform, pcs, server, tmp_path, folder):
    """One piece whose service is down costs one piece its refresh, and a roll-back is seen, all the same."""
    (tmp_path / "file").write_text("in the way")
    where = {"none": None, "not writable": tmp_path / "file" / "below", "emptied": server.folder}[folder]
    server = services.Server(where, server.ca_file, vendor)
    first = server.intel(pcs, platform, anew=False)
    if folder == "emptied":
        shutil.rmtree(where)
    old = dict(pcs.routes)
    server.now = publish(pcs, vendor, platform)
    spoil(pcs, "/qe/identity", Reply(status=500))
    second = server.intel(pcs, platform)
    assert second.members["qe_identity"] == first.members["qe_identity"]
    assert second.members["tcb_info"] == vendor.collateral()["intel"]["tcb_info"]
    assert len(second.problems) == 1
    pcs.routes = old
    third = server.intel(pcs, platform)
    assert third.members["tcb_info"] == second.members["tcb_info"]
    assert sum("an older edition" in problem for problem in third.problems) == 3
    if folder != "emptied":
        spoil(pcs, "/qe/identity", Reply(status=500))
        with pytest.raises(UnreachableError):  # a restart: memory was all there was
            server.again().intel(pcs, platform)


def test_a_folder_that_cannot_be_written_is_said(vendor, platform, pcs, server):
    """The collateral is whole; the trouble with the disk is a warning, and no problem of the collateral's."""
    server.folder.parent.parent.mkdir(exist_ok=True)
    server.folder.parent.write_text("in the way")
    fetched = server.intel(pcs, platform)
    assert (fetched.members, fetched.problems) == (vendor.collateral()["intel"], ())
    assert any("the cache cannot be" in text for text in server.warned)


def test_a_number_that_is_none_is_garbage(vendor, platform, pcs, server):
    """Without the numbers that grow, a roll-back would not show."""
    server.intel(pcs, platform)
    path = spoil(pcs, "/tcb?", pcs.routes[next(path for path in pcs.routes if "/tcb?" in path)])
    good = pcs.routes[path]
    value = json.loads(good.body)
    for change in ({"tcbEvaluationDataNumber": "19"}, {"issueDate": "soon"}):
        text = json.dumps({**value, "tcbInfo": {**value["tcbInfo"], **change}})
        pcs.routes[path] = dataclasses.replace(good, body=text.encode())
        (problem,) = server.intel(pcs, platform).problems
        assert "is not the TCB info" in problem


def test_the_numbers_of_a_crl_are_read(vendor):
    """The number, which not every CRL has, and the date."""
    found = x509.load_der_x509_crl(bytes.fromhex(vendor.collateral()["intel"]["pck_crl"]))
    assert intel.piece.crl_version(found) == (1, int(found.last_update_utc.timestamp()))
