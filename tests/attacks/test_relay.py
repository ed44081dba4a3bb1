"""Relay: he ends TLS with a key of his own, and genuine answers are behind him. A balancer reads nothing."""

from __future__ import annotations

import json

import pytest

from blindai.errors import AttestationError, Reason
from blindai.testing import TlsIdentity
from blindai.wire import base64url
from tests.attacks.conftest import NAMES, only_tdx
from tests.attacks.middle import Middle, pass_on, relay
from tests.attacks.refusing import nothing_read, refused, send, served
from tests.client.driving import driven as connected
from tests.transport.dialling import quiet
from tests.transport.driving import driven

OWN = TlsIdentity.make(*NAMES)


def _claimed(answer: bytes) -> bytes:
    """The genuine answer with his own TLS key in its keyset."""
    value = json.loads(answer)
    keyset = json.loads(base64url.decode(value["keyset"]))
    keyset["tls_spki_sha256"] = base64url.encode(OWN.spki_sha256)
    value["keyset"] = base64url.encode(json.dumps(keyset).encode())
    return json.dumps(value).encode()


def _disowned(answer: bytes) -> bytes:
    """The same without the operator, who issued another certificate."""
    value = json.loads(_claimed(answer))
    del value["collateral"]["operator"]
    return json.dumps(value).encode()


RELAYS = {
    "as it is": (bytes, Reason.TLS_KEY_MISMATCH),
    "with his key in the keyset": (_claimed, Reason.OPERATOR_FORGED),
    "with his key, and without the operator": (_disowned, Reason.REPORT_DATA_MISMATCH),
}


@pytest.mark.parametrize("how", RELAYS)
def test_a_relayed_answer_is_about_another_key(how, victim, demands, colour):
    """Fresh, genuine evidence about the very nonce of this client, and not about who ends its connection."""
    edit, reason = RELAYS[how]
    with Middle(relay(victim.port, OWN, edit)) as middle:
        assert refused(colour, demands(middle.port), middle) is reason
        (seen,) = middle.connections
        assert seen.attestation_request


def test_connect_is_told_who_may_end_tls(victim, policy, vendor, colour):
    """`connect` refuses him before it has sent a key, and the hint says where to look."""
    with Middle(relay(victim.port, OWN)) as middle:
        address = f"127.0.0.1:{middle.port}"
        demanded = {"policy": policy, "simulation": vendor.root.sha256, "api_key": "CANARY-key"}
        with pytest.raises(AttestationError) as refusal, connected(colour, address, **demanded):
            pass
        nothing_read(middle)
    assert refusal.value.reason is Reason.TLS_KEY_MISMATCH
    assert "ends TLS" in refusal.value.hint


def test_a_balancer_sees_no_plaintext(victim, demands, colour):
    """What only passes bytes on is no attack: everything works, and he can read none of it."""
    data = list(range(2000))
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2000], "data": data}]}
    headers = {"CANARY": "CANARY"}
    with Middle(pass_on(victim.port)) as middle:
        with quiet(), driven(colour, demands(middle.port)) as client:
            reply = client.request("POST", "/v2/models/identity/infer", json=body, headers=headers)
            assert reply.json()["outputs"][0]["data"] == data
        middle.wait()
        assert len(middle.wire) > 2000
        for secret in (b"CANARY", b"/v2/models", b"nonce=", b"HTTP/1.1", b"123, 124"):
            assert secret not in middle.wire.replace(b"http/1.1", b"")


@only_tdx
def test_whom_he_relays_to_serves_nobody_else(vendor, operator, policy, demands, colour):
    """At the genuine server nothing but the question for evidence arrives through him."""
    with vendor.server(tls_dir=str(operator), metrics_address="127.0.0.1:0") as server:
        with Middle(relay(server.port, OWN)) as middle:
            refused(colour, demands(middle.port), middle)
        assert set(served(server)) == {"/.well-known/blindai/attestation"}
        with Middle(pass_on(server.port)) as middle, quiet(), driven(colour, demands(middle.port)) as client:
            assert send(client).status_code == 401  # nobody has this key here
        assert set(served(server)) > {"/.well-known/blindai/attestation"}
