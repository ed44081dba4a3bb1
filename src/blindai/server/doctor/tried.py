"""What locking a process down came to, in a child that tried it (`trial.py`)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_SECONDS = 10
_SCRIPT = Path(__file__).with_name("trial.py")


@dataclass(frozen=True)
class Trial:
    """By step, a number if it held, or why it did not. `ended` says why steps are missing, if any are."""

    steps: Mapping[str, int | str]
    ended: str

    def held(self, step: str) -> int:
        """Return the step's number; 0 if it did not hold."""
        result = self.steps.get(step)
        return result if isinstance(result, int) else 0

    def refused(self, step: str) -> str:
        """Return why a step that was tried did not hold; "" if it did, or was not tried."""
        result = self.steps.get(step, "")
        return result if isinstance(result, str) else ""


def in_a_child(script: Path = _SCRIPT) -> Trial:
    """Run the trial: here it would lock down the process that asked. Raises nothing."""
    try:
        # -I: no module from the working folder; -S: it needs the standard library alone.
        done = subprocess.run(  # noqa: S603 - this Python, and a file of this package
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        return Trial(_steps(exc.stdout or b""), "it took too long")
    except OSError as exc:
        return Trial({}, f"no process can be started: {exc.strerror}")
    return Trial(_steps(done.stdout), _ending(done.returncode))


def _ending(code: int) -> str:
    if code >= 0:
        return "it ended early" if code else ""
    if code == -signal.SIGSYS:
        return "a seccomp filter around this process ended the one that tried"
    return f"signal {-code} ended the process that tried"


def _steps(printed: bytes) -> dict[str, int | str]:
    """Read the lines that are whole: the last one may not be."""
    lines = printed.decode("utf-8", "replace").split("\n")[:-1]
    return dict(json.loads(line) for line in lines)
