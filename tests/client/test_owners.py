"""Whose a model is: what the client asks about visibility, keys and callers, as it crosses the wire."""

from __future__ import annotations

import json

import httpx2
import pytest

import blindai
from blindai.client.refusals import refusal
from blindai.errors import RequestCode, ServerRefused, UnreachableError, UsageError
from blindai.testing import http_response
from blindai.wire.access import CallerInfo
from tests.client.driving import driven
from tests.signing_peer import SigningPeer

SERVER = json.dumps({"name": "s", "version": "1", "extensions": []}).encode()
ALICE, BOB = "a1" * 32, "b2" * 32
ENTRY = {
    "name": "alice/m", "version": "1", "state": "READY", "reason": "", "sha256": "ab" * 32, "size_bytes": 5,
    "id": "k7", "visibility": "shared", "shared_with": [BOB], "created": 1, "last_used": 2,
}  # fmt: skip
CALLER = CallerInfo("alice", "owner", "alice", ALICE, 1, 5, 10, 0, 60)


@pytest.fixture
def peer():
    """A server that answers every request as `peer.respond` says."""
    with SigningPeer(lambda _: http_response(SERVER)) as serving:
        yield serving


@pytest.fixture(params=["sync", "async"])
def client(request, peer):
    """A client of either colour."""
    with driven(request.param, peer.address, simulation=peer.root) as connected:
        yield connected


def _answers(peer, value):
    peer.respond = lambda _: http_response(json.dumps(value).encode())


def test_sharing(client, peer):
    """A model's new visibility goes as JSON, and the record that comes back is the model's."""
    _answers(peer, ENTRY)
    entry = client.share_model("alice/m", visibility="shared", shared_with=[BOB])
    asked = peer.asked[-1]
    assert asked.line == "POST /v2/repository/models/alice%2Fm/sharing"
    assert json.loads(asked.body) == {"visibility": "shared", "shared_with": [BOB]}
    assert asked.headers["content-type"] == "application/json"
    assert (entry.visibility, entry.shared_with, entry.created, entry.last_used) == ("shared", (BOB,), 1, 2)
    assert entry.to_json() == ENTRY


@pytest.mark.parametrize("action", ["load", "unload"])
def test_loading_and_unloading(client, peer, action):
    """The repository extension's two verbs."""
    _answers(peer, {})
    assert getattr(client, f"{action}_model")("alice/m") is None
    assert peer.asked[-1].line == f"POST /v2/repository/models/alice%2Fm/{action}"


def test_who_the_server_takes_one_for(client, peer):
    """What the server says of its caller is read as it was written."""
    _answers(peer, CALLER.to_json())
    assert client.caller() == CALLER
    assert peer.asked[-1].line == "GET /v2/caller"


def test_keys_of_ones_own_namespace(client, peer):
    """Another key is added and removed by its id."""
    _answers(peer, {})
    client.add_key(BOB)
    client.remove_key(BOB)
    assert [asked.line for asked in peer.asked[-2:]] == [
        f"PUT /v2/caller/keys/{BOB}",
        f"DELETE /v2/caller/keys/{BOB}",
    ]


@pytest.mark.parametrize("key", ["blindai_CANARY", BOB.upper(), BOB + "\n", "../keys", ""])
def test_a_key_in_the_place_of_its_id_is_not_sent(client, peer, key):
    """A path is kept in logs of all kinds: whoever gives the secret instead of its id is stopped here."""
    before = len(peer.asked)
    for call in (client.add_key, client.remove_key):
        with pytest.raises(UsageError) as refused:
            call(key)
        assert "CANARY" not in f"{refused.value} {refused.value.hint}"
    assert len(peer.asked) == before


def _uploaded(client, peer, **access):
    """The access headers that an upload crosses the wire with."""
    _answers(peer, {**ENTRY, "sha256": "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"})
    client.upload_model(b"model", name="m", **access)
    return {
        name.removeprefix("blindai-"): value
        for name, value in peer.asked[-1].headers.items()
        if name.startswith("blindai-")
    }


def test_what_an_upload_says_about_access(client, peer):
    """Only what the user said: what is private by default is the server's to know."""
    assert _uploaded(client, peer) == {}
    assert _uploaded(client, peer, visibility="public") == {"visibility": "public"}
    assert _uploaded(client, peer, visibility="private") == {"visibility": "private"}
    shared = {"visibility": "shared", "share-with": f"{ALICE},{BOB}"}
    assert _uploaded(client, peer, shared_with=[ALICE, BOB]) == shared
    assert _uploaded(client, peer, visibility="shared", shared_with=(ALICE, BOB, ALICE)) == shared
    allowed = _uploaded(client, peer, allow_sealing=["gramine-mrsigner", "vtpm"])
    assert allowed == {"allow-sealing": "gramine-mrsigner,vtpm"}


@pytest.mark.parametrize(
    "access",
    [
        {"visibility": "everybody"},
        {"visibility": "shared"},
        {"visibility": "private", "shared_with": [BOB]},
        {"shared_with": BOB},
        {"shared_with": ["bob"]},
        {"shared_with": [f"{index:064x}" for index in range(257)]},
        {"allow_sealing": "vtpm"},
        {"allow_sealing": ["a,b"]},
        {"allow_sealing": ["a\r\nX: y"]},
    ],
)
def test_access_that_makes_no_sense_is_refused_before_anything_is_sent(client, peer, access):
    """A typo must not make a model visible to others than were meant."""
    before = len(peer.asked)
    with pytest.raises(UsageError):
        client.upload_model(b"model", name="m", **access)
    if "allow_sealing" not in access and "visibility" in access:
        with pytest.raises(UsageError):
            client.share_model("m", **access)
    assert len(peer.asked) == before


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_key_that_is_a_function_is_asked_for_every_request(colour, peer):
    """A token that ends is replaced by the next one without connecting again."""
    tokens = iter(["one", "two"])
    with driven(colour, peer.address, simulation=peer.root, api_key=lambda: next(tokens)) as client:
        client.server()
        client.server()
    sent = [asked.headers["authorization"] for asked in peer.asked]
    assert sent == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_what_a_keys_function_raises_is_not_the_servers_error(colour, peer):
    """A token service that does not answer is not blamed on the inference server."""

    def token():
        raise httpx2.ConnectTimeout("the token service")

    with driven(colour, peer.address, simulation=peer.root, api_key=token) as client:
        with pytest.raises(httpx2.ConnectTimeout):
            client.server()
    assert peer.asked == []


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_functions_token_that_no_header_can_hold(colour, peer):
    """It is refused like a key that is given outright, and shown as little."""
    with driven(colour, peer.address, simulation=peer.root, api_key=lambda: "CANARY\r\nX: y") as client:
        with pytest.raises(UsageError) as refused:
            client.server()
    assert "CANARY" not in str(refused.value)
    assert peer.asked == []


def test_a_key_does_not_leave_before_the_server_is_attested(peer):
    """An accepted policy is what a key is sent under, also when a function gives it."""
    with pytest.raises(blindai.AttestationError):
        blindai.connect(peer.address, simulation="00" * 32, api_key=lambda: "CANARY")
    assert b"CANARY" not in peer.request_bytes
    with pytest.raises(UnreachableError):
        blindai.connect("127.0.0.1:1", simulation=True, api_key=lambda: "CANARY")


CODES = (
    "unauthenticated", "forbidden", "namespace-bound", "quota-exceeded", "rate-limited",
    "sealing-not-accepted", "storage-unavailable", "model-damaged",
)  # fmt: skip


@pytest.mark.parametrize("code", CODES)
def test_the_refusals_of_owners_say_what_to_do(client, peer, code):
    """Each has a hint in this client's own words; the code is one that servers use."""
    assert RequestCode(code)
    peer.respond = lambda _: http_response(json.dumps({"error": "no", "code": code}).encode(), 403)
    with pytest.raises(ServerRefused) as refused:
        client.models()
    assert refused.value.code == code
    assert refused.value.hint


def test_how_long_to_wait_is_the_servers_word():
    """Retry-After is a better hint than any of ours, if it is a number."""
    body = json.dumps({"error": "too many", "code": "rate-limited"}).encode()
    assert refusal(429, {"retry-after": "7"}, body).hint == "try again in 7 s"
    assert "wait" in refusal(429, {"retry-after": "\x1b[2J"}, body).hint
