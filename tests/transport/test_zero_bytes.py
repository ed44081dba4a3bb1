"""To a peer that is not attested, not one byte of a request is sent: what an owner of its TLS key sees."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable

import httpx2
import pytest

from blindai.attestation.policy import Policy
from blindai.attestation.trust import ProductionTrust, SimulationTrust, StapledSimulationTrust
from blindai.attestation.types import TDX_QUOTE, Evidence
from blindai.channel.keyset import Software
from blindai.errors import AttestationError, Reason, UnreachableError, UsageError
from blindai.tee.measurement import policy_toml, simulated_measurements
from blindai.testing import (
    CapturingPeer,
    FakeTdx,
    HangUp,
    Pause,
    TlsIdentity,
    http_response,
    make_answer,
    make_keyset,
)
from tests import evidence
from tests.transport.dialling import SECRET

OTHER_KEY = bytes(32)


def _duplicate_keys(raw: bytes) -> bytes:
    return raw.replace(b'{"version":1,', b'{"version":1,"version":1,', 1)


def _tampered_keyset(raw: bytes) -> bytes:
    value = json.loads(raw)
    value["settings"] = {"isolation": "process"}
    return json.dumps(value).encode()


LIES = {
    "another TLS key in the keyset": ({"spki": OTHER_KEY}, Reason.TLS_KEY_MISMATCH),
    "evidence for another nonce": ({"bound_nonce": b"n" * 32}, Reason.REPORT_DATA_MISMATCH),
    "no challenge": ({"omit": ["challenge"]}, Reason.CHALLENGE_MISSING),
    "another name": ({"names": ("other.example",)}, Reason.NAME_MISMATCH),
    "a keyset that has ended": ({"not_before": 1, "not_after": 2}, Reason.KEYSET_EXPIRED),
    "a keyset of three days": ({"not_after": 2**33}, Reason.KEYSET_TOO_LONG),
    "a keyset from the future": ({"not_before": 2**33, "not_after": 2**33 + 9}, Reason.KEYSET_NOT_YET_VALID),
    "a keyset changed after binding": ({"sent_keyset": _tampered_keyset}, Reason.REPORT_DATA_MISMATCH),
    "duplicate keys in the keyset": ({"sent_keyset": _duplicate_keys}, Reason.KEYSET_MALFORMED),
    "duplicate keys in the answer": ({"edit_bytes": _duplicate_keys}, Reason.ANSWER_MALFORMED),
    "no evidence": ({"evidence": []}, Reason.EVIDENCE_MISSING),
    "evidence of an unknown TEE": ({"media_type": "application/x-tee"}, Reason.EVIDENCE_UNKNOWN_TYPE),
    "a second piece of evidence": (
        {"others": [Evidence("application/x-gpu", b"g")]},
        Reason.EVIDENCE_UNKNOWN_TYPE,
    ),
    "a piece that was not bound": (
        {"unbound": [Evidence("application/x-gpu", b"g")]},
        Reason.EVIDENCE_UNKNOWN_TYPE,
    ),
    "no collateral": ({"collateral": {}}, Reason.COLLATERAL_MISSING),
    "a keyset that denies the simulation": ({"simulated": False}, Reason.SIMULATION_MISMATCH),
    "an answer that is not JSON": ({"edit_bytes": lambda raw: raw[:-1]}, Reason.ANSWER_MALFORMED),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_in_the_answer(lie, dial, answering, demands):
    """Every lie is refused with its own reason, and nothing of the request has been sent."""
    lies, reason = LIES[lie]
    with answering(**lies) as peer:
        assert refused(peer, lambda: dial(demands(peer))) is reason
    assert [connection.attestation_request != b"" for connection in peer.connections] == [True]


def test_the_truth_is_accepted(dial, answering, demands):
    """The same peer without a lie gets the request: the tests above fail for the lie, not by themselves."""
    with answering() as peer:
        assert dial(demands(peer)) == b"{}"
        peer.wait()
    assert peer.request_bytes.count(SECRET) == 3


def test_the_attestation_request_carries_no_credentials(dial, answering, demands):
    """The only bytes before the proof are a GET with a nonce, and Host."""
    with answering() as peer:
        dial(demands(peer))
        peer.wait()
    first = peer.connections[0].attestation_request
    assert SECRET not in first
    assert first.count(b"\r\n") == 3


def test_a_replayed_answer_is_refused(dial, tdx, answering, demands):
    """Yesterday's genuine answer, relayed by the holder of another key, is refused."""
    with answering() as honest:
        recorded = _record(tdx, honest)
    with CapturingPeer(lambda _: http_response(recorded)) as attacker:
        assert refused(attacker, lambda: dial(demands(attacker))) is Reason.TLS_KEY_MISMATCH


def test_a_replayed_answer_from_the_same_key_is_refused(dial, tdx, demands):
    """A thief of the TLS key who replays an old answer lacks the fresh challenge."""
    identity = TlsIdentity.make("localhost")
    with CapturingPeer(lambda _: http_response(recorded), identities=[identity]) as attacker:
        recorded = _record(tdx, attacker)
        assert refused(attacker, lambda: dial(demands(attacker))) is Reason.REPORT_DATA_MISMATCH


def test_one_key_swapped_in_the_keyset_is_refused(dial, answering, demands):
    """Genuine evidence whose keyset was re-written for the attacker's key does not bind it."""
    with answering(spki=OTHER_KEY, sent_keyset=lambda raw: _for_key(raw, peer.spki_sha256)) as peer:
        assert refused(peer, lambda: dial(demands(peer))) is Reason.REPORT_DATA_MISMATCH


def test_a_genuine_enclave_with_other_code_is_refused(dial, answering, demands):
    """Diversion: valid evidence of another measurement does not satisfy the policy."""
    mine = Policy.from_toml(policy_toml(simulated_measurements("00" * 32)))
    with answering() as peer:
        assert refused(peer, lambda: dial(demands(peer, policy=mine))) is Reason.MEASUREMENT_MISMATCH


def test_simulated_evidence_without_simulation_is_refused(dial, answering, demands):
    """Under production trust a simulation is an unknown root."""
    with answering() as peer:
        assert refused(peer, lambda: dial(demands(peer, trust=ProductionTrust()))) is Reason.ROOT_UNKNOWN


def test_evidence_of_another_root_is_refused_under_simulation(dial, answering, demands):
    """Under simulation trust, whatever ends at another root (a vendor's, another machine's) is refused."""
    with answering() as peer:
        assert (
            refused(peer, lambda: dial(demands(peer, trust=SimulationTrust([FakeTdx().root_sha256]))))
            is Reason.ROOT_UNKNOWN
        )


@pytest.mark.parametrize("trust", [SimulationTrust(["00" * 32]), StapledSimulationTrust()])
def test_production_evidence_is_refused_under_simulation(trust, dial, answering, demands):
    """A genuine quote of a real machine ends at Intel's root, which no simulation trusts."""
    genuine = evidence.read("tdx", "v4-uptodate-b0c06f")
    lies = {
        "evidence": [Evidence(TDX_QUOTE, genuine.quote)],
        "collateral": {"intel": genuine.collateral},
    }
    with answering(**lies) as peer:
        assert refused(peer, lambda: dial(demands(peer, trust=trust))) is Reason.ROOT_UNKNOWN


def test_evidence_of_another_tee_under_the_same_label_is_refused(dial, answering, demands):
    """An SGX quote that is announced as a TDX quote is not read as one."""
    sample = evidence.FOLDER / "sgx" / "v3-debug-00a067" / "quote.bin"
    evidence.read("tdx", "v4-uptodate-b0c06f")  # skips, or fails under CI, where there are no samples
    with answering(evidence=[Evidence(TDX_QUOTE, sample.read_bytes())]) as peer:
        assert refused(peer, lambda: dial(demands(peer))) is Reason.QUOTE_MALFORMED


FRAMINGS = {
    "surplus bytes": lambda body: http_response(body) + b"HTTP/1.1 200 OK\r\n",
    "a redirect": lambda body: http_response(body, 302, {"Location": "https://localhost/"}),
    "no length": lambda body: http_response(body, headers={"Transfer-Encoding": "chunked"}),
    "a closing connection": lambda body: http_response(body, headers={"Connection": "close"}),
    "an informational response": lambda body: b"HTTP/1.1 100 Continue\r\n\r\n" + http_response(body),
    "something else": lambda _: b"220 mail.example ESMTP\r\n\r\n",
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_answer_that_is_not_one_plain_response(framing, dial, answering, demands):
    """Surplus bytes, redirects and doubtful framing are refused before the content is looked at."""
    with answering(wrap=FRAMINGS[framing]) as peer:
        assert refused(peer, lambda: dial(demands(peer))) is Reason.ANSWER_FRAMING


def test_an_answer_over_the_cap_is_refused(dial, answering, demands):
    """An answer that declares more than 4 MiB is refused without being read."""
    with answering(wrap=lambda body: http_response(body, headers={"Content-Length": str(2**23)})) as peer:
        assert refused(peer, lambda: dial(demands(peer))) is Reason.ANSWER_TOO_LARGE


def test_a_slow_drip_meets_the_total_deadline(dial, answering, demands):
    """An answer that keeps coming, byte by byte, ends at the deadline and not with the last byte."""

    def drip(body: bytes) -> list[bytes | Pause]:
        return [step for byte in http_response(body) for step in (bytes([byte]), Pause(0.02))]

    with answering(wrap=drip) as peer:
        with pytest.raises(UnreachableError, match=r"within 0\.3 s"):
            dial(demands(peer, timeout_seconds=0.3))
        assert peer.request_bytes == b""


def test_a_peer_that_hangs_up_gets_nothing(dial, answering, demands):
    """A connection that ends in the middle of the answer is an error of its own, not retried."""
    with answering(wrap=lambda body: [http_response(body)[:500], HangUp()]) as peer:
        with pytest.raises(UnreachableError):
            dial(demands(peer))
        peer.wait()
        assert len(peer.connections) == 1
    assert peer.request_bytes == b""


@pytest.mark.parametrize("scheme", ["http", "ws", "wss"])
def test_a_scheme_that_is_not_attested_is_refused(scheme, dial, answering, demands):
    """Plain HTTP would never reach the attestation, so it is refused before a connection is made."""
    with answering() as peer:
        with pytest.raises((UsageError, ValueError)):
            dial(demands(peer), url=f"{scheme}://127.0.0.1:{peer.port}")
        assert peer.connections == []


def test_another_origin_is_refused(dial, answering, demands):
    """A transport is attested for one server; it never talks to another."""
    with answering() as peer, answering() as other:
        with pytest.raises(UsageError):
            dial(demands(peer), url=f"https://127.0.0.1:{other.port}")
        assert peer.connections == other.connections == []


def test_a_request_cannot_change_the_attested_name(dial, answering, demands):
    """httpx2's sni_hostname extension would make the dialled name the caller's string."""
    with answering() as peer:
        with pytest.raises(UsageError):
            dial(demands(peer), extensions={"sni_hostname": "other.example"})
        assert peer.connections == []


def test_an_old_protocol_version_is_refused(dial, answering, demands):
    """Only TLS 1.3 proves possession of the key in the way the protocol relies on."""
    with CapturingPeer(lambda _: b"", tls_version=ssl.TLSVersion.TLSv1_2) as peer:
        with pytest.raises(httpx2.ConnectError):
            dial(demands(peer))
    assert peer.request_bytes == b""


def test_a_peer_without_alpn_is_refused(dial, answering, demands):
    """A peer that does not agree on http/1.1 is not this protocol's server."""
    with CapturingPeer(lambda _: b"", alpn=None) as peer:
        with pytest.raises(AttestationError) as refusal:
            dial(demands(peer))
        peer.wait()
    assert refusal.value.reason is Reason.ANSWER_FRAMING
    assert [connection.received for connection in peer.connections] == [b""]


def refused(peer: CapturingPeer, request: Callable[[], object]) -> Reason:
    """Return why `peer` was refused, having seen that the attestation GET is all that it received."""
    with pytest.raises(AttestationError) as refusal:
        request()
    peer.wait()
    assert peer.request_bytes == b""
    return refusal.value.reason


def _record(tdx: FakeTdx, peer: CapturingPeer) -> bytes:
    """An answer about an earlier nonce and this peer's key."""
    return make_answer(
        tdx,
        nonce=b"y" * 32,
        tls_spki_sha256=peer.spki_sha256,
        now=int(time.time()),
        names=("localhost", "127.0.0.1"),
    )


def _for_key(raw: bytes, spki: bytes) -> bytes:
    value = json.loads(raw)
    return make_keyset(
        tls_spki_sha256=spki,
        now=value["not_before"],
        names=value["names"],
        software=Software(**value["software"]),
        settings=value["settings"],
    )
