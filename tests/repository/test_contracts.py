"""The import contracts hold, and each of them finds the violation that it is there for."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.repository.tree import ROOT, SOURCE

LINT = "from importlinter.cli import lint_imports_command as lint; lint()"


@dataclass(frozen=True)
class Seed:
    """A line appended to a file of the package, which `contract` must find."""

    contract: str
    file: str
    line: str


SEEDS = (
    Seed("floors", "attestation/policy.py", "from blindai.channel import keyset"),
    Seed("floors", "client/sync.py", "from blindai.server import lifecycle"),
    Seed("floors", "runtime/engine.py", "from blindai.tee import attester"),
    Seed("floors", "errors.py", "from blindai.wire import base64url"),
    Seed("floors", "cupboard/__init__.py", "# a floor that stands nowhere in the house"),
    Seed("vendors", "attestation/amd/__init__.py", "from blindai.attestation.intel import quote"),
    Seed("vendors", "attestation/trust.py", "from blindai.attestation import vendors"),
    Seed("vendors-inside", "channel/handshake.py", "from blindai.attestation.intel import tdx"),
    Seed("pure", "channel/keyset.py", "import socket"),
    Seed("pure", "attestation/verifier.py", "def _late() -> None:\n    import time"),
    Seed("pure", "wire/dtypes.py", "from urllib.request import urlopen"),
    Seed("pure", "errors.py", "import logging"),
    Seed("client-side", "client/calls.py", "from blindai import server"),
    Seed("client-side", "transport/sync.py", "from blindai.runtime import engine"),
    Seed("client-side", "transport/tls.py", "from blindai.tee import detect"),
    Seed("portable", "transport/tls.py", "import fcntl"),
)


def test_the_package_keeps_every_contract() -> None:
    """The package as it is breaks no contract."""
    result = _lint(ROOT / "src", "--no-cache")
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed.contract}-{seed.file}")
def test_a_seeded_violation_breaks_its_contract(seed: Seed, tmp_path: Path) -> None:
    """One forbidden import, added to a copy of the package, fails the contract that forbids it."""
    package = tmp_path / "blindai"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    file = package / seed.file
    file.parent.mkdir(exist_ok=True)
    with file.open("a", encoding="utf-8") as opened:
        opened.write(f"\n\n{seed.line}\n")
    result = _lint(tmp_path, "--no-cache", "--contract", seed.contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout
    assert Path(seed.file).with_suffix("").parts[-1].replace("__init__", file.parent.name) in result.stdout


def test_every_contract_has_a_seed() -> None:
    """A contract that no seed breaks might forbid nothing at all."""
    prefix = "importlinter:contract:"
    contracts = {name.removeprefix(prefix) for name in _contracts().sections() if name.startswith(prefix)}
    assert contracts == {seed.contract for seed in SEEDS}


def test_no_floor_beside_the_client_is_forgotten() -> None:
    """Every floor off the client's import path is forbidden to the client by name."""
    on_the_path = {"client", "transport", "channel", "attestation", "wire"}
    floors = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
    forbidden = _contracts()["importlinter:contract:client-side"]["forbidden_modules"].split()
    assert {f"blindai.{floor}" for floor in floors - on_the_path} <= set(forbidden)


def _contracts() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter", encoding="utf-8")
    return config


def _lint(source: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The working folder comes before PYTHONPATH in import-linter's search, so it must not hold the package.
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-logo", "--config", str(ROOT / ".importlinter"), *arguments],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
