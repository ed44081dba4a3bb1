"""How models are named: what is refused before it means something to a disk, a URL or a log."""

from __future__ import annotations

import pytest

from blindai.errors import RequestCode, RequestError
from blindai.wire.model_name import ModelName, check_namespace

LONGEST, LONGEST_NAMESPACE = "a" * 128, "n" * 64


@pytest.mark.parametrize(
    ("text", "namespace", "name"),
    [
        ("digits", "", "digits"),
        ("alice/sentiment", "alice", "sentiment"),
        ("0", "", "0"),
        ("a.b_c-9.", "", "a.b_c-9."),
        (f"{LONGEST_NAMESPACE}/{LONGEST}", LONGEST_NAMESPACE, LONGEST),
    ],
)
def test_names_are_read_and_written_alike(text: str, namespace: str, name: str):
    """A name with a namespace or without, up to the longest."""
    assert ModelName.parse(text) == ModelName(namespace, name)
    assert str(ModelName.parse(text)) == text


def test_a_short_name_is_in_the_default_namespace():
    """A namespace that is written wins over the caller's own."""
    assert ModelName.parse("m", "alice") == ModelName("alice", "m")
    assert ModelName.parse("bob/m", "alice") == ModelName("bob", "m")


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "a/", "/a", "a/b/c", "a//b", ".", "..", "a..b", "-a", "_a", ".a", "A", "a b", "a\0", "a\n",
        "a\\b", "a:b", "ä", "\u0430", "a%2fb", "../a", "alice/..", "../../etc/passwd", "/etc/passwd",
        "a..b/c", "Alice/m", "-a/m", "al ice/m", f"{LONGEST}a", f"{LONGEST_NAMESPACE}n/m",
    ],
)  # fmt: skip
@pytest.mark.parametrize("default", ["", "alice"])
def test_names_that_are_none(text: str, default: str):
    """Refused, whatever stands for the namespace that is not there; never quoted."""
    with pytest.raises(RequestError) as caught:
        ModelName.parse(text, default)
    assert caught.value.code is RequestCode.NAME_INVALID
    assert "passwd" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "a/b", "..", "a..b", "A", "-a", "a\n", f"{LONGEST_NAMESPACE}n"])
def test_namespaces_that_are_none(text: str):
    """A namespace has no slash, and no more than 64 characters."""
    check_namespace(LONGEST_NAMESPACE)
    with pytest.raises(RequestError) as caught:
        check_namespace(text)
    assert caught.value.code is RequestCode.NAME_INVALID


def test_what_is_said_of_a_name():
    """Which part is wrong, how long it may be, and what the usual slip is."""

    def said(text: str) -> str:
        with pytest.raises(RequestError) as caught:
            ModelName.parse(text)
        return str(caught.value)

    assert "a model's name has 1 to 128" in said("a/-")
    assert "a namespace has 1 to 64" in said("-/a")
    assert "lower case" in said("Digits")
    assert "lower case" not in said("-")


def test_the_order_of_names():
    """The server's own models come first, then those of each namespace together."""
    texts = ["z", "alice/b", "bob/a", "a", "alice/a"]
    names = [str(name) for name in sorted(ModelName.parse(text) for text in texts)]
    assert names == ["a", "z", "alice/a", "alice/b", "bob/a"]
