"""Genuine evidence for the tests of the simulation: it must look like the real thing, and not pass for it."""

from __future__ import annotations

import pytest

from tests import evidence


@pytest.fixture
def genuine_tdx():
    """Return a function that reads one genuine TDX sample by its name."""
    return lambda name: evidence.read("tdx", name)
