"""What a process prints when something was not caught: type and place, no text, no source, no object."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blindai.server.watch.crashes import described
from tests.server.watch.answered import CANARY

ROOT = Path(__file__).parents[3]
BEGIN = f"""
import sys, threading
from blindai.server.watch.logs import configure, install_hooks
if len(sys.argv) > 1:
    configure(sys.argv[1], "info")
install_hooks()
canary = {CANARY!r}
"""
THREAD = """
def work(): raise KeyError(canary)
thread = threading.Thread(target=work, name=canary); thread.start(); thread.join()
"""
DESTRUCTOR = """
class Held:
    def __repr__(self): return canary
    def __del__(self): raise OSError(canary)
held = Held(); del held
"""
UNCAUGHT = {
    "main": ("raise ValueError(canary)", "ValueError", 1),
    "thread": (THREAD, "KeyError", 0),
    "destructor": (DESTRUCTOR, "OSError", 0),
    "group": ("raise ExceptionGroup(canary, [ValueError(canary)])", "ExceptionGroup", 1),
    "note": ("error = ValueError(1); error.add_note(canary); raise error", "ValueError", 1),
    "library": ("int(canary)", "ValueError", 1),
}


@pytest.mark.parametrize("form", ["json", "text", None])
@pytest.mark.parametrize("where", UNCAUGHT)
def test_nothing_uncaught_prints_contents(form, where):
    """In every form of the log, and before there is one."""
    program, kind, code = UNCAUGHT[where]
    result = subprocess.run(
        [sys.executable, "-c", BEGIN + program, *([form] if form else [])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])},
    )
    assert result.returncode == code
    assert kind in result.stderr
    assert " at <string>:" in result.stderr
    assert CANARY not in result.stdout + result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_python_alone_would_print_contents():
    """The detector is not blind: without the hooks the canary is printed."""
    result = subprocess.run(
        [sys.executable, "-c", f"raise ValueError({CANARY!r})"], capture_output=True, text=True, check=False
    )
    assert CANARY in result.stderr


def test_an_error_that_was_never_raised_has_no_place():
    """Its type is all there is."""
    assert described(ValueError(CANARY)) == "ValueError"


def test_a_chain_of_causes_ends():
    """Of a long chain only the latest are told."""
    error: BaseException = ValueError(CANARY)
    for _ in range(50):
        following = RuntimeError(CANARY)
        following.__cause__ = error
        error = following
    assert described(error).count("RuntimeError") == 4


def cut_off() -> None:
    try:
        raise KeyError(CANARY)
    except KeyError:
        raise ValueError(CANARY) from None


def test_a_cause_that_was_cut_off_is_not_told():
    """`from None` holds for the log too."""
    with pytest.raises(ValueError, match=CANARY) as caught:
        cut_off()
    assert "KeyError" not in described(caught.value)
