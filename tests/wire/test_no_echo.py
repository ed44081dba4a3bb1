"""Error messages about a request say where the fault is by position, and repeat nothing of it."""

from __future__ import annotations

import json

import pytest

from blindai.errors import RequestError
from blindai.wire.inference import decode_request

CANARY = "CANARY"
GOOD = {"name": CANARY, "datatype": "FP32", "shape": [1], "data": [1.0]}
WRONG = {
    "datatype": {"datatype": CANARY},
    "shape": {"shape": [CANARY]},
    "no shape": {"shape": CANARY},
    "data": {"data": [CANARY]},
    "too many data": {"data": [1.0, 2.0]},
    "nesting": {"shape": [2, 2], "data": [[1.0], [2.0, 3.0]]},
    "binary without a header": {"parameters": {"binary_data_size": 4}},
    "parameters": {"parameters": CANARY},
    "shared memory": {"parameters": {"shared_memory_region": CANARY}},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_bad_input_is_named_by_its_position(what):
    """The second input is called inputs[1], whatever name and values it carries."""
    body = json.dumps({"inputs": [{**GOOD, "name": "a"}, {**GOOD, **WRONG[what]}]}).encode()
    with pytest.raises(RequestError) as refusal:
        decode_request(body, None)
    assert str(refusal.value).startswith("inputs[1]: ")
    assert CANARY not in str(refusal.value)


def test_duplicates_are_named_by_their_position():
    """Neither a repeated input nor a repeated output is quoted."""
    for members in ({"inputs": [GOOD, GOOD]}, {"inputs": [GOOD], "outputs": [{"name": CANARY}] * 2}):
        with pytest.raises(RequestError) as refusal:
            decode_request(json.dumps(members).encode(), None)
        assert "puts[1]: " in str(refusal.value)
        assert CANARY not in str(refusal.value)
