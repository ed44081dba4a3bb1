"""Stale evidence, and collateral rolled back: what was accepted once is judged again when its time is over.

A vendor recalls a machine's security level (TCB) while clients are connected. Each meets the recall with the
next key that it does not know, or when its proof ends, whichever is first; and nobody can lead it back to the
time before.
"""

from __future__ import annotations

import json
import time

import pytest

from blindai.client.floors import FileFloors
from blindai.errors import Reason
from blindai.testing import EXPIRED, CapturingPeer, TlsIdentity, http_response, make_answer
from tests.attacks.conftest import METADATA, NAMES, only_tdx
from tests.attacks.middle import Middle, pass_on
from tests.attacks.refusing import assert_refused, refused
from tests.transport.dialling import quiet
from tests.transport.driving import driven

DAY = 24 * 3600
CLOSE = {"Connection": "close"}


class Aging(CapturingPeer):
    """One machine at several times: the nth evidence that anybody asks for is of the nth of `machines`."""

    def __init__(self, machines, *, keys):
        self._machines = iter(machines)
        self._keys = keys
        super().__init__(self._evidence, identities=keys, response=METADATA)

    def _evidence(self, nonce):
        key = self._keys[min(len(self.connections), len(self._keys)) - 1]
        facts = {"tls_spki_sha256": key.spki_sha256, "now": int(time.time()), "names": NAMES}
        return http_response(make_answer(next(self._machines), nonce=nonce, **facts))


@pytest.fixture
def keys():
    return [TlsIdentity.make(*NAMES) for _ in range(2)]


def _prolonged(raw):
    return json.dumps({**json.loads(raw), "not_after": int(time.time()) + DAY}).encode()


_YESTERDAY = {"not_before": int(time.time()) - 2 * DAY, "not_after": int(time.time()) - DAY}
ENDED = {
    "a keyset of yesterday": (_YESTERDAY, Reason.KEYSET_EXPIRED),
    "a keyset of yesterday, prolonged": (
        {**_YESTERDAY, "sent_keyset": _prolonged},
        Reason.REPORT_DATA_MISMATCH,
    ),
}


@pytest.mark.parametrize("what", ENDED)
def test_evidence_whose_keys_have_ended(what, enclave, demands, colour):
    """Genuine, fresh for this nonce, and about keys that the enclave dropped."""
    lies, reason = ENDED[what]
    with enclave(**lies) as peer:
        assert refused(colour, demands(peer.port), peer) is reason


PIECES = {
    "tcb_info": Reason.COLLATERAL_EXPIRED,
    "qe_identity": Reason.COLLATERAL_EXPIRED,
    "pck_crl": Reason.CRL_EXPIRED,
    "root_crl": Reason.CRL_EXPIRED,
}


@only_tdx
@pytest.mark.parametrize("piece", PIECES)
def test_collateral_that_has_ended(piece, vendor, enclave, demands, colour):
    """One piece that was not fetched again in time is enough: without it nobody hears of a recall."""
    with enclave(vendor.machine(**{piece: EXPIRED})) as peer:
        assert refused(colour, demands(peer.port), peer) is PIECES[piece]


RECALLS = {
    "the TCB is out of date": ({"tcb_status": "OutOfDate", "tcb_evaluation": 19}, Reason.TCB_OUT_OF_DATE),
    "the machine is revoked": ({"pck_revoked": True, "pck_crl_number": 101}, Reason.CERTIFICATE_REVOKED),
    "its authority is revoked": (
        {"platform_ca_revoked": True, "root_crl_number": 101},
        Reason.ISSUER_REVOKED,
    ),
}


@only_tdx
@pytest.mark.parametrize("recall", RECALLS)
@pytest.mark.parametrize("when", ["a new key", "the end of the proof"])
def test_a_recall_in_the_middle_of_a_session(when, recall, vendor, keys, demands, colour):
    """The client is connected and content; with the next proof that it needs it hears of the recall."""
    knobs, reason = RECALLS[recall]
    clock = [time.time()]
    machines = vendor.machine(), vendor.machine(**knobs)
    with quiet(), Aging(machines, keys=keys if when == "a new key" else keys[:1]) as peer:
        with driven(colour, demands(peer.port, clock=lambda: clock[0])) as client:
            assert client.get(headers=CLOSE if when == "a new key" else {}).status_code == 200
            clock[0] += 0 if when == "a new key" else 3601
            assert_refused(client, reason)
        peer.wait()
        assert len(peer.connections) == 2
        assert peer.connections[1].request_bytes == b""


# The numbers that only ever grow.
NUMBERS = [
    ("tdx", "tcb_evaluation"),
    ("tdx", "pck_crl_number"),
    ("tdx", "root_crl_number"),
    ("sev-snp", "crl_number"),
]
numbered = pytest.mark.parametrize(("vendor", "number"), NUMBERS, indirect=["vendor"])


@pytest.fixture
def roll_back(vendor, number):
    """A machine with its newest collateral, and another with an older one whose dates still hold."""
    return vendor.machine(**{number: 30}), vendor.machine(**{number: 29})


@numbered
def test_collateral_older_than_seen_before(roll_back, keys, demands, colour):
    """The same client: after the newer number the older one is refused, before it leaves a byte."""
    with quiet(), Aging(roll_back, keys=keys) as peer:
        with driven(colour, demands(peer.port)) as client:
            assert client.get(headers=CLOSE).status_code == 200
            assert_refused(client, Reason.TCB_ROLLED_BACK)
        peer.wait()
        assert peer.connections[1].request_bytes == b""


@numbered
def test_collateral_older_than_the_file_remembers(roll_back, keys, demands, colour, tmp_path):
    """Another client, with the same file of floors."""
    floors = FileFloors(tmp_path / "floors.json")
    with quiet(), Aging(roll_back, keys=keys) as peer, Middle(pass_on(peer.port)) as middle:
        with driven(colour, demands(middle.port, floors=floors)) as client:
            assert client.get(headers=CLOSE).status_code == 200
        with driven(colour, demands(middle.port, floors=FileFloors(tmp_path / "floors.json"))) as client:
            assert_refused(client, Reason.TCB_ROLLED_BACK)
        peer.wait()
        assert peer.connections[1].request_bytes == b""


@numbered
def test_the_newer_is_accepted_after_the_older(roll_back, keys, demands, colour):
    """The counterpart: it is the order that is refused."""
    with quiet(), Aging(roll_back[::-1], keys=keys) as peer, driven(colour, demands(peer.port)) as client:
        assert [client.get(headers=CLOSE).status_code for _ in range(2)] == [200, 200]
