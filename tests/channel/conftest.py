from __future__ import annotations

import pytest

from blindai.testing import FakeTdx
from tests.attestation.scene import NOW


@pytest.fixture(scope="session")
def tdx() -> FakeTdx:
    """A healthy simulated machine."""
    return FakeTdx(now=NOW)
