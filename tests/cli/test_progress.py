"""Uploads show their progress on a terminal, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests import models
from tests.serving import server_environment

pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix-only")
termios = pytest.importorskip("termios", reason="pseudo-terminals are Unix-only")


def test_a_terminal_sees_a_bar(server, tmp_path):
    """With stderr on a terminal the upload draws its name and size; stdout stays data."""
    path = tmp_path / "fresh-mlp.onnx"
    path.write_bytes(models.mlp())
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    command = ["models", "upload", server.address, str(path), "--simulation"]
    process = subprocess.Popen(
        [sys.executable, "-m", "blindai", *command],
        stdout=subprocess.PIPE,
        stderr=slave,
        env=server_environment(TERM="xterm"),
    )
    os.close(slave)
    shown = _read_to_the_end(master)
    stdout, _ = process.communicate(timeout=120)
    assert b"uploading fresh-mlp" in shown
    assert stdout.startswith(b"fresh-mlp ")


def _read_to_the_end(descriptor: int) -> bytes:
    shown = b""
    try:
        while piece := os.read(descriptor, 65536):
            shown += piece
    except OSError:
        pass  # Linux reports the closed other side as EIO
    finally:
        os.close(descriptor)
    return shown
