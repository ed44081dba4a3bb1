"""A model goes through a pipe only if it can name no file; what goes through arrives whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindai.runtime import model_stream
from blindai.runtime.model_stream import names_no_file, streamed
from tests import models
from tests.runtime import test_onnx as hiding

KEY = b"\x0a\x08location"
SEARCH = model_stream._SEARCH_BYTES


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Neither a thread nor an open file outlives a stream."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not [thread for thread in threading.enumerate() if thread.name == "model-feeder"]


@pytest.mark.parametrize("model", hiding.HIDING_PLACES)
def test_references_are_seen_wherever_they_hide(model):
    """A reference to a file is found in initializers, constants, branches, sparse tensors and functions."""
    assert not names_no_file(memoryview(model(hiding.external_weight("secret.bin"))))


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        b"location",
        b"x" * 999 + KEY,
        b"\x0a\x88\x00location",
        b"\x0a\x88\x80\x80\x00location",
        b"\x8a\x80\x00\x08location",
        b"\x12\x03abc" + KEY,
        b"/location allocation" + KEY,
    ],
    ids=["key", "start", "late", "overlong", "very-overlong", "overlong-tag", "value-first", "after-words"],
)
def test_every_way_to_write_the_key_is_seen(text):
    """Protobuf allows lengths that are longer than needed, and fields in any order."""
    assert not names_no_file(memoryview(text))


@pytest.mark.parametrize("at", range(SEARCH - 10, SEARCH + 2))
def test_a_key_across_two_parts_of_the_search_is_seen(at):
    """The search goes by parts; a key on their border is in neither of them alone."""
    text = bytearray(2 * SEARCH)
    text[at : at + len(KEY)] = KEY
    assert not names_no_file(memoryview(text))
    text[at : at + len(KEY)] = b"re-location."[: len(KEY)]
    assert names_no_file(memoryview(text))


@given(st.binary(max_size=50), st.binary(max_size=50), st.integers(0, 4))
def test_the_key_is_seen_between_any_bytes(before, after, overlong):
    """Whatever lies around it."""
    length = b"\x08" if not overlong else b"\x88" + b"\x80" * (overlong - 1) + b"\x00"
    assert not names_no_file(memoryview(before + b"\x0a" + length + b"location" + after))


@pytest.mark.parametrize(
    "model", [models.mlp(), models.slow(), models.identity(), b"", b"relocation/location"]
)
def test_ordinary_models_name_no_file(model):
    """Models whose weights lie inside are streamed, even if a node is named after an allocation."""
    assert names_no_file(memoryview(model))


@pytest.mark.parametrize("sizes", [[], [0], [1], [3_000_000, 1, 0, 70_000]])
def test_what_is_streamed_arrives(sizes):
    """The content of the path is the pieces, in order, more than the pipe holds included."""
    pieces = [os.urandom(size) for size in sizes]
    with streamed(map(memoryview, pieces)) as path:
        assert Path(path).read_bytes() == b"".join(pieces)


def test_a_reader_that_gives_up_holds_nobody():
    """Who reads nothing, or only the beginning, gets no error, and the feeder ends."""
    pieces = [memoryview(bytes(8_000_000))]
    with streamed(pieces):
        pass
    with streamed(pieces) as path, Path(path).open("rb", buffering=0) as file:
        assert file.read(10) == bytes(10)


def test_pieces_that_fail_are_not_taken_for_the_end():
    """A source that breaks off raises here, although the reader saw nothing but an end."""

    def failing():
        yield memoryview(b"first")
        raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"), streamed(failing()) as path:
        assert Path(path).read_bytes() == b"first"


def test_this_system_can_stream():
    """The tests of streaming test it: on this system there is a path for a pipe."""
    assert model_stream.can_stream()
