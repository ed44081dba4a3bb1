"""Predictions through a real server: every dtype, every form of input, every refusal."""

from __future__ import annotations

import numpy as np
import pytest

from blindai.errors import ServerRefused, UsageError
from tests import models

NUMERIC = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def uploaded(server):
    """Models for this module: one per dtype, and a few shapes of signature."""
    for name in models.DTYPES:
        assert server.upload(f"identity-{name.lower()}", models.identity(name)).status in (200, 201)
    for name in ("adder", "mlp", "two_outputs", "failing"):
        assert server.upload(name.replace("_", "-"), getattr(models, name)()).status in (200, 201)


@pytest.mark.parametrize("name", NUMERIC)
def test_arrays_of_every_numeric_dtype(client, name):
    """An array comes back as it went, dtype and shape included."""
    array = np.array([0, 1, 1], NUMERIC[name])
    echoed = client.predict(f"identity-{name.lower()}", {"x": array})["y"]
    assert echoed.dtype == array.dtype
    np.testing.assert_array_equal(echoed, array)


def test_extreme_values_survive(client):
    """Nothing on the way rounds: the largest integers, NaN and infinities."""
    largest = np.array([2**64 - 1], np.uint64)
    assert client.predict("identity-uint64", {"x": largest})["y"][0] == 2**64 - 1
    odd = np.array([np.nan, np.inf, -np.inf, -0.0])
    echoed = client.predict("identity-fp64", {"x": odd})["y"]
    assert echoed.tobytes() == odd.tobytes()


def test_strings(client):
    """Strings go in as lists or arrays and come out as str."""
    texts = ["", "héllo", "日本", "a\0b"]
    for given in (texts, np.array(texts, object)):
        assert client.predict("identity-bytes", {"x": given})["y"].tolist() == texts


def test_bfloat16(client):
    """BF16 takes ml_dtypes arrays or plain floats, and is widened exactly on the way out."""
    import ml_dtypes  # noqa: PLC0415

    values = [1.0, -2.5, 3.140625]
    for given in (np.array(values, ml_dtypes.bfloat16), values):
        echoed = client.predict("identity-bf16", {"x": given})["y"]
        assert (echoed.dtype, echoed.tolist()) == (np.float32, values)


def test_python_lists_take_the_models_dtype(client):
    """Plain numbers need no numpy: the model's signature says what they are."""
    assert client.predict("identity-int8", {"x": [1, 2]})["y"].dtype == np.int8
    assert client.predict("identity-bool", [True, False])["y"].tolist() == [True, False]


def test_single_and_positional_inputs(client):
    """One input needs no name, and several can be given in the model's order."""
    one = np.ones(4, np.float32)
    assert "y" in client.predict("identity-fp32", one)
    summed = next(iter(client.predict("adder", [one, one]).values()))
    np.testing.assert_array_equal(summed, one + one)


def test_only_the_outputs_asked_for(client):
    """outputs= limits what comes back."""
    names = [spec.name for spec in client.model("two-outputs").outputs]
    specs = client.model("two-outputs").inputs
    feed = {spec.name: np.ones([max(d, 1) for d in spec.shape], spec.dtype.numpy) for spec in specs}
    assert list(client.predict("two-outputs", feed, outputs=names[1:])) == names[1:]


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"a": np.ones(4, np.float64), "b": np.ones(4, np.float32)}, "input-dtype"),
        ({"a": np.ones((4, 4, 4), np.float32), "b": np.ones(4, np.float32)}, "input-shape"),
        ({"a": np.ones(4, np.float32)}, "input-missing"),
        ({"a": np.ones(4, np.float32), "b": np.ones(4, np.float32), "c": np.ones(4)}, "input-unknown"),
    ],
)
def test_bad_inputs_are_refused_with_a_code(client, inputs, code):
    """The server's refusal arrives as ServerRefused; the next request works."""
    with pytest.raises(ServerRefused) as refusal:
        client.predict("adder", inputs)
    assert refusal.value.code == code
    assert 400 <= refusal.value.status < 500
    one = np.ones(4, np.float32)
    assert client.predict("adder", {"a": one, "b": one})


def test_an_unknown_model(client):
    """A model that is not there is a 404 with a code."""
    with pytest.raises(ServerRefused) as refusal:
        client.predict("nothing", {"x": np.ones(1)})
    assert (refusal.value.status, refusal.value.code) == (404, "model-not-found")


def test_a_wrong_number_of_positional_inputs(client):
    """A list that does not match the signature is the caller's error and names the inputs."""
    with pytest.raises(UsageError, match="a, b"):
        client.predict("adder", [np.ones(4, np.float32)])


def test_torch_tensors_if_torch_is_there(client):
    """A torch tensor is taken like an array, bfloat16 included."""
    torch = pytest.importorskip("torch", reason="torch is optional: pip install torch")
    echoed = client.predict("identity-fp32", {"x": torch.ones(3)})["y"]
    assert echoed.tolist() == [1, 1, 1]
    assert client.predict("identity-bf16", {"x": torch.ones(3, dtype=torch.bfloat16)})["y"].tolist() == [
        1,
        1,
        1,
    ]
