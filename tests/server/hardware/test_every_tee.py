"""A server on every TEE: from the interface to the vendor's collateral, the client's verdict and an answer.

tests/system/test_every_tee.py has every product, kind of quote and source of certificates, and what is
refused.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.hardware import machines, verdicts

# Serial number 0 is what makes a VCEK genuine.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")


@pytest.mark.parametrize("kind", machines.EACH)
def test_a_client_verifies_and_is_served(kind: str, tmp_path: Path):
    """The policy that its first use writes accepts every claim, and an inference is answered."""
    verdicts.check_served(machines.EACH[kind](), tmp_path)
