"""Replay by a thief of the TLS key: what was true for another nonce, or a moment ago, is not for this one.

He ends TLS as the enclave would, and has every answer that it ever gave; only new evidence he cannot have.
"""

from __future__ import annotations

import dataclasses
import time

import pytest

from blindai.channel import answer, challenge
from blindai.channel.challenge import ChallengeTree, Proof
from blindai.errors import Reason
from blindai.testing import CapturingPeer, TlsIdentity, http_response, make_answer
from tests.attacks.conftest import NAMES
from tests.attacks.refusing import assert_refused, refused, send
from tests.transport.dialling import quiet
from tests.transport.driving import driven

STOLEN = TlsIdentity.make(*NAMES)
OTHERS = [bytes([number]) * 32 for number in range(7)]


def genuine(machine, nonce, **lies):
    facts = {"tls_spki_sha256": STOLEN.spki_sha256, "now": int(time.time()), "names": NAMES}
    return make_answer(machine, nonce=nonce, **{**facts, **lies})


@pytest.fixture
def thief(vendor):
    """Whoever answers as `replay(machine, nonce)` says."""
    machine = vendor.machine()
    return lambda replay: CapturingPeer(
        lambda nonce: http_response(replay(machine, nonce)), identities=[STOLEN]
    )


def _proof(machine, nonce, change):
    """An answer about a batch in which this client's nonce is, with another way to its root."""
    body = genuine(machine, nonce, waiting=OTHERS)
    proof = answer.parse(body).proof
    assert challenge.root_of(nonce, proof)
    return genuine(machine, nonce, waiting=OTHERS, proof=change(proof))


def _of_another(machine, nonce):
    return genuine(machine, OTHERS[0], waiting=[*OTHERS[1:], nonce])


def _path_of_another(machine, nonce):
    """He knows all the nonces, and shows the way of the first of them."""
    tree = ChallengeTree([*OTHERS, nonce], [])
    return genuine(machine, nonce, waiting=OTHERS, proof=tree.proof(0))


REPLAYS = {
    "the answer of another client of the same batch": _of_another,
    "the way of another client to the same root": _path_of_another,
    "the index of another client": lambda machine, nonce: _proof(
        machine, nonce, lambda proof: dataclasses.replace(proof, index=proof.index ^ 1)
    ),
    "a way that turns elsewhere": lambda machine, nonce: _proof(
        machine, nonce, lambda proof: Proof(proof.index, tuple(reversed(proof.path)))
    ),
    "a way that ends too soon": lambda machine, nonce: _proof(
        machine, nonce, lambda proof: Proof(proof.index & 3, proof.path[:2])
    ),
    "a way that goes on": lambda machine, nonce: _proof(
        machine, nonce, lambda proof: Proof(proof.index, (*proof.path, bytes(32)))
    ),
    "a nonce that is a node": lambda machine, nonce: genuine(
        machine, OTHERS[0], proof=Proof(0, (bytes(32),))
    ),
    "no way at all": lambda machine, nonce: genuine(machine, OTHERS[0], proof=Proof(0, ())),
    "the proof for monitoring, without a challenge": lambda machine, nonce: genuine(
        machine, nonce, omit=["challenge"]
    ),
}


@pytest.mark.parametrize("what", REPLAYS)
def test_what_is_true_for_another_nonce(what, thief, demands, colour):
    """Index, path and root are another's: this client reckons from the nonce that it made itself."""
    with thief(REPLAYS[what]) as peer:
        reason = refused(colour, demands(peer.port), peer)
    missing = "monitoring" in what
    assert reason is (Reason.CHALLENGE_MISSING if missing else Reason.REPORT_DATA_MISMATCH)


def test_a_place_in_a_batch_of_strangers_is_enough(thief, demands, colour):
    """The counterpart: the same batch, with this client's own way to the root."""
    with thief(lambda machine, nonce: genuine(machine, nonce, waiting=OTHERS)) as peer:
        with quiet(), driven(colour, demands(peer.port)) as client:
            assert send(client).status_code == 200


def test_what_this_very_client_accepted_a_proof_ago(thief, demands, colour):
    """When its proof has ended the client asks anew; the answer that it once accepted is of no use."""
    clock, answers = [time.time()], []

    def replay(machine, nonce):
        answers.append(answers[0] if answers else genuine(machine, nonce))
        return answers[-1]

    with quiet(), thief(replay) as peer:
        with driven(colour, demands(peer.port, clock=lambda: clock[0])) as client:
            assert client.get().status_code == 200
            clock[0] += 3601
            assert_refused(client, Reason.REPORT_DATA_MISMATCH)
        peer.wait()
        assert [b"CANARY" in seen.received for seen in peer.connections] == [False, False]
        assert peer.connections[1].request_bytes == b""


def test_recorded_at_a_real_server(victim, thief, demands, colour):
    """A thief of one server's key gains nothing by what another one answered him."""
    with quiet(), driven(colour, demands(victim.port)) as own:
        own.get()
        recorded = own.transport.session.bundle.answer
    with thief(lambda machine, nonce: recorded) as peer:
        assert refused(colour, demands(peer.port), peer) is Reason.TLS_KEY_MISMATCH
