"""Looks at everything that a server on hardware needs, and changes nothing.

What can be found out only by doing it is done in a child process (`trial.py`). Nothing is asked of a network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blindai.server.doctor import (
    clock,
    files,
    hardening,
    kernel,
    packages,
    sandbox,
    tee,
    tls,
    variables,
)
from blindai.server.doctor.gramine import is_gramine
from blindai.server.doctor.report import Check, Report, Section, Status
from blindai.server.doctor.tried import Trial, in_a_child
from blindai.tee.detect import PROBE_TIMEOUT_SECONDS, Detection, Prober, detect
from blindai.transport.collateral.cache import default_folder


@dataclass(frozen=True)
class Surroundings:
    """What is looked at: this machine and this process, unless somebody puts others in their place."""

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    interfaces: Sequence[Prober] | None = None
    timeout_seconds: float = PROBE_TIMEOUT_SECONDS
    clock: clock.Clock = field(default_factory=clock.Clock)
    trial: Callable[[], Trial] = in_a_child
    descriptors: Callable[[], int] = files.descriptor_limit
    memory_lock: Callable[[], int] = sandbox.memory_lock_limit
    cache_folder: Callable[[], Path] = default_folder
    installed: Callable[[str], str | None] = packages.installed_version


def examine(surroundings: Surroundings | None = None) -> Report:
    """Look at everything. A part that cannot be looked at is a failed check, and the others go on."""
    where = surroundings or Surroundings()
    detection = detect(where.interfaces, timeout_seconds=where.timeout_seconds)
    return Report(
        tuple(_looked_at(name, look) for name, look in _sections(where, detection)),
        detection.found[0].tee if detection.found else "",
        detection.interface,
    )


def _sections(
    where: Surroundings, detection: Detection
) -> Iterator[tuple[str, Callable[[], tuple[Check, ...]]]]:
    enclave = is_gramine(where.root)
    trial = Trial({}, "") if enclave else where.trial()
    yield "tee", lambda: tee.checks(detection, where.root)
    yield "kernel", lambda: kernel.checks(where.root, enclave=enclave)
    yield "hardening", lambda: hardening.checks(trial, where.root, enclave=enclave)
    yield (
        "sandbox",
        lambda: sandbox.checks(trial, where.root, lock_limit=where.memory_lock(), enclave=enclave),
    )
    yield "tls", tls.checks
    yield "clock", lambda: clock.checks(where.clock)
    yield "environment", lambda: variables.checks(where.environment)
    yield (
        "files",
        lambda: files.checks(
            where.environment, descriptors=where.descriptors(), cache_folder=where.cache_folder
        ),
    )
    yield "packages", lambda: packages.checks(where.installed)


def _looked_at(name: str, look: Callable[[], tuple[Check, ...]]) -> Section:
    try:
        return Section(name, look())
    except Exception as exc:  # noqa: BLE001 - whoever needs a doctor has a machine that does odd things
        failed = Check(name, Status.FAILED, f"looking at it failed with {type(exc).__name__}")
        return Section(name, (failed,))
