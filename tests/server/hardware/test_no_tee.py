"""`blindai serve` where there is no TEE: it starts no server, and says what it tried."""

from __future__ import annotations

import subprocess
import sys

import pytest

from blindai.tee.detect import detect
from tests.server.hardware.serving import fit_environment

USAGE = 1


def test_a_machine_without_a_tee():
    """Each interface is named with what was found, and what to do comes last: without a port, or a trace."""
    if detect().attester is not None:
        pytest.skip("this machine has a TEE")
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "blindai", "serve", "--open", "--port", "0"],
        capture_output=True,
        text=True,
        timeout=120,
        env=fit_environment(),
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (USAGE, "")
    for interface in ("gramine", "configfs-tsm", "sev-guest", "nsm", "tdx-guest"):
        assert f" {interface} " in ended.stderr
    for told in ("absent", "blindai doctor", "--simulation"):
        assert told in ended.stderr
    assert "Traceback" not in ended.stderr
