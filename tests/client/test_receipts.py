"""Receipts as people meet them: of an answer just received, in a file, and years later."""

from __future__ import annotations

import os
import pickle
import socket
import time
from dataclasses import replace

import pytest

from blindai.attestation.trust import SimulationTrust, StapledSimulationTrust
from blindai.channel import answer
from blindai.channel import proof as proof_file
from blindai.channel.bundle import Bundle
from blindai.channel.exchange_digest import RequestDigest, ResponseHead, salt_of
from blindai.channel.proof import Proof
from blindai.client.answer_receipt import AnswerReceipt, received
from blindai.client.receipts import read_proof, verify_receipt
from blindai.errors import (
    AttestationError,
    EvidenceForged,
    EvidenceMalformed,
    EvidenceRejected,
    Reason,
    UsageError,
)
from blindai.testing import TlsIdentity
from blindai.transport.origin import parse_origin
from blindai.transport.session import Demands, Session
from tests.attestation.scene import (
    NONCE,
    NOW,
    answer_of,
    healthy,
    peer_of,
    policy_of,
    policy_toml,
    refusal,
)
from tests.channel.exchanges import (
    BUNDLE,
    KEYSET,
    OTHER_KEY,
    REQUEST,
    REQUEST_BODY,
    RESPONSE,
    RESPONSE_BODY,
    SALT,
    SEED,
    claims,
    policy_with_models,
    proof_of,
    public,
    request_claim,
    response_claim,
    signed,
    with_bodies,
)

pytestmark = pytest.mark.filterwarnings("ignore::blindai.SimulationWarning")
ROOT = healthy("tdx").root_sha256
DAY = 24 * 3600


def auditor(source, **options):
    """Verify as somebody who was not there, with the bodies at hand."""
    usual = {
        "policy": policy_of(healthy("tdx")),
        "simulation": ROOT,
        "at": NOW,
        "request_body": REQUEST_BODY,
        "response_body": RESPONSE_BODY,
    }
    return verify_receipt(source, **{**usual, **options})


def session_of(*bundles, **demands):
    """Return a session that attested these servers, one after the other."""
    machine = healthy("tdx")
    usual = {
        "origin": parse_origin("localhost"),
        "policy": policy_of(machine),
        "trust": SimulationTrust([machine.root_sha256]),
        "clock": lambda: NOW,
    }
    session = Session(Demands(**{**usual, **demands}))
    for bundle in bundles or (BUNDLE,):
        session.conclude(bundle)
    return session


def hashed(body=REQUEST_BODY, salt=SALT, head=REQUEST):
    digest = RequestDigest(salt, head)
    digest.update(body)
    return digest


def receive(compact=None, session=None, **members) -> AnswerReceipt:
    """Receive the answer and its receipt, as the clients do."""
    session = session or session_of()
    usual = {
        "attested": session.attested[0],
        "session": session,
        "seed": SEED,
        "request": hashed(),
        "request_body": REQUEST_BODY,
        "response_head": RESPONSE,
        "response_body": RESPONSE_BODY,
    }
    return received(signed() if compact is None else compact, **{**usual, **members})


def receive_under(policy) -> AnswerReceipt:
    """Receive the same answer under another policy: then the salt is another, too."""
    salt = salt_of(SEED, policy.sha256, REQUEST)
    said = claims(request=request_claim(salt=salt), response=response_claim(salt=salt))
    return receive(signed(said), session_of(policy=policy), request=hashed(salt=salt))


def test_a_proof_is_verified_without_any_network(tmp_path, monkeypatch):
    """As a path, a text, bytes and an object; from a file with the bodies inside, nothing else is needed."""
    monkeypatch.setattr(socket, "socket", None)
    path = tmp_path / "proof.json"
    path.write_bytes(with_bodies(proof_of()).encode())
    for source in (path, str(path), path.read_bytes(), read_proof(path)):
        proven = auditor(source, request_body=None, response_body=None)
        assert proven.receipt == claims()
        assert (proven.request_compared, proven.response_compared) == (True, True)


def test_bodies_come_from_files_too(tmp_path):
    """Read in pieces: a model of gigabytes is compared like a request of bytes."""
    request, response = tmp_path / "request", tmp_path / "response"
    request.write_bytes(REQUEST_BODY)
    response.write_bytes(RESPONSE_BODY)
    proven = auditor(proof_of(), request_body=request, response_body=response)
    assert (proven.request_compared, proven.response_compared) == (True, True)
    request.write_bytes(REQUEST_BODY + b" ")
    error = refusal(lambda: auditor(proof_of(), request_body=request))
    assert error.reason is Reason.RECEIPT_REQUEST
    with pytest.raises(UsageError, match="missing"):
        auditor(proof_of(), response_body=tmp_path / "missing")
    with pytest.raises(UsageError):
        auditor(proof_of(), response_body=tmp_path)


def test_an_old_proof_needs_its_time():
    """Now, it has expired, and the hint says what to do; at its time it holds, in every form of a time."""
    error = refusal(lambda: auditor(proof_of(), at=NOW + 400 * DAY))
    assert isinstance(error, EvidenceRejected)
    assert "--at TIME (at=)" in error.hint
    assert "a proof" in error.hint
    for at in (NOW, float(NOW), str(NOW), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW))):
        assert auditor(proof_of(), at=at).verdict.at == NOW


def test_a_file_names_its_root_and_its_policy():
    """No root that the file brings along is trusted, and no policy is anybody's."""
    with pytest.raises(UsageError, match="simulation=True") as caught:
        auditor(proof_of(), simulation=True)
    assert "--simulation-root" in caught.value.hint
    with pytest.raises(UsageError, match="policy is required"):
        auditor(proof_of(), simulation=False, policy=None)
    assert auditor(proof_of(), policy=None).verdict.accepted  # a simulation of any code
    error = refusal(lambda: auditor(proof_of(), simulation=False))
    assert (error.reason, type(error)) == (Reason.ROOT_UNKNOWN, EvidenceForged)
    assert "name the root" in error.hint


def test_the_operator_counts(tmp_path):
    """A pinned operator is demanded of a proof as of a connection."""
    pem = tmp_path / "operator.pem"
    pem.write_text(TlsIdentity.make("operator", is_authority=True).pem)
    error = refusal(lambda: auditor(proof_of(), certificate=pem))
    assert error.reason is Reason.OPERATOR_UNKNOWN


def test_what_is_no_proof(tmp_path):
    """Malformed with a verdict; a file that is missing, or another type, is the caller's mistake."""
    path = tmp_path / "proof.json"
    path.write_bytes(BUNDLE.encode())
    for source in (path, b"", b"{}", with_bodies(proof_of()).encode()[:-1]):
        error = refusal(lambda source=source: auditor(source))
        assert (error.reason, type(error)) == (Reason.PROOF_MALFORMED, EvidenceMalformed)
        assert [check.claim for check in error.verdict.checks] == ["proof"]
    for source in (tmp_path / "missing.json", tmp_path, 7, None, memoryview(b"")):
        with pytest.raises(UsageError):
            auditor(source)


def test_a_policy_file_judges(tmp_path):
    """The auditor's own policy, with models: the one that answered must be among them."""
    path = tmp_path / "policy.toml"
    path.write_text(policy_toml(healthy("tdx"), tables=f'[models]\nsha256 = ["{"00" * 32}"]'))
    error = refusal(lambda: auditor(proof_of(), policy=path))
    assert (error.reason, type(error)) == (Reason.RECEIPT_MODEL, EvidenceRejected)


def test_a_receipt_is_verified_when_it_is_handed_out():
    """Its claims are there at once, and `verify` goes through all of it again."""
    receipt = receive()
    assert receipt.claims == claims()
    proven = receipt.verify()
    assert proven.receipt == claims()
    assert (proven.request_compared, proven.response_compared) == (True, True)
    assert proven.verdict.at == NOW
    assert "inference" in repr(receipt)


def test_verify_keeps_to_its_time():
    """By default the time of the answer: a client that runs for days can still ask; `at` is another time."""
    now = [NOW]
    receipt = receive(session=session_of(clock=lambda: now[0]))
    now[0] = NOW + 400 * DAY
    assert receipt.verify().verdict.at == NOW
    assert refusal(lambda: receipt.verify(at=now[0])).verdict is not None


@pytest.mark.parametrize("trust", [StapledSimulationTrust(), None])
def test_verify_has_the_demands_of_its_connection(trust):
    """The policy and the trust that the connection was made with, also the stapled root of this machine."""
    session = session_of(**({"trust": trust} if trust else {}))
    receipt = receive(session=session)
    assert receipt.verify().verdict.policy_sha256 == session.demands.policy.sha256
    assert receipt.proof.policy_sha256 == session.demands.policy.sha256


WRONG = {
    "no receipt": (lambda: received(None, **parts()), Reason.RECEIPT_MALFORMED),
    "nothing": (lambda: receive(""), Reason.RECEIPT_MALFORMED),
    "a foreign header": (lambda: receive(".."), Reason.RECEIPT_HEADER),
    "another keyset": (lambda: receive(signed(kid=bytes(32))), Reason.RECEIPT_KEYSET),
    "another key": (lambda: receive(signed(key=OTHER_KEY)), Reason.RECEIPT_SIGNATURE),
    "another request": (lambda: receive(request=hashed(b"other")), Reason.RECEIPT_REQUEST),
    "another salt": (lambda: receive(request=hashed(salt=bytes(32))), Reason.RECEIPT_REQUEST),
    "another seed": (lambda: receive(seed=bytes(32)), Reason.RECEIPT_REQUEST),
    "another response": (lambda: receive(response_body=b"other"), Reason.RECEIPT_RESPONSE),
    "another status": (lambda: receive(response_head=replace(RESPONSE, status=201)), Reason.RECEIPT_RESPONSE),
    "another time": (lambda: receive(signed(claims(issued_at=NOW + 3 * DAY))), Reason.RECEIPT_TIME),
    "another model": (
        lambda: receive_under(policy_with_models("00" * 32)),
        Reason.RECEIPT_MODEL,
    ),
}


def parts():
    session = session_of()
    return {
        "attested": session.attested[0],
        "session": session,
        "seed": SEED,
        "request": hashed(),
        "response_head": RESPONSE,
        "response_body": RESPONSE_BODY,
    }


@pytest.mark.parametrize(("judge", "reason"), WRONG.values(), ids=WRONG)
def test_a_receipt_that_does_not_hold_is_not_handed_out(judge, reason):
    """It ends in an error with a verdict instead."""
    error = refusal(judge)
    assert error.reason is reason
    assert reason in error.verdict.reasons


SECOND = TlsIdentity.make("localhost", now=NOW)
ELSEWHERE = Bundle(
    peer_of(SECOND),
    NONCE,
    answer_of(healthy("tdx"), tls_spki_sha256=SECOND.spki_sha256, receipt_key=public(OTHER_KEY)),
)


def test_a_receipt_of_another_replica():
    """Both were attested, both are acceptable: it is still the connection's own keyset that signs."""
    session = session_of(BUNDLE, ELSEWHERE)  # the newest is the connection's
    theirs = signed(key=OTHER_KEY, kid=answer.parse(ELSEWHERE.answer).keyset.sha256)
    assert receive(theirs, session=session).proof.bundle == ELSEWHERE
    assert refusal(lambda: receive(signed(), session=session)).reason is Reason.RECEIPT_KEYSET


def test_a_session_knows_what_it_attested():
    """The bundle of each keyset that was accepted; none for one that was refused or never seen."""
    session = session_of(BUNDLE, ELSEWHERE)
    assert session.bundle_for(KEYSET) == BUNDLE
    assert session.bundle_for(session.attested[0].keyset_sha256) == ELSEWHERE
    assert session.bundle_for(bytes(32)) is None
    alone = session_of(BUNDLE)
    with pytest.raises(AttestationError):
        alone.conclude(replace(ELSEWHERE, nonce=bytes(32)))
    assert alone.bundle_for(session.attested[0].keyset_sha256) is None


def test_a_session_that_has_forgotten_gives_no_receipt():
    """What a session remembers is bounded: a receipt of a keyset beyond that is refused."""
    attested = session_of(BUNDLE).attested[0]
    error = refusal(lambda: receive(session=session_of(ELSEWHERE), attested=attested))
    assert error.reason is Reason.RECEIPT_KEYSET


def test_a_streamed_request_is_compared_by_its_digest(tmp_path):
    """An upload of gigabytes is hashed while it is sent; its proof is saved without it."""
    receipt = receive(request_body=None)
    assert receipt.verify().request_compared
    receipt.save(tmp_path / "proof.json")
    with pytest.raises(UsageError, match="not held") as caught:
        receipt.save(tmp_path / "bodies.json", bodies=True)
    assert "--request FILE" in caught.value.hint
    assert not (tmp_path / "bodies.json").exists()
    assert auditor(tmp_path / "proof.json").request_compared


@pytest.mark.parametrize("bodies", [False, True])
def test_a_saved_receipt_is_a_proof(tmp_path, bodies):
    """Without bodies unless they are asked for; for this user's eyes, as the salt is in it."""
    path = tmp_path / "proof.json"
    receipt = receive()
    receipt.save(path, bodies=bodies)
    receipt.save(path, bodies=bodies)  # in one step, over what was there
    proof = Proof.parse(path.read_bytes())
    assert proof == (with_bodies(receipt.proof) if bodies else receipt.proof)
    proven = auditor(path, request_body=None, response_body=None)
    assert (proven.request_compared, proven.response_compared) == (bodies, bodies)
    assert auditor(path, require_bodies=True).request_compared
    assert [entry.name for entry in tmp_path.iterdir()] == ["proof.json"]
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("streamed", [False, True])
def test_a_receipt_leaves_its_process(streamed):
    """An error that carries one crosses a pool of processes; what arrives verifies as before."""
    receipt = receive(request_body=None if streamed else REQUEST_BODY)
    again = pickle.loads(pickle.dumps(receipt))  # noqa: S301  our own
    assert again.proof == receipt.proof
    assert again.verify().verdict == receipt.verify().verdict
    assert again.verify().request_compared


def test_what_cannot_be_saved(tmp_path, monkeypatch):
    """A folder that is missing, a body too large for a file that people mail: said, and nothing is left."""
    receipt = receive()
    with pytest.raises(UsageError, match="cannot write"):
        receipt.save(tmp_path / "missing" / "proof.json")
    with pytest.raises(UsageError, match="cannot write"):
        receipt.save(tmp_path)
    monkeypatch.setattr("blindai.client.answer_receipt.MAX_BODY_BYTES", len(REQUEST_BODY) - 1)
    with pytest.raises(UsageError, match="MiB"):
        receipt.save(tmp_path / "proof.json", bodies=True)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_has_a_receipt_too(tmp_path):
    """That the server refused, and with what words, can be shown like an answer."""
    head = ResponseHead(404, "application/json")
    body = b'{"error":"no such model"}'
    said = claims(status=404, model=None, model_sha256=None, response=response_claim(head, body))
    receipt = receive(signed(said), response_head=head, response_body=body)
    receipt.save(tmp_path / "proof.json")
    proven = auditor(tmp_path / "proof.json", response_body=body)
    assert (proven.receipt.status, proven.response_compared) == (404, True)


def test_a_refusal_of_a_request_that_was_not_read(tmp_path):
    """What was sent is not in its proof: the server vouches for none of it, held or not."""
    head = ResponseHead(413, "application/json")
    said = claims(status=413, request=None, response=response_claim(head), model=None, model_sha256=None)
    for held in (REQUEST_BODY, None):
        receipt = receive(signed(said), response_head=head, request_body=held)
        assert receipt.proof.request_body_digest is None
        assert not receipt.verify().request_compared
        receipt.save(tmp_path / "proof.json", bodies=True)
        proven = auditor(tmp_path / "proof.json", response_body=None)
        assert (proven.request_compared, proven.response_compared) == (False, True)


def test_bodies_can_be_demanded(tmp_path):
    """A script that forgets a file learns it, instead of taking one proof for another."""
    receive().save(tmp_path / "proof.json")
    for missing in ("request_body", "response_body"):
        error = refusal(
            lambda missing=missing: auditor(tmp_path / "proof.json", require_bodies=True, **{missing: None})
        )
        assert (error.reason, type(error)) == (Reason.RECEIPT_NOT_COMPARED, EvidenceRejected)


def test_a_file_that_was_changed_on_the_way(tmp_path):
    """Sampled here, every byte in the channel's tests: never anything but our own error."""
    raw = receive().proof.encode()
    for at in range(0, len(raw), len(raw) // 40):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        path = tmp_path / "proof.json"
        path.write_bytes(changed)
        assert refusal(lambda path=path: auditor(path)).reason is Reason.PROOF_MALFORMED


def test_the_limit_of_a_file_is_checked_before_it_is_read(tmp_path, monkeypatch):
    """A file without end costs what the limit says, and no more."""
    monkeypatch.setattr("blindai.client.receipts.MAX_PROOF_BYTES", 100)
    monkeypatch.setattr(proof_file, "MAX_PROOF_BYTES", 100)
    path = tmp_path / "proof.json"
    path.write_bytes(b" " * 1000)
    assert "longer than 100 bytes" in str(refusal(lambda: auditor(path)))
