"""Devices of real server processes that misbehave: slow, hanging, failing; and machines that outlive them.

A device is told what to do by a file, so that a test can change it while the server runs. A machine that is
`lent` stays in the test's process: servers that ask it may be killed and started again, and several of them
may be vouched for by the same vendor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import socketserver
import threading
import time
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

from blindai.attestation.trust import SimulationTrust
from blindai.attestation.types import Evidence
from blindai.errors import TeeError, TeeFault
from blindai.server.evidence.machine import Machine
from blindai.server.evidence.stapling.choose import source_for
from blindai.server.evidence.stapling.source import Gathered
from blindai.server.settings import Settings
from blindai.tee.measurement import Measurements, policy_toml, simulated_measurements
from blindai.tee.simulated import SimulatedTdx
from blindai.wire import base64url

_POLL_SECONDS = 0.01
_ASKED_SECONDS = 30


class Device:
    """An attester before another one. `mood` is a file with JSON: {"seconds": 0.05}, {"fails": true} or
    {"hangs": true}; without it every quote takes `seconds`. Each quote adds a line to `counted`."""

    def __init__(self, attester: Any, *, seconds: float, mood: Path | None, counted: Path | None) -> None:
        self.tee = attester.tee
        self.simulated = attester.simulated
        self._attester = attester
        self._seconds = seconds
        self._mood = mood
        self._counted = counted

    def evidence(self, report_data: bytes) -> Evidence:
        mood = self._read()
        while mood.get("hangs"):
            time.sleep(_POLL_SECONDS)
            mood = self._read()
        time.sleep(float(mood.get("seconds", self._seconds)))
        if mood.get("fails"):
            raise TeeError(TeeFault.FAILED, "the device was told to fail")
        if self._counted is not None:
            with self._counted.open("a") as file:
                file.write("quote\n")
        return self._attester.evidence(report_data)

    def _read(self) -> dict[str, Any]:
        if self._mood is None or not self._mood.exists():
            return {}
        # Empty is the moment between truncation and the new words.
        found: dict[str, Any] = json.loads(self._mood.read_text() or "{}")
        return found


def slowed(
    find_machine: Any,
    *,
    seconds: float = 0.0,
    mood: str | None = None,
    counted: str | None = None,
    lender: int | None = None,
) -> Any:
    """Return what finds the same machine, or the one that is lent at this port, behind such a device."""

    def find(settings: Settings, *, source_sha256: str, now: int) -> Machine:
        if lender is not None:
            machine = _borrowed(lender, settings)
        else:
            machine = find_machine(settings, source_sha256=source_sha256, now=now)
        device = Device(
            machine.attester,
            seconds=seconds,
            mood=None if mood is None else Path(mood),
            counted=None if counted is None else Path(counted),
        )
        return dataclasses.replace(machine, attester=device)

    return find


def set_mood(file: Path, **mood: Any) -> None:
    """Tell a device what to do from now on; whole, for it may read at any moment."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(mood))
    new.replace(file)


def machines(*labels: str, now: int) -> list[SimulatedTdx]:
    """Return machines under one root, each of which measures sources of its own."""
    made: list[SimulatedTdx] = []
    for label in labels:
        root = made[0].root if made else None
        made.append(SimulatedTdx(now=now, measurements=measured(label), root=root))
    return made


def measured(label: str) -> Measurements:
    """Return what a machine measures that runs sources of this name."""
    return simulated_measurements(label.encode().hex().ljust(64, "0"))


@contextlib.contextmanager
def lent(machine: SimulatedTdx) -> Iterator[int]:
    """Lend a machine to server processes: yield the port for `slowed(lender=...)`."""
    with _Lender(("127.0.0.1", 0), _Lending) as lender:
        lender.machine = machine
        thread = threading.Thread(target=lender.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield int(lender.server_address[1])
        finally:
            lender.shutdown()
            thread.join(5)


class _Lender(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    machine: SimulatedTdx

    def handle_error(self, *_: Any) -> None:
        """Say nothing: who asks may be killed."""


class _Lending(socketserver.StreamRequestHandler):
    server: _Lender

    def handle(self) -> None:
        machine, report_data = self.server.machine, bytes.fromhex(self.rfile.readline().decode())
        said: dict[str, Any]
        if report_data:
            evidence = machine.evidence(report_data)
            said = {"media_type": evidence.media_type, "value": base64url.encode(evidence.value)}
        else:
            published = machine.published
            said = {
                "collateral": published.collateral,
                "expires": published.expires,
                "root_pem": machine.root_pem,
                "root_sha256": machine.root_sha256,
                "policy": policy_toml(machine.measurements),
            }
        self.wfile.write(json.dumps(said).encode())


def _borrowed(port: int, settings: Settings) -> Machine:
    borrowed, about = _Borrowed(port), _asked(port, b"")
    trust = SimulationTrust([about["root_sha256"]])
    asks = settings.collateral_intel_url is not None
    given = source_for(borrowed, settings, trust=trust) if asks else None
    return Machine(
        borrowed,
        given or borrowed,
        "a lent machine",
        root_pem=about["root_pem"],
        root_sha256=about["root_sha256"],
        policy=about["policy"],
    )


class _Borrowed:
    """An attester, and the source of its collateral."""

    tee = "tdx"
    simulated = True

    def __init__(self, port: int) -> None:
        self._port = port

    def evidence(self, report_data: bytes) -> Evidence:
        said = _asked(self._port, report_data)
        return Evidence(said["media_type"], base64url.decode(said["value"]))

    def subject(self, _: Evidence) -> Hashable:
        return None

    def gather(self, _: Evidence, *, now: int, anew: bool) -> Gathered:
        del now, anew
        about = _asked(self._port, b"")
        return Gathered(about["collateral"], about["expires"])


def _asked(port: int, report_data: bytes) -> dict[str, Any]:
    with socket.create_connection(("127.0.0.1", port), timeout=_ASKED_SECONDS) as connection:
        connection.sendall(report_data.hex().encode() + b"\n")
        with connection.makefile("rb") as file:
            said: dict[str, Any] = json.loads(file.read())
    return said
