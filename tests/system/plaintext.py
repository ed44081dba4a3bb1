"""Searches files for 32 bytes in a row of a model in clear.

Pieces of 16 bytes are taken from a model at every 17th byte and compared with the files at every byte: any
32 bytes in a row of a model hold at least one such piece whole. Windows of 32 bytes at every byte of both
would take 34 times the memory.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests.system.weights import Weights

WINDOW_BYTES = 32
PIECE_BYTES = 16
STRIDE_BYTES = WINDOW_BYTES - PIECE_BYTES + 1
_BATCH_BYTES = 64 * 2**20
_FILTER_BITS = 26
_BETWEEN_FILES = b"\n" * WINDOW_BYTES


def found_in(folders: Iterable[Path], plaintexts: Iterable[Weights]) -> list[str]:
    """Return the files under `folders` that hold a piece of a model, with where it begins."""
    files = [path for folder in folders if folder.exists() for path in folder.rglob("*") if path.is_file()]
    # All files as one text: hundreds of small ones, each by itself, cost an hour after a thousand kills.
    texts = [path.read_bytes() for path in files]
    data = (_BETWEEN_FILES).join(texts)
    begins = list(itertools.accumulate((len(text) + len(_BETWEEN_FILES) for text in texts), initial=0))
    found = []
    for batch in _batches(plaintexts):
        pieces = {
            text[start : start + PIECE_BYTES]
            for text in batch
            for start in range(0, len(text) - PIECE_BYTES + 1, STRIDE_BYTES)
        }
        starts = np.frombuffer(b"".join(piece[:8] for piece in pieces), "<u8")
        for at in _maybe(data, starts):
            if data[at : at + PIECE_BYTES] in pieces:
                number = bisect.bisect_right(begins, at) - 1
                found.append(f"{files[number]} at {at - begins[number]}")
    return found


def _batches(plaintexts: Iterable[Weights]) -> Iterable[list[bytes]]:
    batch, size = [], 0
    for weights in plaintexts:
        content = weights.forget().content
        batch.append(content)
        size += len(content)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _maybe(data: bytes, starts: np.ndarray) -> np.ndarray:
    """Return where `data` may have the first eight bytes of a piece: nearly everywhere it has them not."""
    places = np.arange(max(0, len(data) - PIECE_BYTES + 1))
    every = np.ndarray((len(places),), "<u8", data, strides=(1,))
    for bits in (0, 64 - _FILTER_BITS):
        known = np.zeros(2**_FILTER_BITS, bool)
        known[_some(starts, bits)] = True
        places = places[known[_some(every[places], bits)]]
    return places


def _some(values: np.ndarray, bits: int) -> np.ndarray:
    return values >> np.uint64(bits) & np.uint64(2**_FILTER_BITS - 1)
