"""The search for models in clear finds what is planted: without this, finding nothing would mean nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.system import plaintext
from tests.system.plaintext import STRIDE_BYTES, WINDOW_BYTES, found_in
from tests.system.weights import Weights

MODELS = [Weights(f"planted {number}", 40_000) for number in range(5)]
NOISE = random.Random(1).randbytes(300_000)  # noqa: S311 - as random as sealed bytes


@pytest.mark.parametrize("start", [0, 1, 31, 32, 33, 77_777])
@pytest.mark.parametrize("length", [32, 33, 64])
@pytest.mark.parametrize("place", [0, 12_345, len(NOISE)])
def test_a_planted_piece_is_found(tmp_path: Path, start: int, length: int, place: int):
    """32 bytes of any model are found from wherever they are, wherever they lie, and nowhere else."""
    piece = MODELS[3].content[start : start + length]
    (tmp_path / "clean").write_bytes(NOISE)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "leak").write_bytes(NOISE[:place] + piece + NOISE[place:])
    found = found_in([tmp_path], MODELS)
    offset = -start % STRIDE_BYTES
    assert f"{tmp_path / 'folder' / 'leak'} at {place + offset}" in found
    assert len(found) <= 4


def test_a_search_in_parts_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Models that do not fit into memory together are looked for one after the other, the last one too."""
    monkeypatch.setattr(plaintext, "_BATCH_BYTES", 1)
    for number, model in enumerate(MODELS):
        (tmp_path / f"{number}").write_bytes(NOISE + model.content[100:164] + NOISE)
    assert len({line.split(" at ")[0] for line in found_in([tmp_path], MODELS)}) == len(MODELS)


def test_what_is_not_there_is_not_found(tmp_path: Path):
    """Noise, empty files, files shorter than a window and folders that do not exist hold nothing."""
    for length in (0, 1, WINDOW_BYTES - 1, WINDOW_BYTES, len(NOISE)):
        (tmp_path / f"{length}").write_bytes(NOISE[:length])
    assert found_in([tmp_path, tmp_path / "nowhere"], MODELS) == []
    assert found_in([tmp_path], []) == []
