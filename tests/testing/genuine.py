"""Files of genuine samples, for tests that compare a fake with what it imitates."""

from __future__ import annotations

from tests import evidence


def read_file(tee: str, name: str, file: str) -> bytes:
    """Return a file of a sample; skip the test, or under CI fail it, where there is none."""
    return evidence.require(tee, name, file).read_bytes()
