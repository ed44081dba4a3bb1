"""What scripts/mutate.py found untested in the reading of policies: limits, messages, mixed lists."""

from __future__ import annotations

import pytest

from blindai.attestation.policy import Policy
from blindai.attestation.toml_table import Table
from blindai.errors import PolicyError

DIGEST = "00" * 48
ENTRY = f'[[accept]]\ntee = "tdx"\nmrtd = "{DIGEST}"\nrtmr1 = "{DIGEST}"\nrtmr2 = "{DIGEST}"\n'
GOOD = f"version = 1\n{ENTRY}"


def message(text):
    with pytest.raises(PolicyError) as caught:
        Policy.from_toml(text)
    return str(caught.value)


def table(text="", header="", occurrence=0, **values):
    return Table(values, header=header, occurrence=occurrence, text=text)


def test_a_policy_of_128_kibibytes_loads_and_no_longer_one():
    """The limit is where the message says it is, and it is a limit."""
    padded = GOOD + "#" * (131072 - len(GOOD))
    assert Policy.from_toml(padded).accept
    assert "longer than 131072 bytes" in message(padded + "#")


def test_a_missing_version_is_named_with_the_one_that_is_known():
    """No version is no other mistake than a wrong one; what is missing at the top is shown at line 1."""
    assert message(f"\n\n{ENTRY}") == "policy line 1: version must be 1"


@pytest.mark.parametrize("name", ["operator", "require", "models"])
def test_an_empty_table_is_refused(name):
    """A table without a key looks like a demand and is none."""
    assert f"{name} says nothing" in message(f"{GOOD}[{name}]\n")


@pytest.mark.parametrize("name", ["operator", "require", "models"])
def test_a_value_where_a_table_belongs_is_refused(name):
    """`operator = 3` demands nothing."""
    assert message(f"{name} = 3\n{GOOD}") == f"policy line 1: {name} is not a table"


@pytest.mark.parametrize("mixed", ['["a", 1]', "[[]]", '[{a = "b"}]'])
def test_a_setting_with_one_item_of_another_type_is_refused(mixed):
    """A list is of strings only if all of it is."""
    assert "list of strings" in message(f"{GOOD}[require]\nsandbox = {mixed}\n")


@pytest.mark.parametrize("accept", ["3", "[1]", '[{tee = "tdx"}, 1]', '"tdx"', "[]", "{}"])
def test_what_is_accepted_is_a_list_of_tables(accept):
    """Each entry is a table, and there is one."""
    assert message(f"version = 1\naccept = {accept}\n") == (
        "policy line 2: accept needs at least one [[accept]] table"
    )


def test_an_empty_string_is_no_string():
    """A key that is there says something."""
    assert "tee must be a non-empty string" in message('version = 1\n[[accept]]\ntee = ""\n')
    with pytest.raises(PolicyError, match="non-empty"):
        table(key="").string("key")


@pytest.mark.parametrize("names", [["a", 1], ["a", ""], ["", "a"], [1, "a"]])
def test_every_item_of_a_list_is_a_string_with_something_in_it(names):
    """One good item does not make the list good."""
    with pytest.raises(PolicyError, match="at least one string"):
        table(names=names).strings("names")


def test_a_misspelt_key_is_told_apart_from_an_unknown_one():
    """The nearest key that was asked for is suggested, although it is absent; else all are listed."""
    typing = table(nmaes=["a"])
    typing.strings("names")
    typing.hexadecimal("mrtd", size_bytes=48)
    with pytest.raises(PolicyError, match=r"nmaes is not a known key; did you mean 'names'\?"):
        typing.finish()
    strange = table(mrdt="00")
    strange.hexadecimal("mrtd", size_bytes=48)
    with pytest.raises(PolicyError, match=r"mrdt is not a known key; did you mean 'mrtd'\?"):
        strange.finish()
    unlike = table(x=1)
    unlike.strings("names")
    unlike.date("expires")
    with pytest.raises(PolicyError, match="x is not a known key; known: expires, names"):
        unlike.finish()


LINES = """version = 1
names = ["a"]
[models]
sha256 = ["00"]
[[accept]]
tee = "first"
other = 1

[[accept]]
tee = "second"
[require]
names = 1
models = 2
"""


@pytest.mark.parametrize(
    ("header", "occurrence", "key", "place"),
    [
        ("", 0, "names", "line 2: names"),
        ("", 0, "missing", "line 1: missing"),
        ("", 0, "models", "line 3: models"),
        ("accept", 0, "missing", "line 5: [accept] missing"),
        ("accept", 0, "tee", "line 6: [accept] tee"),
        ("accept", 1, "missing", "line 9: [accept] missing"),
        ("accept", 1, "tee", "line 10: [accept] tee"),
        ("require", 0, "names", "line 12: [require] names"),
        ("require", 0, "models", "line 13: [require] models"),
    ],
)
def test_a_mistake_is_shown_where_it_is(header, occurrence, key, place):
    """A key in its own table, not its namesake above; a missing key at the head of its table."""
    assert str(table(LINES, header, occurrence).error(key, "!")) == f"policy {place} !"
