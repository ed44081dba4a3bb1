"""Name lookups that hang: what waited goes on, and the process ends when it is told to."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from blindai.errors import UnreachableError
from blindai.transport.collateral.source import Limits
from tests.serving import server_environment

HANGS = """
import socket, threading
def look(*_):
    print("looking", flush=True)
    threading.Event().wait()
socket.getaddrinfo = look
from blindai.cli.main import main
raise SystemExit(main([
    "collateral", "fetch", "intel", "--fmspc", "00" * 6, "--ca", "platform", "--tee", "tdx", "--no-cache",
    "--url", "https://pccs.example.org", "--timeout", "0.2",
]))
"""

FAR = SimpleNamespace(url="https://pccs.example.org")


def test_a_lookup_without_end_is_left_behind(platform, server, monkeypatch):
    """The resolver waits for name servers that do not answer, and cannot be told to stop."""
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: release.wait(60) and [])
    server.limits = Limits(timeout_seconds=0.2)
    try:
        with pytest.raises(UnreachableError, match="did not arrive"):
            server.intel(FAR, platform)
    finally:
        release.set()


def test_what_the_resolver_says_is_said(platform, server, monkeypatch):
    """Its error reaches the operator."""

    def unknown(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UnreachableError, match="Name or service not known"):
        server.intel(FAR, platform)


def test_a_process_ends_though_a_lookup_hangs():
    """Neither the end of the event loop nor that of the interpreter waits for it."""
    process = subprocess.run(
        [sys.executable, "-c", HANGS],
        capture_output=True,
        text=True,
        timeout=120,
        env=server_environment(),
        check=False,
    )
    assert process.stdout == "looking\n"
    assert (process.returncode, "not fetched within" in process.stderr) == (2, True), process.stderr
