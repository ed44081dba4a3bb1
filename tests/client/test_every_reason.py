"""Every reason code is raised through a public function, with a verdict that names it."""

from __future__ import annotations

import time

import pytest

import blindai
from blindai.attestation import trust
from blindai.channel.bundle import Bundle
from blindai.client.floors import FileFloors
from blindai.client.receipts import verify_receipt
from blindai.errors import AttestationError, EvidenceMalformed, Reason
from blindai.testing import CapturingPeer, TlsIdentity, make_answer
from tests.attestation.lies import LIES, NO_BUNDLES, WIRE_LIES, told
from tests.attestation.scene import NONCE, NOW, PEER, answer_of, healthy, policy_of, refusal, verify
from tests.channel.exchanges import LIES as PROOF_LIES

# Why not told by `verify` of a bundle alone: a simulation keeps no floors, its root is thrown away with it.
FLOORED = [lie for lie in LIES if lie.reason is Reason.TCB_ROLLED_BACK]
OFFLINE = [lie for lie in LIES if lie not in FLOORED]


def reason_of(error: AttestationError) -> Reason:
    """Return the reason, which the message, the verdict and its text name too."""
    assert error.verdict is not None
    assert not error.verdict.accepted
    assert error.reason in error.verdict.reasons
    assert str(error.reason) in str(error.verdict)
    assert f"[{error.reason}]" in str(error)
    return error.reason


def told_in_a_bundle(lie):
    machine, client, lies = told(lie)
    return reason_of(refusal(lambda: verify(machine, client, **lies)))


def told_to_who_remembers(lie, folder):
    """As if the fake's root were the vendor's: what was seen of hardware is kept in a file."""
    machine, client, lies = told(lie)
    file = folder / f"{lie.name}.json"
    for platform, floor in client.floors.items():
        FileFloors(file).raise_to(platform, floor)
    body = answer_of(machine, **lies, simulated=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(trust.PINNED_ROOTS, "intel", frozenset({machine.root_sha256}))
        assert client.verify(body, machine, simulation=False).accepted
        return reason_of(refusal(lambda: client.verify(body, machine, simulation=False, floors=file)))


def told_on_the_wire(lie, identity):
    machine = healthy("tdx")

    def answer(nonce):
        body = make_answer(
            machine,
            nonce=nonce,
            tls_spki_sha256=identity.spki_sha256,
            now=int(time.time()),
            names=("127.0.0.1",),
        )
        return lie.respond(body)

    with CapturingPeer(answer, identities=[identity], alpn=lie.alpn) as peer:
        error = refusal(
            lambda: blindai.verify(
                f"127.0.0.1:{peer.port}", policy=policy_of(machine), simulation=machine.root_sha256
            )
        )
    assert peer.request_bytes == b""
    return reason_of(error)


def told_in_a_file(content, folder):
    path = folder / "bundle.json"
    path.write_bytes(content)
    with pytest.raises(EvidenceMalformed) as caught:
        blindai.verify(path, policy=policy_of(healthy("tdx")), at=NOW)
    return reason_of(caught.value)


def told_in_a_proof(content, demands):
    usual = {"policy": policy_of(healthy("tdx")), "simulation": healthy("tdx").root_sha256, "at": NOW}
    with pytest.raises(AttestationError) as caught:
        verify_receipt(content, **{**usual, **demands})
    return reason_of(caught.value)


def test_every_reason_is_raised_by_the_public_functions(tmp_path):
    """The whole table, told to `verify` and `verify_receipt`: a code that nothing raises fails this test."""
    identity = TlsIdentity.make("127.0.0.1")
    ends = {
        **{lie: told_in_a_bundle(lie) for lie in OFFLINE},
        **{lie: told_to_who_remembers(lie, tmp_path) for lie in FLOORED},
        **{lie: told_on_the_wire(lie, identity) for lie in WIRE_LIES},
    }
    assert {str(lie): end for lie, end in ends.items()} == {str(lie): lie.reason for lie in ends}
    no_bundles = {told_in_a_file(content, tmp_path) for content in NO_BUNDLES.values()}
    assert no_bundles == {Reason.BUNDLE_MALFORMED}
    no_proofs = {reason: told_in_a_proof(*lie) for reason, lie in PROOF_LIES.items()}
    assert no_proofs == {reason: reason for reason in PROOF_LIES}
    assert set(ends.values()) | no_bundles | set(no_proofs) == set(Reason)


def test_what_no_lie_is_told_about_is_accepted(tmp_path):
    """The same function, the same demands, and nothing wrong: as an object and as a file."""
    machine = healthy("tdx")
    bundle = Bundle(PEER, NONCE, answer_of(machine))
    path = tmp_path / "bundle.json"
    path.write_bytes(bundle.encode())
    for source in (bundle, path):
        verdict = blindai.verify(source, policy=policy_of(machine), simulation=machine.root_sha256, at=NOW)
        assert verdict.accepted
