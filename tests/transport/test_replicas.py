"""Several servers behind one address: the good ones are used, the others get nothing and are named."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
import warnings

import pytest

from blindai.attestation.policy import Policy
from blindai.attestation.trust import StapledSimulationTrust
from blindai.errors import AttestationError, EvidenceRejected, Reason, UnreachableError
from blindai.tee.measurement import policy_toml, simulated_measurements
from blindai.testing import FakeTdx, HangUp, Pause, http_response
from blindai.transport import session as transport_session
from blindai.transport.refused import ReplicaRefusedWarning
from tests.transport.balancing import Balancer, ConnectProxy
from tests.transport.dialling import SECRET, quiet
from tests.transport.driving import COLOURS, driven

POLICY = Policy.from_toml(policy_toml(simulated_measurements(hashlib.sha256(b"").hexdigest())))
REQUEST = {"headers": {"Authorization": "Bearer CANARY-key"}, "content": b"CANARY-body"}
pytestmark = pytest.mark.parametrize("colour", COLOURS)


@pytest.fixture
def other_code(tdx):
    """A genuine machine that runs something else."""
    return FakeTdx(root=tdx.root, measurements=simulated_measurements("00" * 32))


@pytest.fixture
def behind(demands):
    """Put a balancer before peers; yield it, and demands on what is behind it."""

    @contextlib.contextmanager
    def put(*peers, least_connections=False, **changes):
        with contextlib.ExitStack() as entered:
            for peer in dict.fromkeys(peers):
                entered.enter_context(peer)
            balancer = entered.enter_context(Balancer(peers, least_connections=least_connections))
            yield balancer, demands(balancer, **{"policy": POLICY, "attempts": 4, **changes})

    with quiet():
        yield put


def asked(peer):
    """How many of a peer's connections were asked for evidence."""
    return sum(connection.attestation_request != b"" for connection in peer.connections)


def nothing_reached(*peers):
    """Whether the attestation GET is all that was sent to these."""
    for peer in peers:
        peer.wait()
    return b"".join(peer.request_bytes for peer in peers) == b""


REFUSED = {
    "evidence for another nonce": ({"bound_nonce": b"n" * 32}, Reason.REPORT_DATA_MISMATCH),
    "evidence about another key": ({"spki": bytes(32)}, Reason.TLS_KEY_MISMATCH),
    "no evidence": ({"evidence": []}, Reason.EVIDENCE_MISSING),
    "another name": ({"names": ("other.example",)}, Reason.NAME_MISMATCH),
    "an ordinary web server": ({"wrap": lambda body: http_response(body, 404)}, Reason.ANSWER_FRAMING),
}


@pytest.mark.parametrize("kind", [*REFUSED, "other code"])
def test_a_refused_replica_is_passed_over(kind, colour, behind, answering, other_code):
    """The client carries on with the good one, sends the other nothing, and says which it was and why."""
    lies, reason = REFUSED.get(kind, ({"attester": other_code}, Reason.MEASUREMENT_MISMATCH))
    bad, good = answering(**lies), answering()
    with behind(bad, good) as (balancer, wanted):
        with driven(colour, wanted) as client:
            with pytest.warns(ReplicaRefusedWarning, match=rf"\[{reason}\].*{bad.spki_sha256.hex()[:16]}"):
                assert client.request("POST", "/CANARY", **REQUEST).content == b"{}"
            (refused,) = client.transport.refused
        assert balancer.led_to == [0, 1]
        assert nothing_reached(bad)
        good.wait()
        assert good.request_bytes.count(SECRET) == 3
    assert (refused.reason, refused.tls_spki_sha256) == (reason, bad.spki_sha256)
    assert refused.verdict.reasons == (reason,)
    assert refused.message
    assert str(reason) not in refused.message


class Gone(contextlib.nullcontext):
    """A replica for which nobody listens any more: a balancer ends the connections that belong there."""

    request_bytes = b""

    @property
    def port(self):
        raise ConnectionRefusedError


@pytest.mark.parametrize("kind", ["in the middle of its answer", "before it began", "gone"])
def test_a_replica_that_dies_is_no_refusal(kind, colour, behind, answering):
    """A connection that broke before the proof lost no request: another replica is dialled, unsaid."""
    steps = {"in the middle of its answer": lambda body: [http_response(body)[:500], HangUp()]}
    bad = Gone() if kind == "gone" else answering(wrap=steps.get(kind, lambda _: [HangUp()]))
    with behind(bad, answering()) as (balancer, wanted):
        with driven(colour, wanted) as client:
            assert client.get().status_code == 200
            assert client.transport.refused == ()
        assert balancer.led_to == [0, 1]
        assert bad.request_bytes == b""


def test_when_all_are_refused_the_first_refusal_is_raised(colour, behind, answering, other_code):
    """With its verdict; and whoever was refused a moment ago is not asked again, though the dial counts."""
    bad, worse = answering(other_code), answering(bound_nonce=b"n" * 32)
    with behind(bad, worse) as (balancer, wanted), driven(colour, wanted) as client:
        with pytest.raises(AttestationError) as refusal:
            client.request("POST", "/CANARY", **REQUEST)
        assert nothing_reached(bad, worse)
        assert balancer.led_to == [0, 1, 0, 1]
        assert (asked(bad), asked(worse)) == (1, 1)
        reasons = [replica.reason for replica in client.transport.refused]
        assert client.transport._pool.connections == []
    assert refusal.value.reason is Reason.MEASUREMENT_MISMATCH
    assert [check.claim for check in refusal.value.verdict.failures] == ["rtmr2"]
    assert reasons == [Reason.MEASUREMENT_MISMATCH, Reason.REPORT_DATA_MISMATCH]


def test_one_attempt_is_one_dial(colour, behind, answering, other_code):
    """Without further attempts a refusal is what it was: an error."""
    with behind(answering(other_code), answering(), attempts=1) as (balancer, wanted):
        with driven(colour, wanted) as client, pytest.raises(AttestationError):
            client.get()
        assert balancer.led_to == [0]


def test_refused_connections_are_held_until_the_decision(colour, behind, answering, other_code):
    """A balancer that counts leads on only while the refused connection is open; afterwards it is closed."""
    held = []
    bad = answering(other_code)
    good = answering(
        wrap=lambda body: [held.append(bad.connections[0].ended.is_set()), http_response(body)][1:]
    )
    with behind(bad, good, least_connections=True) as (balancer, wanted):
        with driven(colour, wanted) as client:
            with pytest.warns(ReplicaRefusedWarning):
                client.get()
            bad.wait()  # while the client is open, and its connection to the good one
            assert not good.connections[0].ended.is_set()
        assert balancer.led_to == [0, 1]
    assert held == [False]


def test_the_deadline_is_one_for_all_dials(colour, behind, answering, other_code):
    """A replica that keeps its evidence back spends the time: what is raised is the refusal before it."""
    bad, slow = answering(other_code), answering(wrap=lambda _: [Pause(30)])
    with behind(bad, slow, timeout_seconds=0.5) as (balancer, wanted), driven(colour, wanted) as client:
        with pytest.raises(AttestationError) as refusal:
            client.get("/CANARY")
        assert nothing_reached(bad)
        assert balancer.led_to == [0, 1]
    assert slow.request_bytes == b""
    assert refusal.value.reason is Reason.MEASUREMENT_MISMATCH


def test_a_timeout_alone_leads_to_no_other_dial(colour, behind, answering):
    """The time that a slow replica took is not had twice."""
    with behind(answering(wrap=lambda _: [Pause(30)]), answering(), timeout_seconds=0.3) as (
        balancer,
        wanted,
    ):
        with driven(colour, wanted) as client, pytest.raises(UnreachableError, match=r"within 0\.3 s"):
            client.get()
        assert balancer.led_to == [0]


def test_what_no_other_replica_can_cure_ends_the_search(colour, behind, answering):
    """An expired policy accepts nobody: one dial shows it, and no replica is called refused for it."""
    ended = dataclasses.replace(POLICY, expires=int(time.time()) - 60)
    with (
        behind(answering(), answering(), policy=ended) as (balancer, wanted),
        driven(colour, wanted) as client,
    ):
        with pytest.raises(AttestationError) as refusal:
            client.get()
        assert refusal.value.reason is Reason.POLICY_EXPIRED
        assert balancer.led_to == [0]
        assert client.transport.refused == ()


def test_a_stapled_root_is_never_taken_from_elsewhere(colour, behind, answering, monkeypatch):
    """Every dial is looked at: a name that leads elsewhere the second time gets no TLS handshake."""
    here = iter([True, False])
    monkeypatch.setattr(transport_session, "is_loopback", lambda _: next(here))
    bad, elsewhere = answering(bound_nonce=b"n" * 32), answering()
    with behind(bad, elsewhere, trust=StapledSimulationTrust()) as (_, wanted):
        with driven(colour, wanted) as client, pytest.raises(AttestationError) as refusal:
            client.get()
        assert nothing_reached(bad, elsewhere)
        assert next(here, None) is None  # both dials were looked at
        assert all(connection.received == b"" for connection in elsewhere.connections)
    assert refusal.value.reason is Reason.REPORT_DATA_MISMATCH


def test_a_refusal_is_remembered_for_a_minute(colour, behind, answering, other_code):
    """A replica refused a moment ago is passed over without being asked, and asked again after a minute."""
    clock = [time.time()]
    bad, good = answering(other_code), answering()
    with behind(bad, good, clock=lambda: clock[0]) as (balancer, wanted), driven(colour, wanted) as client:
        with pytest.warns(ReplicaRefusedWarning) as told:
            for passed, times in ((0, 1), (59, 1), (2, 2)):
                clock[0] += passed
                client.get_and_close()
                assert asked(bad) == times
        assert balancer.led_to == [0, 1] * 3
        assert len(client.transport.refused) == 1
        assert nothing_reached(bad)
    said = [warning for warning in told if warning.category is ReplicaRefusedWarning]
    assert len(said) == 1  # of one certificate, one warning


def test_a_proxy_leads_to_the_next_replica_too(colour, behind, answering, other_code):
    """Behind a CONNECT proxy every dial is a tunnel of its own."""
    bad, good = answering(other_code), answering()
    with behind(bad, good) as (balancer, wanted), ConnectProxy(balancer.port) as proxy:
        with driven(colour, wanted, proxy=f"http://127.0.0.1:{proxy.port}") as client:
            with pytest.warns(ReplicaRefusedWarning):
                assert client.get("/CANARY").status_code == 200
        assert balancer.led_to == [0, 1]
        assert nothing_reached(bad)


def test_a_warning_that_is_an_error_leaves_no_connection(colour, behind, answering, other_code):
    """Under -W error the request does not go out, and both connections end."""
    bad, good = answering(other_code), answering()
    with behind(bad, good) as (_, wanted), driven(colour, wanted) as client, warnings.catch_warnings():
        warnings.simplefilter("error", ReplicaRefusedWarning)
        with pytest.raises(ReplicaRefusedWarning):
            client.get("/CANARY")
        assert nothing_reached(bad, good)


def test_many_callers_ask_a_bad_replica_once(colour, behind, answering, other_code):
    """A burst of connections to a refused key costs its replica one quote."""
    bad = answering(other_code, wrap=lambda body: [Pause(0.2), http_response(body)])
    with behind(bad, attempts=2) as (_, wanted), driven(colour, wanted) as client:
        outcomes = client.burst(6, "/CANARY")
        assert [type(outcome) for outcome in outcomes] == [EvidenceRejected] * 6
        assert nothing_reached(bad)
        assert asked(bad) == 1
