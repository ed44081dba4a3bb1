"""Attacks on the connection, each mounted by a capturing man in the middle (attacks.md, section 1).

Most are here, through real server processes where the attack has a server. What a peer can do alone, with
its own TLS key, was tested with a capturing peer before, for both colours:

| Attack | Test |
|---|---|
| diversion: the operator forged in nine ways | client/test_operator_attacks.py |
| diversion to other code | transport/test_zero_bytes.py, transport/test_replicas.py |
| relay of a recorded answer; a key swapped in the keyset | transport/test_zero_bytes.py |
| replay under the same (stolen) TLS key; no challenge | transport/test_zero_bytes.py |
| keyset ended, too long, from the future; another name | transport/test_zero_bytes.py |
| a proof that ends with its policy, its operator, the clock | transport/test_proof_end.py |
| one key, two certificates | transport/test_proof_end.py |
| a second piece of evidence; evidence under another label | transport/test_zero_bytes.py |
| roll-back across processes, in the file of floors | client/test_floors_of_clients.py |
| TLS 1.2; no ALPN; answers that are redirects, surplus or doubtful | transport/test_zero_bytes.py |
| a redirect, and a response cut short, after attestation | transport/test_responses.py |
| environment variables that name proxies and authorities | transport/test_environment.py |
"""

from __future__ import annotations

import dataclasses
import json
import time

import pytest

from blindai.attestation.policy import Policy
from blindai.attestation.trust import SimulationTrust
from blindai.tee.measurement import policy_toml
from blindai.testing import CapturingPeer, http_response, make_answer
from blindai.transport.origin import Origin
from blindai.transport.session import Demands
from tests import models
from tests.attacks.vendor import Vendor
from tests.transport.driving import COLOURS

NAMES = ("localhost", "127.0.0.1", "::1")
METADATA = http_response(json.dumps({"name": "blindai", "version": "0", "extensions": []}).encode())
only_tdx = pytest.mark.parametrize("vendor", ["tdx"], indirect=True)


@pytest.fixture(scope="session", params=["tdx", "sev-snp"])
def vendor(request, tmp_path_factory):
    """Who made the machines of the operator and of the attacker."""
    return Vendor.make(request.param, tmp_path_factory.mktemp("vendor"))


@pytest.fixture(scope="session")
def operator(vendor):
    """The folder of the operator whose server is meant."""
    return vendor.operator("operator")


@pytest.fixture(scope="session")
def victim(vendor, operator):
    """The operator's real server process."""
    path = vendor.folder / "identity.onnx"
    path.write_bytes(models.identity())
    with vendor.server({"identity": path}, tls_dir=str(operator)) as running:
        yield running


@pytest.fixture(params=COLOURS)
def colour(request):
    return request.param


@pytest.fixture(scope="session")
def policy(vendor):
    """The code of these sources, on this vendor's machines."""
    return Policy.from_toml(policy_toml(vendor.machine().measurements))


@pytest.fixture
def demands(vendor, policy):
    """What clients demand of whoever answers at a port."""

    def make(port, **changes):
        wanted = Demands(
            origin=Origin("127.0.0.1", port),
            policy=policy,
            trust=SimulationTrust([vendor.root.sha256]),
            timeout_seconds=10,
        )
        return dataclasses.replace(wanted, **changes)

    return make


@pytest.fixture
def enclave(vendor):
    """A genuine machine of the attacker's own, broken open: he reads what its TLS key ends.

    What it answers is true but for the lies named, which are those of `make_answer`.
    """

    def make(machine=None, *, identities=(), response=METADATA, **lies):
        own = machine or vendor.machine()

        def answer(nonce):
            true = {"tls_spki_sha256": peer.spki_sha256, "now": int(time.time()), "names": NAMES}
            return http_response(make_answer(own, nonce=nonce, **{**true, **lies}))

        peer = CapturingPeer(answer, identities=identities, response=response)
        return peer

    return make
