"""Which TEE does this machine have? Each interface is asked: that it exists proves nothing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from blindai.errors import BlindAIError, UsageError
from blindai.tee.attester import Attester
from blindai.tee.gramine import GramineSgx
from blindai.tee.nsm import Nsm
from blindai.tee.probe import Finding, Presence
from blindai.tee.sev_guest import SevGuest
from blindai.tee.tdx_guest import TdxGuest
from blindai.tee.tsm import Tsm

PROBE_TIMEOUT_SECONDS = 15.0  # a TDX quote takes seconds where the host's quoting service is busy


class Prober(Attester, Protocol):
    """An attester that can say whether it works here."""

    def probe(self) -> Finding:
        """Ask the interface for evidence and return what came of it. Blocks; may raise."""


@dataclass(frozen=True)
class Detection:
    """What each interface turned out to be, in the order they were tried, and the first that works.

    Two that work are no contradiction: a SEV-SNP guest has configfs-tsm and /dev/sev-guest.
    """

    findings: tuple[Finding, ...]
    attester: Attester | None
    interface: str  # of the attester; "" without one

    @property
    def found(self) -> tuple[Finding, ...]:
        """The findings of interfaces that work."""
        return tuple(finding for finding in self.findings if finding.presence is Presence.WORKS)

    def describe(self) -> str:
        """Return a line for each interface, and one for what to do where there is something to do."""
        return "\n".join(_lines(self.findings))


def detect(
    interfaces: Sequence[Prober] | None = None,
    *,
    timeout_seconds: float = PROBE_TIMEOUT_SECONDS,
    thorough: bool = True,
) -> Detection:
    """Try the interfaces, one after the other; each has `timeout_seconds` to answer. Raises nothing.

    An interface whose probe raises or does not answer in time is broken, and the next one is tried. Without
    `thorough`, the first that works is the last that is tried: processors allow few reports a second.
    """
    findings: list[Finding] = []
    attester: Attester | None = None
    interface = ""
    for prober in known_interfaces() if interfaces is None else interfaces:
        finding = _tried(prober, timeout_seconds)
        findings.append(finding)
        if finding.presence is Presence.WORKS and attester is None:
            attester, interface = prober, finding.interface
            if not thorough:
                break
    return Detection(tuple(findings), attester, interface)


def known_interfaces() -> tuple[Prober, ...]:
    """Return what is tried on a machine, the most particular first.

    Inside Gramine the host's devices may be visible too, and would speak for the host. configfs-tsm comes
    before /dev/sev-guest: the kernel keeps its callers apart, and it hands certificates over with a report.
    """
    return (GramineSgx(), Tsm(), SevGuest(), Nsm(), TdxGuest())


def no_attester(detection: Detection) -> UsageError:
    """Return the error to raise where no evidence can be had without simulation."""
    broken = any(finding.presence is Presence.BROKEN for finding in detection.findings)
    what = "a trusted execution environment is there, and gives no evidence" if broken else "no TEE was found"
    return UsageError(
        f"{what}; tried:\n{detection.describe()}",
        hint="`blindai doctor` shows what is missing; --simulation tries BlindAI without the protection of "
        "hardware",
    )


def _tried(prober: Prober, timeout_seconds: float) -> Finding:
    """Probe on a thread of its own: a device that never answers holds up that thread, and not the start.

    Nothing can end such a thread. It is a daemon, so the process can end without it.
    """
    answers: queue.SimpleQueue[Finding] = queue.SimpleQueue()
    threading.Thread(
        target=lambda: answers.put(_probed(prober)), name=f"probe-{_name(prober)}", daemon=True
    ).start()
    try:
        return answers.get(timeout=timeout_seconds)
    except queue.Empty:
        return _broken(
            prober,
            f"it did not answer within {timeout_seconds:g} s",
            "the host's side may be down or busy; `blindai doctor --timeout` waits longer",
        )


def _probed(prober: Prober) -> Finding:
    try:
        return prober.probe()
    except BlindAIError as exc:
        return _broken(prober, str(exc), exc.hint)
    except OSError as exc:
        return _broken(prober, f"trying it failed with {exc.strerror or type(exc).__name__}")
    except BaseException as exc:  # noqa: BLE001 - SystemExit too: unanswered it would look like a device that hangs
        # Its words may be what a device sent.
        return _broken(prober, f"trying it failed with {type(exc).__name__}")


def _broken(prober: Prober, seen: str, hint: str = "") -> Finding:
    return Finding(_name(prober), "", Presence.BROKEN, seen, hint)


def _name(prober: Prober) -> str:
    """Return the interface's name where its probe did not live to say it."""
    name = getattr(prober, "interface", "")
    return name if isinstance(name, str) and name else type(prober).__name__


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    width = max((len(finding.interface) for finding in findings), default=0)
    for finding in findings:
        tee = f" ({finding.tee})" if finding.tee else ""
        yield f"  {finding.presence:6}  {finding.interface:{width}}  {finding.seen}{tee}"
        if finding.hint and finding.presence is not Presence.ABSENT:
            yield f"  {'':6}  {'':{width}}  hint: {finding.hint}"
