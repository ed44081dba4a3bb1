"""The files that the demo runs on: the network is as good as its README says, and digits can be drawn."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported

import numpy as np
import onnxruntime
import pytest

DIGITS = Path(__file__).parents[2] / "demo" / "digits"

ONE = np.array(
    [
        [0, 0, 0, 4, 16, 0, 0, 0],
        [0, 0, 4, 16, 16, 0, 0, 0],
        [0, 8, 16, 12, 16, 0, 0, 0],
        [0, 4, 4, 0, 16, 0, 0, 0],
        [0, 0, 0, 0, 16, 0, 0, 0],
        [0, 0, 0, 0, 16, 0, 0, 0],
        [0, 0, 0, 4, 16, 4, 0, 0],
        [0, 0, 12, 16, 16, 16, 12, 0],
    ],
    dtype=np.uint8,
)


@pytest.fixture(scope="module")
def draw():
    specification = importlib.util.spec_from_file_location("digits_draw", DIGITS / "draw.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.draw


@pytest.fixture(scope="module")
def held_back():
    with np.load(DIGITS / "held_back.npz", allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]


@pytest.fixture(scope="module")
def session():
    return onnxruntime.InferenceSession(DIGITS / "digits.onnx", providers=["CPUExecutionProvider"])


def test_the_network_reaches_the_accuracy_of_its_readme(session, held_back):
    """The checked-in network labels as many held-back digits rightly as its README says, 97 % at least."""
    images, labels = held_back
    stated = re.search(
        r"^Held-back accuracy: (\d+) of (\d+) ", (DIGITS / "README.md").read_text("utf-8"), re.MULTILINE
    )
    (predicted,) = session.run(["label"], {"image": images.astype(np.float32)})

    correct = int((predicted == labels).sum())
    assert [correct, len(labels)] == [int(stated[1]), int(stated[2])]
    assert correct >= 0.97 * len(labels)


def test_held_back_digits_are_whole_and_of_every_class(held_back):
    """The held-back file has 360 different images with pixels from 0 to 16, and each of the ten labels."""
    images, labels = held_back

    assert (images.dtype, images.shape) == (np.uint8, (360, 8, 8))
    assert (images.min(), images.max()) == (0, 16)
    assert len(np.unique(images, axis=0)) == 360
    assert (labels.dtype, labels.shape) == (np.uint8, (360,))
    assert np.bincount(labels, minlength=10).min() >= 30


def test_probabilities_belong_to_the_label(session, held_back):
    """For a batch of any size, each row of probabilities sums to one and is highest at the label."""
    image = held_back[0][:7].astype(np.float32)

    label, probabilities = session.run(["label", "probabilities"], {"image": image})

    assert (label.dtype, label.shape) == (np.int64, (7,))
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (7, 10))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), label)


def test_a_digit_is_drawn_in_shades(draw):
    """On a UTF-8 terminal a pixel is two shade characters, and the caption stands in the middle below."""
    assert draw(ONE[None], ["a one"], encoding="utf-8").splitlines() == [
        "      ░░██",
        "    ░░████",
        "  ▒▒██▓▓██",
        "  ░░░░  ██",
        "        ██",
        "        ██",
        "      ░░██░░",
        "    ▓▓██████▓▓",
        "     a one",
    ]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "no-such-encoding"])
def test_a_terminal_without_shades_gets_ascii(draw, encoding):
    """Where the encoding has no shade characters the same digit is drawn in plain ASCII."""
    assert draw(ONE[None], ["a one"], encoding=encoding).splitlines() == [
        "      ::@@",
        "    ::@@@@",
        "  ==@@##@@",
        "  ::::  @@",
        "        @@",
        "        @@",
        "      ::@@::",
        "    ##@@@@@@##",
        "     a one",
    ]


@pytest.mark.parametrize(("caption", "beside"), [("1", 4), ("reads 1, 99 % sure", 3), ("x" * 90, 1)])
def test_digits_fill_eighty_columns_and_go_on_below(draw, caption, beside):
    """As many digits stand side by side as fit in 80 columns; one at least, however long its caption."""
    strips = draw(np.stack([ONE] * 6), [caption] * 6, encoding="utf-8").split("\n\n")

    assert [strip.splitlines()[-1].count(caption) for strip in strips[:-1]] == [beside] * (len(strips) - 1)
    assert sum(strip.splitlines()[-1].count(caption) for strip in strips) == 6
    assert max(len(line) for strip in strips for line in strip.splitlines()) <= max(80, len(caption))


@pytest.mark.parametrize(
    ("images", "captions"),
    [
        (ONE[None], []),
        (ONE, ["one"]),
        (ONE[None] + 1, ["too bright"]),
        (-ONE[None].astype(int), ["negative"]),
    ],
)
def test_what_is_no_digit_is_not_drawn(draw, images, captions):
    """A caption too few, one image without a batch, and pixels out of range are refused."""
    with pytest.raises(ValueError, match=r"images|pixels"):
        draw(images, captions, encoding="utf-8")
