"""What one client saw binds the next: roll-back floors from server to file to the next client."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings

import pytest

import blindai
from blindai.attestation.policy import Policy
from blindai.attestation.trust import SimulationTrust
from blindai.client.floors import FileFloors, FloorsWarning
from blindai.errors import EvidenceRejected, Reason
from blindai.testing import CapturingPeer, FakeTdx, TlsIdentity, http_response, make_answer
from blindai.transport.origin import Origin
from blindai.transport.session import Demands
from blindai.transport.sync import AttestedTransport
from tests.serving import server_environment


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "blindai" / "floors.json"


def answer_by(tdx, identity):
    """What a server on this machine with this key answers, which `tdx` attests."""
    return lambda nonce: http_response(
        make_answer(
            tdx,
            nonce=nonce,
            tls_spki_sha256=identity.spki_sha256,
            now=int(time.time()),
            names=("127.0.0.1",),
        )
    )


def peer_of(tdx):
    identity = TlsIdentity.make("127.0.0.1")
    return CapturingPeer(answer_by(tdx, identity), identities=[identity])


def transport_of(peer, root_sha256, kept):
    return AttestedTransport(
        Demands(
            origin=Origin("127.0.0.1", peer.port),
            policy=Policy.for_simulation(),
            trust=SimulationTrust([root_sha256]),
            floors=kept,
        )
    )


def test_a_rolled_back_server_is_refused_by_the_next_client(path):
    """The file carries over what the first client saw; without it, old collateral is accepted."""
    new = FakeTdx(tcb_evaluation=30)
    old = FakeTdx(root=new.root, tcb_evaluation=29)
    with peer_of(new) as peer, transport_of(peer, new.root_sha256, FileFloors(path)) as transport:
        attested = transport.attest(connect_timeout_seconds=5)
    assert FileFloors(path).load() == {attested.platform: attested.freshness}
    with peer_of(old) as peer:
        with transport_of(peer, new.root_sha256, None) as transport:
            assert transport.attest(connect_timeout_seconds=5).verdict.accepted
        with transport_of(peer, new.root_sha256, FileFloors(path)) as transport:
            with pytest.raises(EvidenceRejected) as caught:
                transport.attest(connect_timeout_seconds=5)
    assert caught.value.reason is Reason.TCB_ROLLED_BACK
    assert FileFloors(path).load() == {attested.platform: attested.freshness}


CONNECTING = """
import sys
from blindai.attestation.policy import Policy
from blindai.attestation.trust import SimulationTrust
from blindai.client.floors import FileFloors
from blindai.errors import AttestationError
from blindai.transport.origin import Origin
from blindai.transport.session import Demands
from blindai.transport.sync import AttestedTransport

port, root, path = sys.argv[1:]
demands = Demands(
    origin=Origin("127.0.0.1", int(port)),
    policy=Policy.for_simulation(),
    trust=SimulationTrust([root]),
    floors=FileFloors(path),
)
try:
    AttestedTransport(demands).attest(connect_timeout_seconds=5)
except AttestationError as error:
    print(error.reason)
"""


def test_a_rolled_back_server_is_refused_by_the_next_process(path):
    """So it is when the first client's process has ended."""
    new = FakeTdx(tcb_evaluation=30)
    old = FakeTdx(root=new.root, tcb_evaluation=29)
    said = []
    for machine in (new, old):
        with peer_of(machine) as peer:
            done = subprocess.run(
                [sys.executable, "-c", CONNECTING, str(peer.port), new.root_sha256, str(path)],
                env=server_environment(),
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            said.append(done.stdout.strip())
    assert said == ["", "tcb-rolled-back"]


def test_floors_hold_in_memory_where_nothing_can_be_kept(tmp_path):
    """After the warning the same client still refuses what is older."""
    (tmp_path / "file").touch()
    new = FakeTdx(tcb_evaluation=30)
    old = FakeTdx(root=new.root, tcb_evaluation=29)
    keys = [TlsIdentity.make("127.0.0.1") for _ in range(2)]
    answers = iter([answer_by(new, keys[0]), answer_by(old, keys[1])])

    def answer(nonce):
        return next(answers)(nonce)

    with CapturingPeer(answer, identities=keys) as peer:
        with transport_of(peer, new.root_sha256, FileFloors(tmp_path / "file" / "f")) as transport:
            with pytest.warns(FloorsWarning):
                transport.attest(connect_timeout_seconds=5)
            with pytest.raises(EvidenceRejected) as caught:
                transport.attest(connect_timeout_seconds=5)
    assert caught.value.reason is Reason.TCB_ROLLED_BACK


def test_a_simulation_leaves_no_trace(path):
    """Its root is thrown away: nothing of it is read or written, whatever was asked for."""
    path.parent.mkdir(parents=True)
    path.write_text("not ours to read")
    with peer_of(FakeTdx()) as peer, warnings.catch_warnings():
        warnings.simplefilter("error", FloorsWarning)
        verdict = blindai.verify(f"127.0.0.1:{peer.port}", simulation=True, floors=path)
    assert verdict.simulated
    assert path.read_text() == "not ours to read"
