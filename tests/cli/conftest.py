"""The command line in this process and in one of its own, and a server for all that talk to one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from blindai.cli.main import main
from tests import models
from tests.serving import running_server, server_environment


@dataclass(frozen=True)
class Done:
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def blindai(capsys) -> Callable[..., Done]:
    """Run `blindai ARGUMENTS` in this process: a process of its own takes longer than what it does."""

    def run(*arguments: str, **environment: str) -> Done:
        capsys.readouterr()  # what was printed before is not the command's
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            try:
                code = main(arguments)
            except SystemExit as leaving:  # argparse's way to end
                code = leaving.code
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def blindai_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `blindai ARGUMENTS` as people do, for what only a process shows."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "blindai", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=server_environment(**environment),
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A real, simulated server with a model of layers, one of numbers and one of strings."""
    folder = tmp_path_factory.mktemp("models")
    served = {"mlp": models.mlp(), "adder": models.adder(), "echo": models.identity("BYTES")}
    for name, model in served.items():
        (folder / f"{name}.onnx").write_bytes(model)
    with running_server({name: folder / f"{name}.onnx" for name in served}) as running:
        yield running
