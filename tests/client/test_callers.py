"""Several callers of one real server: what each may see, do and prove, through the client that they use."""

from __future__ import annotations

import numpy as np
import pytest

import blindai
from blindai.channel.receipt import Kind
from blindai.client.receipts import verify_receipt
from blindai.errors import ServerRefused
from blindai.wire.api_key import key_id
from tests import models
from tests.client.driving import driven
from tests.serving import running_server

KEYS = {name: f"blindai_{name}" for name in ("alice", "alice-laptop", "bob", "carol", "busy", "small")}
ROLES = {"carol": "user"}
NAMESPACES = {"alice-laptop": "alice", "carol": ""}
LIMITS = {"busy": {"requests_per_minute": 1}, "small": {"max_models": 1}}
INPUT = {"x": np.ones(3, np.float32)}


@pytest.fixture(scope="module")
def server():
    """Owners with namespaces of their own, one of them with two keys, and one who may only run models."""
    callers = [
        {
            "name": name,
            "role": ROLES.get(name, "owner"),
            "namespace": NAMESPACES.get(name, name),
            "key_sha256": key_id(key),
            **LIMITS.get(name, {}),
        }
        for name, key in KEYS.items()
    ]
    with running_server(callers=callers) as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def connected(request, server, root):
    """Connect as somebody; every client ends with the test."""
    open_clients = []

    def connect(name):
        key = None if name is None else KEYS[name]
        client = driven(request.param, server.address, simulation=root, api_key=key)
        open_clients.append(client)
        return client.__enter__()

    yield connect
    for client in reversed(open_clients):
        client.__exit__(None, None, None)


def _refused(call):
    with pytest.raises(ServerRefused) as refusal:
        call()
    assert refusal.value.hint
    return refusal.value.code


def test_a_model_is_its_owners_until_it_is_shared(connected):
    """Private: to others it is none. Shared: to whom it was. Public: to all. And back."""
    alice, bob, carol = connected("alice"), connected("bob"), connected("carol")
    entry = alice.upload_model(models.identity("FP32"), name="mine")
    assert (entry.name, entry.visibility) == ("alice/mine", "private")
    for name in ("mine", "alice/mine"):
        assert alice.predict(name, INPUT)["y"].tolist() == [1, 1, 1]
    for stranger in (bob, carol):
        assert _refused(lambda stranger=stranger: stranger.predict("alice/mine", INPUT)) == "model-not-found"
        assert "alice/mine" not in [entry.name for entry in stranger.models()]

    shared = alice.share_model("mine", visibility="shared", shared_with=[bob.caller().key_id])
    assert shared.shared_with == (key_id(KEYS["bob"]),)
    assert "y" in bob.predict("alice/mine", INPUT)
    assert _refused(lambda: carol.predict("alice/mine", INPUT)) == "model-not-found"

    alice.share_model("mine", visibility="public")
    assert "y" in carol.predict("alice/mine", INPUT)
    alice.share_model("mine", visibility="private")
    assert _refused(lambda: bob.predict("alice/mine", INPUT)) == "model-not-found"
    alice.delete_model("alice/mine")


def test_who_may_not(connected):
    """Nobody without a key, no upload by a user, none into another's namespace; each with a hint."""
    nobody, bob, carol = connected(None), connected("bob"), connected("carol")
    assert nobody.server().name == "blindai"
    assert _refused(nobody.models) == "unauthenticated"
    assert _refused(lambda: carol.upload_model(models.identity("FP32"), name="m")) == "forbidden"
    assert _refused(lambda: bob.upload_model(models.identity("FP32"), name="alice/m")) == "forbidden"


def test_who_one_is(connected):
    """The id that others share a model with, the namespace, and what is used of the limits."""
    info = connected("small").caller()
    assert (info.name, info.role, info.namespace) == ("small", "owner", "small")
    assert (info.key_id, info.max_models) == (key_id(KEYS["small"]), 1)


def test_a_second_key_is_a_stranger_until_it_is_added(connected):
    """Whoever edits the settings does not become alice: the key that was there first says who else is."""
    alice, laptop = connected("alice"), connected("alice-laptop")
    alice.upload_model(models.identity("FP32"), name="bound")
    assert _refused(lambda: laptop.upload_model(models.identity("FP32"), name="other")) == "namespace-bound"
    assert _refused(laptop.join_namespace) == "namespace-bound"
    alice.add_key(key_id(KEYS["alice-laptop"]))
    assert _refused(lambda: laptop.predict("bound", INPUT)) == "model-not-found"
    laptop.join_namespace()
    assert "y" in laptop.predict("bound", INPUT)
    laptop.delete_model("bound")
    alice.remove_key(key_id(KEYS["alice-laptop"]))
    assert _refused(lambda: laptop.upload_model(models.identity("FP32"), name="other")) == "namespace-bound"


def test_limits_of_ones_own(connected):
    """More models than one may have, and more requests a minute: each by its own code."""
    small, busy = connected("small"), connected("busy")
    small.upload_model(models.identity("FP32"), name="one")
    assert _refused(lambda: small.upload_model(models.identity("FP32"), name="two")) == "quota-exceeded"
    codes = []
    for _ in range(30):
        try:
            busy.models()
        except ServerRefused as refusal:
            codes.append((refusal.code, refusal.hint.startswith("try again in")))
    assert set(codes) == {("rate-limited", True)}


def test_what_was_uploaded_and_answered_can_be_proven(connected, server, tmp_path):
    """To whoever has the policy, the root and the bytes; a refusal as well as an answer."""
    bob = connected("bob")
    model = tmp_path / "proven.onnx"
    model.write_bytes(models.identity("FP32"))
    uploaded = bob.upload_model(model, receipt=True)
    answer = bob.predict("bob/proven", INPUT, receipt=True)
    with pytest.raises(ServerRefused) as refusal:
        bob.predict("bob/proven", {"x": np.ones(3)}, receipt=True)
    policy = blindai.Policy.from_toml(server.ready["policy"])
    kinds = []
    for receipt, body in (
        (uploaded.receipt, model),
        (answer.receipt, None),
        (refusal.value.receipt, None),
    ):
        path = tmp_path / "proof.json"
        receipt.save(path, bodies=body is None)
        proven = verify_receipt(
            path, policy=policy, simulation=server.ready["root_sha256"], request_body=body
        )
        assert proven.request_compared
        kinds.append((proven.receipt.kind, proven.receipt.status))
        assert proven.receipt.model_sha256 == uploaded.sha256
    assert kinds == [(Kind.UPLOAD, 201), (Kind.INFERENCE, 200), (Kind.INFERENCE, 400)]
    bob.delete_model("proven")
