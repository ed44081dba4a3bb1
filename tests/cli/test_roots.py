"""`--simulation-root` may be repeated, for several simulated servers behind one address."""

from __future__ import annotations

import pytest

from blindai.cli import connection
from blindai.cli.main import build_parser


@pytest.mark.parametrize(
    "verb",
    [
        ("verify", "host"),
        ("models", "list", "host"),
        ("receipt", "verify", "proof.json"),
        ("policy", "init", "--from", "host"),
        ("policy", "show", "host"),
    ],
    ids=" ".join,
)
def test_roots_are_added_up_by_every_verb(verb):
    """Wherever the option is defined."""
    roots = ("--simulation-root", "a", "--simulation-root", "b")
    assert connection.simulation(build_parser().parse_args([*verb, *roots])) == ["a", "b"]
