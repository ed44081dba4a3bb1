"""receipt=True: asked for under a fresh salt, and refused when it is not of what was really sent."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

import blindai
from blindai.channel import receipt as jws
from blindai.channel.receipt import Kind
from blindai.client.receipts import verify_receipt
from blindai.errors import (
    AttestationError,
    EvidenceForged,
    EvidenceRejected,
    Reason,
    ResponseError,
    ServerRefused,
)
from blindai.testing import http_response
from blindai.wire import base64url
from tests.client.driving import driven
from tests.signing_peer import SigningPeer

SERVER = {"name": "s", "version": "1", "extensions": []}
OUTPUT = {"name": "y", "datatype": "FP32", "shape": [1], "data": [2.0]}
ANSWER = json.dumps({**SERVER, "model_name": "m", "outputs": [OUTPUT]}).encode()
REFUSAL = json.dumps({"error": "no", "code": "input-shape"}).encode()
INPUT = {"x": np.ones(300, np.float32)}


@pytest.fixture
def peer():
    """A server that signs whatever it answers, truly; tests change what it does."""
    with SigningPeer(lambda asked: serving.signed(asked, ANSWER)) as serving:
        yield serving


@pytest.fixture(params=["sync", "async"])
def client(request, peer):
    """A client of either colour."""
    with driven(request.param, peer.address, simulation=peer.root) as connected:
        yield connected


def test_an_answer_brings_its_receipt(client, peer, tmp_path):
    """It is verified already, says what happened, and its proof holds for whoever reads the file."""
    answer = client.predict("alice/sentiment", INPUT, receipt=True)
    assert answer["y"].tolist() == [2.0]
    assert answer.receipt.claims.kind is Kind.INFERENCE
    assert answer.receipt.verify().request_compared
    assert answer.receipt.verify().response_compared
    answer.receipt.save(tmp_path / "proof.json", bodies=True)
    proven = verify_receipt(tmp_path / "proof.json", simulation=peer.root)
    assert proven.request_compared
    assert proven.response_compared


def test_what_is_signed_is_what_crossed_the_wire(client, peer):
    """The head in the proof is the request's own: the encoded path, the headers, and the salt."""
    answer = client.predict("alice/sentiment", INPUT, receipt=True)
    asked = peer.asked[-1]
    head = answer.receipt.proof.request_head
    assert asked.line == "POST /v2/models/alice%2Fsentiment/infer"
    assert f"{head.method} {head.path}" == asked.line
    assert head.content_type == asked.headers["content-type"]
    assert head.inference_header_length == asked.headers["inference-header-content-length"]
    assert head.content_encoding is None
    assert base64url.decode(asked.headers["blindai-receipt-salt"]) == answer.receipt.proof.salt


def test_without_asking_there_is_none(client, peer):
    """Nobody gets a salt who asked for nothing, and a receipt that nobody asked for counts for nothing."""
    peer.respond = lambda _: http_response(ANSWER, 200, {jws.RECEIPT_HEADER: "nonsense"})
    assert client.predict("m", INPUT).receipt is None
    assert all("blindai-receipt-salt" not in asked.headers for asked in peer.asked)


def test_no_two_requests_share_a_salt(client, peer):
    """A salt that came twice would show that two inputs were the same."""
    for _ in range(2):
        client.predict("m", INPUT, receipt=True)
    salts = [asked.headers["blindai-receipt-salt"] for asked in peer.asked[-2:]]
    assert len(set(salts)) == 2


def test_the_request_for_metadata_is_witnessed_too(client, peer):
    """A model that is not there is found out by the question what it takes: that refusal has its receipt."""
    spec = {"name": "x", "datatype": "FP32", "shape": [-1]}
    described = json.dumps({"name": "m", "platform": "onnx", "inputs": [spec], "outputs": []}).encode()
    peer.respond = lambda asked: peer.signed(asked, described if asked.method == "GET" else ANSWER)
    assert client.predict("m", [1.0], receipt=True).receipt is not None
    question, inference = peer.asked[-2:]
    assert question.line == "GET /v2/models/m"
    assert question.headers["blindai-receipt-salt"] != inference.headers["blindai-receipt-salt"]


def test_an_answer_without_the_receipt_that_was_asked_for(client, peer):
    """A server that leaves it out is not believed without it."""
    peer.respond = lambda _: http_response(ANSWER)
    with pytest.raises(ResponseError, match="no receipt"):
        client.predict("m", INPUT, receipt=True)


def _other_request(peer, asked):
    return peer.receipt(replace(asked, body=asked.body + b"\0"), 200, ANSWER)


def _other_path(peer, asked):
    return peer.receipt(replace(asked, target=asked.target.replace("%2F", "/")), 200, ANSWER)


def _other_type(peer, asked):
    return peer.receipt(replace(asked, headers={**asked.headers, "content-type": "text/plain"}), 200, ANSWER)


def _other_response(peer, asked):
    return peer.receipt(asked, 200, ANSWER.replace(b"2.0", b"3.0"))


def _other_status(peer, asked):
    return peer.receipt(asked, 201, ANSWER)


def _other_salt(peer, asked):
    salt = base64url.encode(bytes(32))
    return peer.receipt(replace(asked, headers={**asked.headers, "blindai-receipt-salt": salt}), 200, ANSWER)


def _other_key(peer, asked):
    with SigningPeer(lambda _: b"") as other:
        peer.key, key = other.key, peer.key
        signed = peer.receipt(asked, 200, ANSWER)
        peer.key = key
        return signed


def _other_keyset(peer, asked):
    with SigningPeer(lambda _: b"") as other:
        return other.receipt(asked, 200, ANSWER)


LIES = {
    _other_request: Reason.RECEIPT_REQUEST,
    _other_path: Reason.RECEIPT_REQUEST,
    _other_type: Reason.RECEIPT_REQUEST,
    _other_response: Reason.RECEIPT_RESPONSE,
    _other_status: Reason.RECEIPT_RESPONSE,
    _other_salt: Reason.RECEIPT_REQUEST,
    _other_key: Reason.RECEIPT_SIGNATURE,
    _other_keyset: Reason.RECEIPT_KEYSET,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_receipt_that_is_not_of_this_exchange(client, peer, lie):
    """Signed by the right key or not: a receipt of anything else is refused, and so is the answer."""
    peer.respond = lambda asked: http_response(ANSWER, 200, {jws.RECEIPT_HEADER: lie(peer, asked)})
    with pytest.raises(AttestationError) as refusal:
        client.predict("alice/m", INPUT, receipt=True)
    assert refusal.value.reason is LIES[lie]


def test_the_receipt_of_the_answer_before_is_refused(client, peer):
    """The same input, the same answer, the same server: only the salt tells a replay."""
    kept = []

    def replay(asked):
        kept.append(peer.receipt(asked, 200, ANSWER))
        return http_response(ANSWER, 200, {jws.RECEIPT_HEADER: kept[0]})

    peer.respond = replay
    client.predict("m", INPUT, receipt=True)
    with pytest.raises(EvidenceForged) as refusal:
        client.predict("m", INPUT, receipt=True)
    assert refusal.value.reason is Reason.RECEIPT_REQUEST


@pytest.mark.parametrize("name", ["Content-Type", "Content-Encoding"])
def test_an_answer_whose_bytes_are_not_those_of_the_wire(client, peer, name):
    """Encoded, or with two types: what would be compared is not what was signed."""
    value = {"Content-Type": "text/html", "Content-Encoding": "identity"}[name]

    def respond(asked):
        whole = peer.signed(asked, ANSWER)
        return whole.replace(b"\r\n\r\n", f"\r\n{name}: {value}\r\n\r\n".encode(), 1)

    peer.respond = respond
    with pytest.raises(ResponseError):
        client.predict("m", INPUT, receipt=True)


def test_a_refusal_brings_its_receipt(client, peer):
    """That the server said no can be proven, too."""
    peer.respond = lambda asked: peer.signed(asked, REFUSAL, 400, model=None, model_sha256=None)
    with pytest.raises(ServerRefused) as refusal:
        client.predict("m", INPUT, receipt=True)
    assert refusal.value.code == "input-shape"
    assert refusal.value.receipt.claims.status == 400
    assert refusal.value.receipt.verify().response_compared


def test_a_refusal_without_a_receipt_is_still_told(client, peer):
    """What stands before the server's routes signs nothing; why it refused matters more."""
    peer.respond = lambda _: http_response(REFUSAL, 400)
    with pytest.raises(ServerRefused) as refusal:
        client.predict("m", INPUT, receipt=True)
    assert refusal.value.receipt is None


def test_a_refusal_with_a_receipt_of_another(client, peer):
    """A receipt that is there is checked, whatever the answer."""
    peer.respond = lambda asked: http_response(
        REFUSAL, 400, {jws.RECEIPT_HEADER: peer.receipt(asked, 400, REFUSAL + b" ")}
    )
    with pytest.raises(EvidenceForged):
        client.predict("m", INPUT, receipt=True)


def _entry(model, **changes):
    entry = {"name": "m", "version": "1", "state": "READY", "reason": "", "size_bytes": len(model)}
    return json.dumps({**entry, "sha256": hashlib.sha256(model).hexdigest(), **changes}).encode()


def test_an_upload_brings_its_receipt(client, peer, tmp_path):
    """The request is hashed while it leaves the file, in pieces, and the model's digest is in the receipt."""
    model = bytes(700_001)
    file = tmp_path / "m.onnx"
    file.write_bytes(model)
    digest = hashlib.sha256(model).hexdigest()
    peer.respond = lambda asked: peer.signed(asked, _entry(asked.body), model_sha256=digest)
    uploaded = client.upload_model(file, name="alice/m", receipt=True)
    assert peer.asked[-1].line == "PUT /v2/repository/models/alice%2Fm"
    assert peer.asked[-1].body == model
    assert uploaded.receipt.claims.kind is Kind.UPLOAD
    assert uploaded.receipt.claims.model_sha256 == uploaded.sha256 == digest
    assert uploaded.receipt.verify().request_compared
    uploaded.receipt.save(tmp_path / "proof.json")
    entry = json.dumps([json.loads(_entry(model))]).encode()
    peer.respond = lambda _: http_response(entry)
    assert uploaded in client.models()
    assert hash(uploaded) == hash(client.models()[0])


def test_the_receipt_of_another_model(client, peer):
    """An upload's receipt that names other bytes proves the wrong thing."""
    peer.respond = lambda asked: peer.signed(asked, _entry(asked.body), model_sha256="cd" * 32)
    with pytest.raises(EvidenceRejected) as refusal:
        client.upload_model(b"model", name="m", receipt=True)
    assert refusal.value.reason is Reason.RECEIPT_MODEL


def test_a_refused_upload_brings_its_receipt(client, peer):
    """Also where the server signed before it had read all of it."""
    peer.respond = lambda asked: peer.signed(asked, REFUSAL, 413, request=None, model=None, model_sha256=None)
    with pytest.raises(ServerRefused) as refusal:
        client.upload_model(b"model", name="m", receipt=True)
    assert refusal.value.receipt.claims.request is None


def test_one_client_asks_for_many_at_once(peer):
    """Concurrent requests do not mix up their salts and digests."""

    async def run():
        async with await blindai.aconnect(peer.address, simulation=peer.root) as client:
            inputs = [{"x": np.full(n, n, np.float32)} for n in range(1, 9)]
            return await asyncio.gather(*(client.predict("m", x, receipt=True) for x in inputs))

    assert len({answer.receipt.claims.request for answer in asyncio.run(run())}) == 8
