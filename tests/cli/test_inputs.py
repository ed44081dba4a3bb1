"""Reading --input: names, values, files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from blindai.cli.predict import parse_inputs
from blindai.errors import UsageError


def test_a_bare_value_and_named_values():
    """One value needs no name; several do."""
    assert parse_inputs(["[1, 2]"]) == [1, 2]
    assert parse_inputs(["a=1", 'b=["x=y"]']) == {"a": 1, "b": ["x=y"]}
    assert parse_inputs(['"x=y"']) == "x=y"


def test_files(tmp_path):
    """@FILE reads JSON, or an array."""
    (tmp_path / "v.json").write_text(json.dumps({"k": [1]}))
    np.save(tmp_path / "v.npy", np.arange(3))
    assert parse_inputs([f"@{tmp_path / 'v.json'}"]) == {"k": [1]}
    assert parse_inputs([f"a=@{tmp_path / 'v.npy'}"])["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("texts", [["1", "2"], ["a=1", "a=2"], ["a=nonsense"], ["@/nonexistent.npy"], ["a="]])
def test_what_is_refused(texts):
    """Ambiguous, repeated, unreadable and malformed inputs are usage errors."""
    with pytest.raises(UsageError):
        parse_inputs(texts)
