"""A simulated vendor publishes its collateral again: the server that it is part of never has to stop."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import threading

import pytest
from cryptography import x509

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust
from blindai.errors import AttestationError, Reason
from blindai.tee.measurement import simulated_measurements
from blindai.tee.simulated import SimulatedSnp, SimulatedTdx
from blindai.testing import EventLog, FakeSgx, FakeSnp, FakeTdx
from tests.attestation.scene import Client, assert_refused, attest, policy_toml

# Serial number 0 is what makes a VCEK genuine.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

NOW = 1_790_000_000
DAY = 24 * 3600
SOURCES = hashlib.sha256(b"some sources").hexdigest()
MACHINES = {
    "tdx": lambda: SimulatedTdx(now=NOW, measurements=simulated_measurements(SOURCES)),
    "sev-snp": lambda: SimulatedSnp(now=NOW, source_sha256=SOURCES),
}


@pytest.fixture(params=MACHINES)
def machine(request):
    return MACHINES[request.param]()


def verify(machine, *, now, evidence=None, collateral=None):
    return vendors.verify(
        evidence or machine.evidence(bytes(64)),
        collateral or machine.collateral(),
        trust=SimulationTrust([machine.root_sha256]),
        now=now,
    )


def lists(collateral):
    """Return every CRL of the collateral, DER."""
    members = {**collateral.get("intel", {}), **collateral.get("amd", {})}
    names = {"root_ca_crl", "pck_crl", "crl"} & set(members)
    return {name: x509.load_der_x509_crl(bytes.fromhex(members[name])) for name in names}


def numbers(collateral):
    return {
        name: crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        for name, crl in lists(collateral).items()
    }


def ends(collateral):
    """Return when each dated piece of the collateral ends, Unix seconds."""
    found = {int(crl.next_update_utc.timestamp()) for crl in lists(collateral).values()}
    for name in ("tcb_info", "qe_identity"):
        if "intel" in collateral:
            told = json.loads(collateral["intel"][name])["nextUpdate"]
            found.add(int(datetime.datetime.fromisoformat(told).timestamp()))
    return found


def test_sixty_days_later_it_verifies(machine):
    """Evidence of then and of now verify with what was published again, and not with the old collateral."""
    old, first = machine.collateral(), machine.evidence(bytes(64))
    later = NOW + 60 * DAY
    with pytest.raises(AttestationError) as caught:
        verify(machine, now=later)
    assert caught.value.reason in (Reason.COLLATERAL_EXPIRED, Reason.CRL_EXPIRED)
    machine.renew(later)
    claims = verify(machine, now=later)
    assert claims.not_after == machine.collateral_expires == later + 30 * DAY
    assert verify(machine, now=later, evidence=first).not_after == claims.not_after
    with pytest.raises(AttestationError):
        verify(machine, now=later, collateral=old)


def test_nothing_but_the_collateral_ends_within_years(machine):
    """Nine years and many renewals later the same root, authorities and keys still vouch for the machine."""
    root = machine.root_sha256
    for year in range(1, 10):
        now = NOW + year * 365 * DAY
        machine.renew(now)
        assert verify(machine, now=now).not_after == now + 30 * DAY
    assert machine.root_sha256 == root


def test_every_piece_is_dated_anew(machine):
    """Every CRL, TCB info and QE identity ends when `collateral_expires` says."""
    machine.renew(NOW + 12 * DAY)
    assert ends(machine.collateral()) == {NOW + 42 * DAY} == {machine.collateral_expires}


def test_numbers_grow_with_every_publication(machine):
    """A list that is published again has a higher number, also at the same moment."""
    seen = [numbers(machine.collateral())]
    for now in (NOW, NOW + DAY, NOW + DAY):
        machine.renew(now)
        seen.append(numbers(machine.collateral()))
    for older, newer in itertools.pairwise(seen):
        assert all(newer[name] > number for name, number in older.items())


def test_a_clock_that_was_set_back_dates_nothing_back(machine):
    """Else a client that has seen the newer list would take the next one for a roll-back."""
    machine.renew(NOW + 10 * DAY)
    newest = machine.collateral_expires
    machine.renew(NOW + 9 * DAY + DAY // 2)
    assert machine.collateral_expires == newest
    assert ends(machine.collateral()) == {newest}
    assert verify(machine, now=NOW + 9 * DAY + DAY // 2).not_after == newest


@pytest.mark.parametrize("fake", [FakeTdx, FakeSgx, FakeSnp])
def test_a_client_goes_on_and_refuses_the_older_collateral(fake):
    """Floors of before accept what was published again; the old collateral then is a roll-back."""
    machine = fake(now=NOW)
    old, later = machine.collateral(), NOW + DAY
    before = attest(machine)
    machine.renew(later)
    after = attest(machine, Client(now=later, floors={before.platform: before.freshness}), now=later)
    assert after.verdict.accepted
    client = Client(now=later, floors={after.platform: after.freshness})
    assert_refused(lambda: attest(machine, client, now=later, collateral=old), Reason.TCB_ROLLED_BACK)


@pytest.mark.parametrize(
    ("fake", "knobs", "reason"),
    [
        (FakeTdx, {"pck_revoked": True}, Reason.CERTIFICATE_REVOKED),
        (FakeSnp, {"issuer_revoked": True}, Reason.ISSUER_REVOKED),
    ],
)
def test_a_knob_stays_turned(fake, knobs, reason):
    """What was revoked stays on the next list."""
    machine = fake(now=NOW, **knobs)
    machine.renew(NOW + DAY)
    assert_refused(lambda: verify(machine, now=NOW + DAY), reason)


def test_what_does_not_end_is_said_so():
    """Without a CRL nothing in AMD's collateral has an end, before and after."""
    snp = FakeSnp(now=NOW, crl=None)
    snp.renew(NOW + DAY)
    assert (snp.collateral_expires, snp.crl) == (None, None)


def test_an_event_log_is_stapled_again():
    """The log of the fake's boot stays beside the new collateral."""
    tdx = FakeTdx(now=NOW, event_log=EventLog().add(1, b"kernel").encode())
    before = tdx.collateral()["intel"]
    tdx.renew(NOW + DAY)
    assert tdx.collateral()["intel"]["event_log"] == before["event_log"]
    assert tdx.collateral()["intel"]["tcb_info"] != before["tcb_info"]


def test_a_reader_sees_one_publication_as_a_whole(machine):
    """Whoever reads while another thread renews never gets pieces of two publications, nor an older one."""
    done, torn, seen = threading.Event(), [], []

    def read():
        while not done.is_set():
            published = machine.published
            told = set(numbers(published.collateral).values()), ends(published.collateral)
            if len(told[0]) != 1 or told[1] != {published.expires}:
                torn.append(told)
            seen.append(min(told[0]))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for day in range(60):
        machine.renew(NOW + day * DAY)
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert set(seen) <= set(range(1, 62))


def test_two_threads_that_renew_at_once_both_count(machine):
    """Renewals are one after the other: no two publications share a number."""
    barrier = threading.Barrier(4)

    def renew():
        barrier.wait()
        for _ in range(10):
            machine.renew(NOW)

    threads = [threading.Thread(target=renew) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(numbers(machine.collateral()).values()) == {41}


def test_the_policy_of_before_still_fits():
    """Renewal changes neither measurement nor TCB: the operator's policy file stays as it is."""
    snp = FakeSnp(now=NOW)
    text = policy_toml(snp)
    snp.renew(NOW + DAY)
    assert policy_toml(snp) == text
