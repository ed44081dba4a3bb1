"""Errors at the client's edge: ours, to blame the right one, and without secrets."""

from __future__ import annotations

import asyncio
import json
import os
import time
import traceback

import httpx2
import pytest

import blindai
from blindai.attestation.trust import SimulationTrust
from blindai.client import calls, upload
from blindai.client.demands import demands
from blindai.client.exchange import Reply
from blindai.errors import PolicyError, UsageError
from blindai.testing import CapturingPeer, FakeTdx, http_response, make_answer
from blindai.transport.origin import parse_origin

pytestmark = pytest.mark.filterwarnings("ignore::blindai.SimulationWarning")


@pytest.fixture
def peer():
    """A simulated server that is accepted, and says the same whatever it is asked."""
    tdx = FakeTdx()

    def answer(nonce):
        return http_response(
            make_answer(
                tdx,
                nonce=nonce,
                tls_spki_sha256=serving.spki_sha256,
                now=int(time.time()),
                names=("127.0.0.1",),
            )
        )

    reply = http_response(json.dumps({"name": "s", "version": "1", "extensions": []}).encode())
    with CapturingPeer(answer, response=reply) as serving:
        yield serving


@pytest.mark.parametrize("key", ["CANARY\n", "CANARY\r\nX: y", "CAN ARY", "CANÄRY", ""])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key, peer):
    """A line break at the end of a key's file does not print the key into a log."""
    with pytest.raises(UsageError) as refusal:
        blindai.connect(f"127.0.0.1:{peer.port}", simulation=True, api_key=key)
    shown = "".join(traceback.format_exception(refusal.value))
    assert not key or key.split()[0] not in shown
    assert peer.connections == []


def test_a_header_that_is_refused_is_not_shown(peer):
    """A client built on the transport gets an error without the header's text."""
    transport = blindai.attested_transport(f"127.0.0.1:{peer.port}", simulation=True)
    with httpx2.Client(transport=transport, headers={"Authorization": "CANARY\n"}) as client:
        with pytest.raises(httpx2.LocalProtocolError) as refusal:
            client.get(f"https://127.0.0.1:{peer.port}/")
    assert "CANARY" not in "".join(traceback.format_exception(refusal.value))


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), 1e300])
@pytest.mark.parametrize("name", ["timeout_seconds", "attestation_timeout_seconds"])
def test_a_timeout_that_is_no_time_is_refused(seconds, name, peer):
    """Both clients refuse it in the same way, before they connect."""
    address = f"127.0.0.1:{peer.port}"
    with pytest.raises(UsageError):
        blindai.connect(address, simulation=True, **{name: seconds})
    with pytest.raises(UsageError):
        asyncio.run(blindai.aconnect(address, simulation=True, **{name: seconds}))
    assert peer.connections == []


@pytest.mark.parametrize("address", [".", "...", "a..b", ".example.com", "a" * 64, "localhost:٩٩٢٤"])
def test_an_address_that_cannot_be_dialled_is_a_usage_error(address):
    """The resolver's own errors are foreign ones; such names are refused before it sees them."""
    with pytest.raises(UsageError):
        parse_origin(address)


def test_the_hint_about_a_plain_address_does_not_repeat_it():
    """An http:// address may hold a password or a key."""
    with pytest.raises(UsageError) as refusal:
        parse_origin("http://user:CANARY@host/?key=CANARY")
    assert "CANARY" not in f"{refusal.value} {refusal.value.hint}"


@pytest.mark.parametrize("change", ["grows", "shrinks", "vanishes"])
def test_a_model_that_changes_while_it_is_sent(change, peer, tmp_path):
    """The caller's file is to blame, in the words of our own errors, and the client goes on."""
    file = tmp_path / "m.onnx"
    file.write_bytes(bytes(600_000))
    changes = {
        "grows": lambda: os.truncate(file, 600_001),
        "shrinks": lambda: os.truncate(file, 300_000),
        "vanishes": file.unlink,
    }
    model = upload.prepare(file, None)
    changes[change]()
    with blindai.connect(f"127.0.0.1:{peer.port}", simulation=True) as client:
        with pytest.raises(UsageError):
            client._send(calls.upload_model(model, model.pieces(lambda *_: None), {}, None))
        assert client.server().name == "s"


def test_contents_are_not_in_representations():
    """Tools that record local variables record no inputs, answers or weights."""
    shown = [
        calls.Call("POST", "/v2", lambda _: None, {"X": "CANARY"}, b"CANARY"),
        Reply(200, {"X": "CANARY"}, b"CANARY"),
        upload.Upload("m", b"CANARY", 6, b""),
    ]
    assert "CANARY" not in repr(shown)


def test_a_policy_that_is_not_utf8_does_not_load(tmp_path):
    """Replacing what cannot be read would give different files one meaning and one digest."""
    policy = tmp_path / "policy.toml"
    policy.write_bytes(b'version = 1\n# \xff\n[[accept]]\ntee = "tdx"\n' + _digests())
    with pytest.raises(PolicyError):
        demands("localhost", policy=policy, certificate=None, simulation="00" * 32)
    policy.write_bytes(b'version = 1\n[[accept]]\ntee = "tdx"\n' + _digests())
    trust = demands("localhost", policy=policy, certificate=None, simulation="00" * 32).trust
    assert isinstance(trust, SimulationTrust)


def _digests():
    return b"".join(b'%s = "%s"\n' % (name, b"00" * 48) for name in (b"mrtd", b"rtmr1", b"rtmr2"))
