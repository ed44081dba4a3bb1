"""What is installed: a wheel built without a network, and an environment made by one script."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import blindai
from tests.repository.tree import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=60,
        # An address that nothing answers: the build must not need an index.
        env={**os.environ, "PIP_NO_INDEX": "1"},
    )
    (built,) = folder.iterdir()
    return zipfile.Path(built)


def test_the_wheel_is_pure_and_holds_what_it_must(wheel: zipfile.Path) -> None:
    """The wheel is for every platform and carries the type marker, the licence and the command."""
    version = blindai.__version__
    assert wheel.name == f"blindai-{version}-py3-none-any.whl"
    information = wheel / f"blindai-{version}.dist-info"
    assert (wheel / "blindai" / "py.typed").exists()
    assert (information / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert "blindai = blindai.cli.main:main" in (information / "entry_points.txt").read_text("utf-8")
    assert {path.name for path in wheel.iterdir()} == {"blindai", information.name}


def test_make_help_lists_each_verb_on_one_line() -> None:
    """`make` without a verb explains the verbs, and installs nothing to do so."""
    result = subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    listed = [line.split()[1] for line in result.stdout.splitlines()]
    assert listed == [
        "help", "demo", "test", "test-system", "check", "fuzz", "mutate", "soak", "bench",
        "bench-verification",
        "bench-server", "docs", "lock", "clean",
    ]  # fmt: skip


def test_an_old_python_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """With a Python that is too old the environment is not made, and the answer says what to do."""
    old = tmp_path / "python3.9"
    old.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit 0\nexit 1\n', encoding="utf-8"
    )
    old.chmod(0o755)
    result = _environment(tmp_path, python=str(old))
    assert result.returncode == 1
    assert "needs Python 3.11 or newer" in result.stderr
    assert "Python 3.9.2" in result.stderr
    assert "hint: " in result.stderr
    assert not (tmp_path / "checkout" / ".venv").exists()


def test_a_missing_python_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """With no Python at all the answer is the same sentence, not a shell's."""
    result = _environment(tmp_path, python=str(tmp_path / "nowhere"))
    assert result.returncode == 1
    assert "needs Python 3.11 or newer" in result.stderr


def _environment(tmp_path: Path, *, python: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/environment.sh in a checkout without an environment."""
    checkout = tmp_path / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    (checkout / "requirements").mkdir()
    (checkout / "requirements" / "runtime.txt").touch()
    (checkout / "pyproject.toml").touch()
    script = checkout / "scripts" / "environment.sh"
    script.write_bytes((ROOT / "scripts" / "environment.sh").read_bytes())
    return subprocess.run(
        ["sh", str(script), "runtime"],
        env={**os.environ, "PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
