"""What the steps of a verification hand to each other: limits, floors, times, joined relaxations."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from blindai.attestation import explanations, relaxation, types
from blindai.attestation.binding import report_data
from blindai.attestation.explanations import meaning
from blindai.attestation.relaxation import Relaxation
from blindai.attestation.times import shown
from blindai.attestation.toml_table import Table
from blindai.attestation.types import ChannelFacts, Floor
from blindai.errors import PolicyError

FIELDS = [field.name for field in dataclasses.fields(Floor)]


def test_the_limits_are_those_of_the_specification():
    """Written a second time, so that a slip in either place shows."""
    assert types.MAX_EVIDENCE_BYTES == 65_536
    assert types.MAX_KEYSET_LIFE_SECONDS == 172_800


def test_nothing_seen_is_zero_everywhere():
    """The floor of a platform that nobody has seen holds nothing back."""
    assert Floor() == Floor(0, 0, 0, 0, 0)


@pytest.mark.parametrize("name", FIELDS)
def test_each_number_of_a_floor_rises_by_itself(name):
    """The greater of the two, and of that number only; in either order."""
    low = Floor(10, 10, 10, 10, 10)
    for number, expected in ((11, 11), (9, 10)):
        other = dataclasses.replace(low, **{name: number})
        risen = dataclasses.replace(low, **{name: expected})
        assert low.raised_to(other) == risen
        assert other.raised_to(low) == risen


def test_a_channel_promises_nothing_unless_told():
    """No setting, no operator: what is not stated is not there."""
    facts = ChannelFacts("a.example", ("a.example",), 0, 1, simulated=True)
    assert (facts.settings, facts.operator_spki_sha256, facts.operator_not_after) == ({}, None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01 00:00 UTC"),
        (1_790_000_059, "2026-09-21 14:14 UTC"),
        (-1, "1969-12-31 23:59 UTC"),
        (2**53, "9007199254740992 s of Unix time"),
        (2**80, "1208925819614629174706176 s of Unix time"),
    ],
)
def test_a_time_is_shown_in_utc_or_as_the_number_it_is(seconds, text):
    """A peer may name moments that no calendar holds: they are shown, too."""
    assert shown(seconds) == text


@pytest.mark.parametrize("length", [0, 31, 33])
def test_each_part_of_report_data_has_its_length(length):
    """Keyset digest and challenge root, each by itself."""
    for parts in ((bytes(length), bytes(32)), (bytes(32), bytes(length))):
        with pytest.raises(ValueError, match="32 bytes"):
            report_data(keyset_sha256=parts[0], challenge_root=parts[1], others=[])


def table(**values):
    return Table(values, header="accept", occurrence=0, text="")


def test_what_two_relaxations_accept_is_listed_once():
    """In the order in which they are named."""
    offered = [Relaxation("a", "", {"key": ["x", "y"]}), Relaxation("b", "", {"key": ["y", "z"]})]
    both = table(relax=["a", "b"])
    relaxation.apply(both, offered)
    assert both.strings("key") == ("x", "y", "z")


def test_the_later_of_two_relaxations_of_one_value_counts():
    """Values that are no lists are not joined."""
    offered = [Relaxation("a", "", {"key": 1}), Relaxation("b", "", {"key": 2})]
    both = table(relax=["a", "b"])
    relaxation.apply(both, offered)
    assert both.integer("key", default=0) == 2


def test_an_unknown_relaxation_is_refused_with_those_that_are_known():
    """A typo relaxes nothing and is named."""
    offered = [Relaxation("a", "", {}), Relaxation("b", "", {})]
    with pytest.raises(PolicyError, match=r"relax .*a, b.*'c'"):
        relaxation.apply(table(relax=["c"]), offered)
    with pytest.raises(PolicyError, match=r"relax .*nothing.*'a'"):
        relaxation.apply(table(relax=["a"]), [])


def test_every_meaning_says_something_of_its_own():
    """No claim is explained by the words of a claim of another kind."""
    names = (
        "chain",
        "revocation",
        "crl",
        "signature",
        "tcb_status",
        "settings.sandbox",
        "keyset_valid",
        "pcr0",
    )
    meanings = [meaning(name) for name in names]
    assert all(one != other for one, other in itertools.combinations(meanings, 2))
    assert explanations._OTHER not in meanings
    assert meaning("settings.sandbox") == meaning("settings.isolation")
