"""The demo is the main job: it runs, classifies, and its three attacks are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.serving import server_environment

DEMO = Path(__file__).parents[2] / "demo" / "demo.py"


def test_the_demo_does_the_main_job():
    """It verifies a real server, reaches the model's accuracy, and refuses three attacks."""
    result = subprocess.run(
        [sys.executable, str(DEMO)],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        env=server_environment(PYTHONIOENCODING="utf-8"),
    )
    assert result.returncode == 0, result.stderr
    assert "accepted: SIMULATED tdx" in result.stdout
    assert "360 of 360 right" in result.stdout
    for reason in ("measurement-mismatch", "tls-key-mismatch", "report-data-mismatch"):
        assert f"refused: {reason}" in result.stdout
    assert result.stdout.count("received 0 bytes of the request") == 2
