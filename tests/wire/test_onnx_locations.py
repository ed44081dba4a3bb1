"""Which files a model names for its weights: found by stepping over everything else, hostile or not."""

from __future__ import annotations

import io

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from blindai.wire.onnx_locations import MAX_LOCATIONS, external_locations
from tests import models


def locations(data: bytes) -> tuple[str, ...]:
    return external_locations(io.BytesIO(data), len(data))


def naming(*places: dict[str, str], inside: int = 0) -> bytes:
    """Return a model with one initializer for each of these, after one of that many bytes inside."""
    graph = onnx.GraphProto(name="g")
    graph.initializer.append(
        helper.make_tensor("inside", TensorProto.UINT8, [inside], bytes(inside), raw=True)
    )
    for index, place in enumerate(places):
        tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[4])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in place.items():
            tensor.external_data.add(key=key, value=value)
        graph.initializer.append(tensor)
    graph.node.append(helper.make_node("Identity", ["w0"], ["y"]))
    return helper.make_model(graph).SerializeToString()


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    coded = b""
    while value > 0x7F:
        coded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return coded + bytes([value])


def test_each_file_once_in_order():
    """Several weights of one file name it once."""
    model = naming(
        {"location": "b.bin", "offset": "0"}, {"length": "1", "location": "a.bin"}, {"location": "b.bin"}
    )
    assert locations(model) == ("b.bin", "a.bin")


@pytest.mark.parametrize("model", [models.mlp(), models.slow(), models.identity(), b""])
def test_models_without_external_data(model):
    """Weights inside name no files."""
    assert locations(model) == ()


def test_other_entries_are_no_files():
    """Only the key `location` names a file, and an empty name names none."""
    assert locations(naming({"checksum": "x", "offset": "7"}, {"location": ""})) == ()


def test_weights_inside_are_stepped_over():
    """Of a file with large weights inside, only what lies around them is read."""

    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.read_bytes += len(data)
            return data

    model = naming({"location": "w.bin"}, inside=10_000_000)
    file = Counting(model)
    assert external_locations(file, len(model)) == ("w.bin",)
    assert file.read_bytes < 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 11,
        b"\x3a",
        b"\x3a\x05ab",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x3b\x3c",
        b"\x02\x00",
        b"\x09\x01",
        b"\x0d\x01",
        field(7, b"\x2a\x50ab"),
        field(7, field(5, field(13, b"\x0a\x7fab"))),
        field(7, field(5, field(13, field(1, b"location") + field(2, b"\xff\xfe")))),
        field(7, field(5, field(13, field(1, b"location") + field(2, b"x" * 5000)))),
    ],
    ids=[
        "endless-number", "no-length", "short", "huge-length", "group", "field-0", "short-64", "short-32",
        "inner-length-over-outer", "innermost-over", "not-text", "overlong-name",
    ],
)  # fmt: skip
def test_what_is_no_protobuf_is_refused(data):
    """Numbers and lengths that lie, at every level, end in our own error."""
    with pytest.raises(ValueError):  # noqa: PT011
        locations(data)


def test_too_many_files_and_fields_are_refused():
    """Steps and results are bounded."""
    with pytest.raises(ValueError, match="files"):
        locations(naming(*({"location": f"{index}"} for index in range(MAX_LOCATIONS + 1))))
    fields = b"\x08\x01" * 2000
    with pytest.raises(ValueError, match="fields"):
        external_locations(io.BytesIO(fields), len(fields), max_fields=1000)


@given(st.binary(max_size=400))
def test_garbage(data):
    """Any bytes give names or ValueError."""
    _names_or_refusal(data)
    _names_or_refusal(field(7, data))
    _names_or_refusal(field(7, field(5, data)))


@given(st.data())
def test_damaged_models(data):
    """A model with some bytes changed or cut off gives names or ValueError."""
    model = bytearray(naming({"location": "w.bin", "offset": "0"}, {"location": "v.bin"}))
    for _ in range(data.draw(st.integers(1, 4))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    _names_or_refusal(bytes(model[: data.draw(st.integers(0, len(model)))]))


def test_megabytes_of_garbage():
    """Long rows of what looks like fields, and of what does not, are walked through or refused."""
    for pattern in (b"\x3a\x00", b"\x08\x80", b"\x3a\x02\x2a\x00"):
        _names_or_refusal(pattern * 100_000)
    for pattern in (b"\xff", b"\x00", b"\x3a\xff\xff\x7f"):
        _names_or_refusal(pattern * 5_000_000)


def _names_or_refusal(data: bytes) -> None:
    try:
        names = locations(data)
    except ValueError:
        return
    assert all(isinstance(name, str) for name in names)
