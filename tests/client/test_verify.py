"""`blindai.verify`: a server now, or a bundle of what one sent, with the same verdict and no network."""

from __future__ import annotations

import asyncio
import datetime
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import blindai
from blindai.attestation.policy import Policy
from blindai.channel.bundle import Bundle
from blindai.client.verification import judge
from blindai.errors import (
    EvidenceForged,
    EvidenceMalformed,
    EvidenceRejected,
    Reason,
    UnreachableError,
    UsageError,
)
from blindai.testing import CapturingPeer, FakeTdx, HangUp, TlsIdentity, http_response, make_answer
from tests.serving import server_environment

HOUR = 3600


@pytest.fixture(scope="module")
def tdx():
    return FakeTdx()


@pytest.fixture(scope="module")
def policy(tdx):
    seen = tdx.measurements
    return Policy.from_toml(
        f'version = 1\n[[accept]]\ntee = "tdx"\nmrtd = "{seen.mrtd.hex()}"\n'
        f'rtmr1 = "{seen.rtmr1.hex()}"\nrtmr2 = "{seen.rtmr2.hex()}"\n'
    )


@pytest.fixture
def serving(tdx):
    """Make a server on this machine whose answers are true but for the lies named."""

    def make(**lies):
        identity = TlsIdentity.make("127.0.0.1")

        def answer(nonce):
            return http_response(
                make_answer(
                    tdx,
                    nonce=nonce,
                    now=int(time.time()),
                    **{"tls_spki_sha256": identity.spki_sha256, "names": ("127.0.0.1",), **lies},
                )
            )

        return CapturingPeer(answer, identities=[identity])

    return make


@pytest.fixture
def judged(tdx, policy, serving):
    """Judge a server with lies, as the command line does; nothing is raised."""

    def ask(**lies):
        with serving(**lies) as peer:
            return judge(
                f"127.0.0.1:{peer.port}",
                policy=policy,
                certificate=None,
                simulation=tdx.root_sha256,
                at=None,
                floors=None,
                attestation_timeout_seconds=10,
            )

    return ask


def test_a_bundle_has_the_verdict_of_its_connection(tdx, policy, judged, tmp_path):
    """Claim by claim, at the same second: as an object, as a path, and as a name that ends in .json."""
    live = judged()
    path = tmp_path / "bundle.json"
    path.write_bytes(live.bundle.encode())
    for source in (live.bundle, path, str(path)):
        again = blindai.verify(source, policy=policy, simulation=tdx.root_sha256, at=live.verdict.at)
        assert again == live.verdict
        assert again.accepted


@pytest.mark.parametrize(
    ("lies", "reason", "kind"),
    [
        ({"names": ("elsewhere.example",)}, Reason.NAME_MISMATCH, EvidenceRejected),
        ({"report_data": bytes(64)}, Reason.REPORT_DATA_MISMATCH, EvidenceForged),
        ({"tls_spki_sha256": bytes(32)}, Reason.TLS_KEY_MISMATCH, EvidenceForged),
        ({"edit_bytes": lambda raw: raw[:-1]}, Reason.ANSWER_MALFORMED, EvidenceMalformed),
        ({"omit": ["challenge"]}, Reason.CHALLENGE_MISSING, EvidenceMalformed),
    ],
)
def test_a_refused_server_leaves_a_bundle_that_is_refused_the_same(tdx, policy, judged, lies, reason, kind):
    """What was refused can be kept, shown to somebody, and judged again."""
    live = judged(**lies)
    assert (live.refusal.reason, type(live.refusal)) == (reason, kind)
    again = Bundle.parse(live.bundle.encode())
    with pytest.raises(kind) as caught:
        blindai.verify(again, policy=policy, simulation=tdx.root_sha256, at=live.verdict.at)
    assert caught.value.reason is reason
    assert caught.value.verdict == live.verdict
    assert str(caught.value) == str(live.refusal)


def test_time_decides_about_a_bundle(tdx, policy, judged):
    """What was good then is refused before it began and after it ended; now is the default."""
    live = judged()
    demanded = {"policy": policy, "simulation": tdx.root_sha256}
    moment = datetime.datetime.fromtimestamp(live.verdict.at, datetime.timezone(datetime.timedelta(hours=5)))
    assert blindai.verify(live.bundle, at=moment, **demanded) == live.verdict
    assert blindai.verify(live.bundle, at=live.verdict.at + 0.9, **demanded) == live.verdict
    assert blindai.verify(live.bundle, **demanded).accepted
    for at, reason in ((live.verdict.at + 26 * HOUR, Reason.KEYSET_EXPIRED), (0, None), (2**33, None)):
        with pytest.raises(EvidenceRejected) as caught:
            blindai.verify(live.bundle, at=at, **demanded)
        assert caught.value.verdict.at == at
        assert reason in (None, caught.value.reason)


@pytest.mark.parametrize(
    "at",
    [
        datetime.datetime(2026, 1, 1),  # noqa: DTZ001
        -1,
        253_402_300_800,
        float("nan"),
        float("inf"),
        True,
        "now",
        "2026-11-21T15:57:17",
        b"2026-11-21",
    ],
)
def test_what_is_no_time(policy, judged, tdx, at):
    """A datetime without a zone would mean another moment on another machine."""
    with pytest.raises(UsageError):
        blindai.verify(judged().bundle, policy=policy, simulation=tdx.root_sha256, at=at)


def test_a_time_is_said_as_on_the_command_line(policy, judged, tdx):
    """A text with a zone is the moment that a datetime is, and the verdict is of that moment."""
    bundle, now = judged().bundle, datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    verdict = blindai.verify(
        bundle, policy=policy, simulation=tdx.root_sha256, at=f"{now:%Y-%m-%dT%H:%M:%SZ}"
    )
    assert verdict.at == int(now.timestamp())


@pytest.mark.parametrize("source", [b"{}", None, 1])
def test_what_is_no_source(policy, source):
    """Said as what it is; a bundle's bytes have their own way."""
    with pytest.raises(UsageError) as caught:
        blindai.verify(source, policy=policy)
    assert ("blindai.Bundle.parse(data)" in caught.value.hint) == isinstance(source, bytes)


def test_a_policy_is_a_file_and_not_its_text(judged):
    """The text of one is told from a name, and the hint says what takes a text; a missing file has a hint."""
    with pytest.raises(UsageError) as caught:
        blindai.verify(judged().bundle, policy="version = 1\n")
    assert "blindai.Policy.from_toml(text)" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        blindai.verify(judged().bundle, policy="missing.toml")
    assert "policy init" in caught.value.hint


def test_a_server_is_judged_now(policy):
    """at= with an address is refused before anything is sent."""
    with pytest.raises(UsageError):
        blindai.verify("127.0.0.1:1", policy=policy, at=0)


def test_a_demand_is_demanded_of_a_bundle_too(judged):
    """Without a policy, anybody's enclave would do."""
    with pytest.raises(UsageError) as caught:
        blindai.verify(judged().bundle)
    assert "policy" in str(caught.value)


def test_a_stapled_root_is_not_for_files(policy, judged):
    """A file comes from anywhere: the root has to be named, and the hint says how."""
    with pytest.raises(UsageError) as caught:
        blindai.verify(judged().bundle, policy=policy, simulation=True)
    assert "--simulation-root" in caught.value.hint


def test_a_bundle_of_a_simulation_is_no_hardware(policy, judged):
    """Production trust refuses it as it refuses the server."""
    with pytest.raises(EvidenceForged) as caught:
        blindai.verify(judged().bundle, policy=policy)
    assert caught.value.reason is Reason.ROOT_UNKNOWN
    assert [check.claim for check in caught.value.verdict.failures] == ["trust_anchor"]


def test_what_a_string_means_depends_on_its_letters_only(policy, tmp_path, monkeypatch):
    """No file that somebody puts into the folder turns a live check into one of a file, nor the reverse."""
    monkeypatch.chdir(tmp_path)
    Path("127.0.0.1:1").write_text("{}")
    with pytest.raises(UnreachableError):
        blindai.verify("127.0.0.1:1", policy=policy)
    with pytest.raises(UsageError) as caught:
        blindai.verify("missing.json", policy=policy)
    assert "missing.json" in str(caught.value)
    Path("no-suffix").write_text("{}")
    with pytest.raises(EvidenceMalformed):
        blindai.verify(Path("no-suffix"), policy=policy)


def test_a_file_that_is_no_bundle_has_a_verdict_too(policy, tmp_path):
    """Refused for what it is, with one claim that says so."""
    path = tmp_path / "bundle.json"
    path.write_text('{"version": 1}')
    with pytest.raises(EvidenceMalformed) as caught:
        blindai.verify(path, policy=policy, at=1_790_000_000)
    verdict = caught.value.verdict
    assert (verdict.at, verdict.reasons) == (1_790_000_000, (Reason.BUNDLE_MALFORMED,))
    assert verdict.policy_sha256 == policy.sha256


def test_floors_of_a_bundle_are_read_when_asked(policy, judged, tmp_path, monkeypatch):
    """By default none: a bundle is older than what was seen since. Named, they are read strictly."""
    state = tmp_path / "blindai"
    state.mkdir()
    (state / "floors.json").write_text("malformed")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    bundle = judged().bundle
    with pytest.raises(EvidenceForged):
        blindai.verify(bundle, policy=policy)
    for floors in (True, state / "floors.json"):
        with pytest.raises(UsageError):
            blindai.verify(bundle, policy=policy, floors=floors)


def web_server(nonce):
    return http_response(b"<html>", 404)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: CapturingPeer(web_server), Reason.ANSWER_FRAMING),
        (lambda: CapturingPeer(web_server, alpn=None), Reason.ANSWER_FRAMING),
    ],
    ids=["another server", "no ALPN"],
)
def test_who_gives_no_evidence_gets_a_verdict(policy, make, reason):
    """Also where the connection ended before there was an answer to judge; there is no bundle then."""
    with make() as peer:
        address = f"127.0.0.1:{peer.port}"
        with pytest.raises(EvidenceMalformed) as caught:
            blindai.verify(address, policy=policy)
        with pytest.raises(EvidenceMalformed) as on_connect:
            blindai.connect(address, policy=policy)
        with pytest.raises(EvidenceMalformed) as on_aconnect:
            asyncio.run(blindai.aconnect(address, policy=policy))
    for refusal in (caught, on_connect, on_aconnect):
        assert refusal.value.verdict.reasons == (reason,)
    assert peer.request_bytes == b""


def test_a_silent_server_is_unreachable_and_not_refused(policy):
    """Nobody's fault and nobody's verdict."""
    with CapturingPeer(lambda nonce: [HangUp()]) as peer:
        with pytest.raises(UnreachableError):
            blindai.verify(f"127.0.0.1:{peer.port}", policy=policy)
    with pytest.raises(UnreachableError):
        blindai.verify("127.0.0.1:1", policy=policy)


def test_a_server_is_asked_for_evidence_and_nothing_else(tdx, policy, serving):
    """One connection, one attestation request, and it is closed."""
    with serving() as peer:
        assert blindai.verify(f"127.0.0.1:{peer.port}", policy=policy, simulation=tdx.root_sha256).accepted
        peer.wait()
    assert len(peer.connections) == 1
    assert peer.connections[0].attestation_request
    assert peer.request_bytes == b""


def test_a_connected_client_has_its_bundle(client, server):
    """Both clients give what their server sent."""
    bundle = Bundle.parse(client.bundle.encode())
    verdict = blindai.verify(bundle, simulation=server.ready["root_sha256"], at=client.verdict.at)
    assert verdict == client.verdict


OFFLINE = """
import json, socket, sys

def refuse(*_, **__):
    raise AssertionError("the network was used")

class Refused(socket.socket):
    __init__ = refuse

socket.socket = Refused
for name in ("create_connection", "getaddrinfo", "gethostbyname", "socketpair"):
    setattr(socket, name, refuse)
sys.addaudithook(lambda event, _: refuse() if event.startswith("socket.") else None)

import blindai

path, root, at = sys.argv[1:]
print(json.dumps(blindai.verify(path, simulation=root, at=int(at)).to_json()))
"""


def test_a_bundle_needs_no_network(tdx, judged, tmp_path):
    """In a process in which every use of a socket is an error."""
    live = judged()
    path = tmp_path / "bundle.json"
    path.write_bytes(live.bundle.encode())
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(path), tdx.root_sha256, str(live.verdict.at)],
        env=server_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ear.status"] == "affirming"
