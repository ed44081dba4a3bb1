"""One buffer for a model: filled in place, grown without a copy, emptied while it is read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from blindai.runtime.model_bytes import DRAIN_BYTES, ModelBytes

MB = 1024 * 1024


def test_filled_in_place():
    """Allocated room is zeros, of exactly the size asked for, and what is written through `view` is there."""
    model = ModelBytes.allocate(5000)
    assert (len(model), model.size_bytes, len(model.view)) == (5000, 5000, 5000)
    model.view[10:13] = b"abc"
    assert bytes(model.view) == bytes(10) + b"abc" + bytes(4987)
    model.close()


@pytest.mark.parametrize("pieces", [[b""], [b"a"], [b"a" * 4095, b"bc", b"d" * 10_000], [b"x"] * 9000])
def test_gathered_from_pieces(pieces):
    """A body of unknown length arrives in pieces of any size, of any kind of bytes."""
    model = ModelBytes.allocate(0)
    kinds = (bytes, bytearray, memoryview)
    for index, piece in enumerate(pieces):
        model.append(kinds[index % 3](piece))
    assert bytes(model.view) == b"".join(pieces)
    assert model.size_bytes == sum(map(len, pieces))
    model.close()


def test_append_after_what_was_filled():
    """Pieces go behind the room that was allocated."""
    model = ModelBytes.allocate(3)
    model.view[:] = b"abc"
    model.append(b"def")
    assert bytes(model.view) == b"abcdef"
    model.close()


@pytest.mark.parametrize("size", [0, 1, DRAIN_BYTES - 1, DRAIN_BYTES, DRAIN_BYTES + 1, 3 * DRAIN_BYTES + 5])
def test_drained_in_order_and_gone_behind(size):
    """Each piece is right when it comes, cannot be written to, and is zeros once the next has come."""
    content = os.urandom(size)
    model = ModelBytes.allocate(size)
    model.view[:] = content
    seen, before = b"", None
    for piece in model.drain():
        assert piece.readonly
        if before is not None:
            assert not any(before[-100:])
        seen += piece
        before = piece
    assert seen == content
    assert not any(model.view[-1:])
    model.close()


def test_room_costs_nothing_before_it_is_used():
    """What a client announces takes no memory; what it sends does; what is drained does not any more."""
    before = _resident_mb()
    model = ModelBytes.allocate(4096 * MB)
    assert _resident_mb() - before < 10
    for start in range(0, 64 * MB, MB):
        model.view[start : start + MB] = b"x" * MB
    assert _resident_mb() - before > 50
    pieces = model.drain()
    for _ in range(64 * MB // DRAIN_BYTES + 1):
        next(pieces)
    assert _resident_mb() - before < 20
    pieces.close()
    model.close()


def test_closed_although_somebody_looks():
    """Memory is freed at once, even if a traceback or a caller holds a view; closing twice is fine."""
    before = _resident_mb()
    model = ModelBytes.allocate(64 * MB)
    view = model.view
    for start in range(0, 64 * MB, MB):
        view[start : start + MB] = b"x" * MB
    model.close()
    model.close()
    assert _resident_mb() - before < 20
    assert not any(view[:100])


def test_not_in_core_dumps():
    """The kernel leaves it out of a core dump, and out of children, also after it has grown."""
    model = ModelBytes.allocate(0)
    model.append(b"x" * 33 * MB)
    assert re.search(r"^VmFlags:.* dc .*dd", _mapping_of(model.size_bytes), re.MULTILINE)
    model.close()


def test_contents_are_not_in_its_representation():
    """Tools that record local variables record no weights."""
    model = ModelBytes.allocate(0)
    model.append(b"CANARY")
    assert "CANARY" not in repr(model)
    model.close()


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found is not None
    return int(found[1]) / 1024


def _mapping_of(least_bytes: int) -> str:
    """Return what the kernel says of the private mapping without a file that has at least that size."""
    entries = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    marked = [
        entry
        for entry in entries
        if (size := re.search(r"^Size:\s+(\d+) kB", entry, re.MULTILINE))
        and int(size[1]) * 1024 >= least_bytes
        and " dd" in entry
    ]
    assert marked
    return marked[0]
