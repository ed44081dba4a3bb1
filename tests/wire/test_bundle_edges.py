"""The edges of the bundle: what is just small enough, and directories that lie about what follows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from blindai.wire import bundle


def text(directory: Any) -> bytes:
    return json.dumps(directory, separators=(",", ":")).encode("ascii")


def packed(directory: Any, *contents: bytes, tail: bytes = b"") -> bytes:
    """A bundle with this directory and these files, each at the next multiple of 64."""
    raw = bundle.MAGIC + len(text(directory)).to_bytes(8, "big") + text(directory)
    for content in contents:
        raw += bytes(-len(raw) % bundle.ALIGNMENT) + content
    return raw + tail


def files(*sizes: Any) -> dict[str, Any]:
    return {"files": [{"name": f"f{number}", "size": size} for number, size in enumerate(sizes)]}


def read(raw: bytes) -> list[bytes]:
    return [bytes(file.content) for file in bundle.read(memoryview(raw))]


def test_a_bundle_as_it_is_written_here():
    """The helper of these tests makes bundles that are read."""
    assert read(packed(files(3, 0, 64), b"abc", b"", bytes(64))) == [b"abc", b"", bytes(64)]


@pytest.mark.parametrize("value", [5, None, True, "f", {}, {"name": "f", "size": 1}])
def test_files_that_are_no_list(value: Any):
    """A ValueError like all others: a client that sends it gets a 422, and no stack trace."""
    with pytest.raises(ValueError, match="not a list"):
        read(packed({"files": value}))


@pytest.mark.parametrize("sizes", [(-1,), (-64, 64), (64, -1), (-(2**63),)])
def test_a_negative_size(sizes: tuple[int, ...]):
    """It would let files overlap, so that two bundles could hold the same."""
    with pytest.raises(ValueError, match="negative"):
        read(packed(files(*sizes), bytes(64)))
    with pytest.raises(ValueError, match="negative"):
        bundle.layout([(f"f{number}", size) for number, size in enumerate(sizes)])


def test_how_many_files_there_are():
    """One at least, 1024 at most."""
    most = [(f"f{number}", 0) for number in range(1024)]
    assert len(bundle.layout(most)[0]) == 1024
    assert read(packed(files(*[0] * 1024), *[b""] * 1024)) == [b""] * 1024
    for wrong in ([], [*most, ("more", 0)]):
        with pytest.raises(ValueError, match="1 to 1024"):
            bundle.layout(wrong)
    for count in (0, 1025):
        with pytest.raises(ValueError, match="1 to 1024"):
            read(packed(files(*[0] * count), *[b""] * count))


def test_how_long_a_name_is():
    """255 bytes at most, however many characters that are."""
    for name in ("n" * 255, "\u00e9" * 127):
        bundle.check_name(name)
    for name in ("n" * 256, "\u00e9" * 128):
        with pytest.raises(ValueError, match="255"):
            bundle.check_name(name)


@pytest.mark.parametrize("size", [4, 5, 2**40, 2**63])
def test_a_file_that_is_longer_than_the_bundle(size: int):
    """Nothing is read beyond the end, and nothing short is taken for whole."""
    with pytest.raises(ValueError, match="longer than the bundle"):
        read(packed(files(size), b"abc"))


def test_contents_are_not_shown():
    """A bundle's file in a message or a log is its name."""
    (file,) = bundle.read(memoryview(packed(files(6), b"canary")))
    assert "0x" not in repr(file)
    assert "memory" not in repr(file)
