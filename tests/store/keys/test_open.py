from __future__ import annotations

import pytest

from blindai.errors import UsageError
from blindai.store.keys import open_source


@pytest.mark.parametrize(
    ("text", "name", "persistent"),
    [
        ("memory", "memory", False),
        ("file:/var/lib/blindai/key", "file", True),
        ("gramine", "gramine-mrenclave", True),
        ("gramine-mrsigner", "gramine-mrsigner", True),
        ("snp", "snp-derived", True),
        ("vtpm:/var/lib/blindai/key", "vtpm", True),
    ],
)
def test_each_source_has_its_name(text, name, persistent):
    """The text of the settings leads to the name that clients see; nothing is opened yet."""
    source = open_source(text, simulation=True)
    assert (source.name, source.persistent) == (name, persistent)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("gramine-mrsiner", "gramine-mrsigner"),
        ("Memory", "memory"),
        ("vtmp:/x", "vtpm:/path"),
        ("fil", "file:/path"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(text, meant):
    """An unknown source is refused, and the nearest one is named."""
    with pytest.raises(UsageError) as caught:
        open_source(text, simulation=True)
    assert meant in caught.value.hint


@pytest.mark.parametrize("text", ["", ":", "memory:", "snp:/x", "gramine:", "tpm2:/x y", "\0", "nothing"])
def test_what_is_no_source_is_refused(text):
    """Nothing is guessed: a source with a path it does not take is none."""
    with pytest.raises(UsageError):
        open_source(text, simulation=True)


@pytest.mark.parametrize("word", ["file", "vtpm"])
@pytest.mark.parametrize("path", ["", "key", "./key", "/", "/folder/", "/nul\0"])
def test_a_path_is_absolute_and_names_a_file(word, path):
    """A relative path would mean another key, and so an unreadable store, from another folder."""
    with pytest.raises(UsageError) as caught:
        open_source(f"{word}:{path}", simulation=True)
    assert f"{word}:/" in caught.value.hint


def test_a_file_is_for_simulation_only():
    """Outside simulation the host would read the key, and all models with it; the error says so."""
    with pytest.raises(UsageError, match="host reads the file") as caught:
        open_source("file:/var/lib/blindai/key", simulation=False)
    assert "--simulation" in caught.value.hint


def test_memory_gives_each_process_its_own():
    """The key stays the same for one source, and no two sources share it."""
    first, second = (open_source("memory", simulation=False) for _ in range(2))
    assert first.sealing_key() == first.sealing_key() != second.sealing_key()
    assert len(first.sealing_key()) == 32
