"""Starts servers on lent TEEs, each in a process of its own, without a variable that production forbids."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import blindai
from blindai.attestation.policy import Policy
from blindai.client.demands import demands
from blindai.client.policies import first_use
from blindai.client.sync import Client
from blindai.server.environment import FORBIDDEN, FORBIDDEN_IN_PRODUCTION
from tests.server.hardware.lending import lent
from tests.server.hardware.machines import Hardware
from tests.serving import REPOSITORY, RunningServer, running
from tests.transport.collateral import services

MODEL = "identity"
DEADLINE_SECONDS = 60
_COMMAND = [sys.executable, "-W", "error", "-m", "tests.server.hardware.program"]

T = TypeVar("T")


@contextlib.contextmanager
def vendor(hardware: Hardware) -> Iterator[Hardware]:
    """Let the machine's vendor answer until the block ends."""
    with services.running() as service:
        hardware.service = service
        hardware.publish()
        yield hardware


@contextlib.contextmanager
def serving(
    hardware: Hardware,
    folder: Path,
    *,
    admitted: bool = True,
    hurried: bool = True,
    environment: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[RunningServer]:
    """Run a server on this machine until the block ends; `folder` has what outlives it.

    AssertionError, with what it said, if it does not start.
    """
    given = {
        "settings": {
            "port": 0,
            "open": True,
            "farewell_seconds": 0.0,
            "collateral_path": str(folder / "collateral"),
            "collateral_tls_ca": _authority(hardware, folder),
            **hardware.settings(),
            **settings,
        },
        "found": {**hardware.found(), "admitted": admitted, "hurried": hurried},
    }
    with lent(hardware.fake) as descriptor:
        command = [*_COMMAND, json.dumps({**given, "descriptor": descriptor})]
        variables = {**fit_environment(), **(environment or {})}
        with running(command, variables, cwd=REPOSITORY, pass_fds=[descriptor]) as server:
            yield server


def first_met(server: RunningServer, hardware: Hardware) -> first_use.FirstUse:
    """Return what `blindai policy init` finds and writes."""
    wanted = demands(
        server.address,
        policy=Policy.for_simulation(),
        certificate=None,
        simulation=hardware.root_sha256,
        floors=False,
    )
    return first_use.begin(wanted, timeout_seconds=30)


def connected(server: RunningServer, hardware: Hardware, policy: Policy, **options: Any) -> Client:
    """Connect as a client that trusts the vendor's root and this policy."""
    return blindai.connect(
        server.address, policy=policy, simulation=hardware.root_sha256, floors=False, **options
    )


def eventually(ask: Callable[[], T], right: Callable[[T], bool]) -> T:
    """Ask until the answer is right, and return it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not right(answer := ask()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.25)
    return answer


def health(server: RunningServer) -> dict[str, Any]:
    """Return what the server says of its readiness, with the status it says it with."""
    reply = server.request("GET", "/v2/health/ready")
    return {"status": reply.status, **reply.json()}


def fit_environment() -> dict[str, str]:
    """Return this process's environment without the variables that production forbids."""
    forbidden = {*FORBIDDEN, *FORBIDDEN_IN_PRODUCTION}
    return {name: value for name, value in os.environ.items() if name not in forbidden}


def _authority(hardware: Hardware, folder: Path) -> str:
    """Return a file with one certificate: loading the system's takes longer than most tests."""
    path = folder / "ca.pem"
    path.write_text(hardware.tee.root_pem)
    return str(path)
