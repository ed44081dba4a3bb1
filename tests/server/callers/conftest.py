"""An issuer of its own for each test."""

from __future__ import annotations

import pytest

from tests.server.callers.issuer import Issuer


@pytest.fixture
def issuer(tmp_path) -> Issuer:
    return Issuer(tmp_path)
