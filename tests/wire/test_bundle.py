"""The model bundle: what is written is read back without a copy, and nothing else is a bundle."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindai.wire import bundle

NAMES = st.text(
    st.characters(
        min_codepoint=33, max_codepoint=0x2FF, exclude_characters="/\\:", exclude_categories=["C", "Z"]
    ),
    min_size=1,
    max_size=40,
).filter(lambda name: name not in (".", ".."))


def written(*files: tuple[str, bytes]) -> bytes:
    before, size = bundle.layout([(name, len(content)) for name, content in files])
    body = b"".join(gap + content for gap, (_, content) in zip(before, files, strict=True))
    assert len(body) == size
    return body


def forged(directory: bytes | object, rest: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a bundle with that directory, right or wrong, its files at the next multiple of 64."""
    text = (
        directory if isinstance(directory, bytes) else json.dumps(directory, separators=(",", ":")).encode()
    )
    head = bundle.MAGIC + (len(text) if length is None else length).to_bytes(8, "big") + text
    return head + bytes(-len(head) % bundle.ALIGNMENT) + rest


def entry(name: object = "model.onnx", size: object = 0, **more: object) -> dict[str, object]:
    return {"name": name, "size": size, **more}


def refusal(body: bytes) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - all of this module are ValueErrors, and ours
        bundle.read(memoryview(body))
    assert type(caught.value) is ValueError
    return str(caught.value)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=200)), min_size=1, max_size=8, unique_by=lambda f: f[0]))
def test_what_is_written_is_read(files):
    """Any files come back with their names and bytes, in their order, each at a multiple of 64."""
    body = memoryview(written(*files))
    assert [(file.name, bytes(file.content)) for file in bundle.read(body)] == files
    for file in bundle.read(body):
        assert file.content.obj is body.obj


def test_files_are_aligned():
    """Each file starts at a multiple of 64, whatever the sizes before it."""
    body = written(("a", b"1" * 63), ("b", b"2" * 65), ("c", b""), ("d", b"4"))
    for content in (b"1" * 63, b"2" * 65, b"4"):
        assert body.index(content) % 64 == 0


def test_a_size_beyond_a_protobuf():
    """Layouts of terabytes are reckoned without having them."""
    before, size = bundle.layout([("model.onnx", 100), ("weights", 5 * 2**40)])
    assert size == sum(map(len, before)) + 100 + 5 * 2**40


def test_an_onnx_file_is_no_bundle():
    """What does not start with the magic is not meant as a bundle, and `read` refuses it."""
    for body in (b"", b"\x08\x08\x12\x04test", bundle.MAGIC[:-1]):
        assert not bundle.is_bundle(memoryview(body))
        refusal(body)


@given(st.data())
def test_no_byte_can_be_changed_unseen(data):
    """A change is refused, or it is one of a name or a content that shows in what is read."""
    body = bytearray(written(("a", b"12"), ("b", b"345"), ("c", b"")))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    try:
        files = bundle.read(memoryview(body))
    except ValueError:
        return
    assert written(*((file.name, bytes(file.content)) for file in files)) == body


@given(st.integers(0, 400))
def test_every_cut_is_refused(length):
    """A bundle that ends early is refused, wherever it ends."""
    body = written(("a", b"12"), ("b", b"x" * 100), ("c", b"345"))
    if length < len(body):
        refusal(body[:length])


def test_trailing_bytes_are_refused():
    """Nothing may follow the last file, not even zeros."""
    refusal(written(("a", b"12")) + b"\0")


def test_something_between_the_files_is_refused():
    """The padding is zeros: no bytes travel beside the files."""
    body = bytearray(written(("a", b"12"), ("b", b"345")))
    body[body.rindex(b"345") - 1] = 1
    assert "between" in refusal(bytes(body))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "/etc/passwd",
        "../x",
        "a\\b",
        "C:x",
        "a\0b",
        "a\nb",
        "\u202ea",
        "é" * 128,
        "a" * 256,
    ],
)
def test_names_that_are_no_plain_names_are_refused(name):
    """Folders, drives, control characters, overlong names: neither written nor read."""
    with pytest.raises(ValueError, match="named"):
        bundle.layout([("model.onnx", 1), (name, 1)])
    assert "named" in refusal(forged({"files": [entry(name)]}))


def test_two_files_of_one_name_are_refused():
    """Else the directory could mean either."""
    with pytest.raises(ValueError, match="same name"):
        bundle.layout([("a", 1), ("a", 2)])
    assert "same name" in refusal(forged({"files": [entry("a"), entry("a")]}))


@pytest.mark.parametrize(
    "files",
    [
        [],
        {},
        "model.onnx",
        [[]],
        [entry(size=-1)],
        [entry(size=1)],
        [entry(size=2**63)],
        [entry(size=2**64)],
        [entry(size="0")],
        [entry(size=True)],
        [entry(size=None)],
        [entry(size=0.0)],
        [entry(name=1)],
        [entry(offset=0)],
        [{"name": "a"}],
        [{"size": 1}],
        [entry(f"f{index}") for index in range(bundle.MAX_FILES + 1)],
    ],
)
def test_directories_that_say_something_else_are_refused(files):
    """Sizes that are negative, too large or no integers; members too few or too many; too many files."""
    refusal(forged({"files": files}))


@pytest.mark.parametrize(
    "directory",
    [
        b"",
        b"[]",
        b"{}",
        b"{",
        b"\xff\xfe",
        b'\xef\xbb\xbf{"files":[{"name":"a","size":0}]}',
        b'{"files":[{"name":"a","size":0}],"files":[]}',
        b'{"files":[{"name":"a","size":0,"size":1}]}',
        b'{"files": [{"name":"a","size":0}]}',
        b'{"files":[{"size":0,"name":"a"}]}',
        b'{"files":[{"name":"\\u0061","size":0}]}',
        b'{"files":[{"name":"a","size":0}],"more":1}',
        b'{"files":[{"name":"a","size":1e0}]}',
        b'{"files":' + b"[" * 100_000,
        b'{"files":[{"name":"a","size":' + b"9" * 5000 + b"}]}",
    ],
)
def test_directories_in_other_words_are_refused(directory):
    """One bundle has one spelling: spaces, order, escapes, duplicates and nonsense are refused."""
    body = forged(directory)
    with pytest.raises(ValueError):  # noqa: PT011 - of the strict JSON decoder
        bundle.read(memoryview(body))


@pytest.mark.parametrize("length", [0, 1, 2**32, 2**63, 2**64 - 1, bundle.MAX_DIRECTORY_BYTES + 1])
def test_a_directory_s_length_that_lies_is_refused(length):
    """Nothing is allocated for a length that the body does not have."""
    with pytest.raises(ValueError):  # noqa: PT011
        bundle.read(memoryview(forged({"files": [entry()]}, length=length)))


@given(st.binary(max_size=300))
def test_garbage_behind_the_magic(garbage):
    """Any bytes are read or refused; no other exception leaves the module."""
    for body in (bundle.MAGIC + garbage, forged(garbage), forged({"files": [entry()]}, garbage)):
        try:
            bundle.read(memoryview(body))
        except ValueError:
            continue
