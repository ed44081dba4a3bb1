"""Shared by all tests: the home of whoever runs them is neither read nor written."""

from __future__ import annotations

import os
import sys

import pytest

# Where Python may keep no compiled modules, every server that a test starts would compile all of them again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory):
    """A state folder of this run, also for the processes that tests start: roll-back floors go there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
