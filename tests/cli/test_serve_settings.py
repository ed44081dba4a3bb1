"""`blindai serve`: its flags are settings like any others, and --check-config shows all of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from blindai.cli import serve
from blindai.cli.main import build_parser
from tests.serving import server_environment

KEY_ID = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"
FLAGS = {
    "server.host": ("--host", "10.0.0.1", "10.0.0.1"),
    "server.port": ("--port", "7", 7),
    "server.names": ("--name", "a.example", ["a.example"]),
    "server.tls_dir": ("--tls-dir", "tls", "tls"),
    "server.published_policy": ("--policy", "p.toml", "p.toml"),
    "limits.max_model_bytes": ("--max-model-mib", "3", 3 * 2**20),
    "limits.max_request_bytes": ("--max-request-mib", "2", 2 * 2**20),
    "metrics.address": ("--metrics", "127.0.0.1:9925", "127.0.0.1:9925"),
    "log.format": ("--log-format", "json", "json"),
}
SWITCHES = {
    "server.simulation": ("--simulation", True),
    "server.open": ("--open", True),
    "server.model_upload": ("--no-upload", False),
}


@pytest.fixture
def checked(blindai):
    """What --check-config --json says of a command line, with its exit code."""

    def check(*arguments, **environment):
        result = blindai("serve", "--check-config", "--json", *arguments, **environment)
        assert result.stdout, result.stderr
        return result.returncode, json.loads(result.stdout)

    return check


@pytest.fixture
def file(tmp_path):
    (tmp_path / "digits.onnx").write_bytes(b"onnx")
    path = tmp_path / "blindai.toml"
    path.write_text(
        "[server]\nsimulation = true\n\n[limits]\nmax_models = 5\n\n"
        f"[[callers]]\nname = 'alice'\nrole = 'owner'\nkey_sha256 = '{KEY_ID}'\n\n"
        f"[[models]]\npath = 'digits.onnx'\nvisibility = 'shared'\nshared_with = ['{KEY_ID}']\n"
    )
    return path


@pytest.mark.parametrize("key", FLAGS)
def test_flags_are_settings(checked, key):
    """Each named flag sets its key, says so, and leaves the others at their defaults."""
    flag, text, value = FLAGS[key]
    _, shown = checked("--simulation", flag, text)
    assert shown["settings"][key] == {"value": value, "from": "command line"}
    others = {name for name, entry in shown["settings"].items() if entry["from"] != "default"}
    assert others == {key, "server.simulation"}


@pytest.mark.parametrize("key", SWITCHES)
def test_switches_are_settings(checked, key):
    """A switch that is not given leaves the file's word."""
    flag, value = SWITCHES[key]
    _, shown = checked(flag)
    assert shown["settings"][key] == {"value": value, "from": "command line"}
    _, shown = checked()
    assert shown["settings"][key]["from"] == "default"


def test_the_store_needs_both_of_its_flags(blindai, tmp_path):
    """The path without the key is a mistake of the command line."""
    alone = blindai("serve", "--check-config", "--simulation", "--store", str(tmp_path))
    assert alone.returncode == 1
    assert "[store] path needs [store] key" in alone.stderr
    both = blindai(
        "serve",
        "--check-config",
        "--simulation",
        "--store",
        str(tmp_path),
        "--store-key",
        f"file:{tmp_path}/key",
    )
    assert both.returncode == 0, both.stderr


def test_a_file_with_all_its_values(checked, file):
    """Every key is there, with where it came from; what is unset of an entry is left out."""
    code, shown = checked("--config", str(file), BLINDAI_LIMITS_MAX_HEADERS="9")
    assert code == 0
    assert shown["problems"] == []
    settings = shown["settings"]
    assert settings["limits.max_models"] == {"value": 5, "from": "blindai.toml line 5"}
    assert settings["limits.max_headers"] == {"value": 9, "from": "BLINDAI_LIMITS_MAX_HEADERS"}
    assert settings["server.port"] == {"value": 9924, "from": "default"}
    assert settings["callers[0]"]["value"] == {
        "name": "alice",
        "role": "owner",
        "key_sha256": "2bd806c97f0e...",
        "namespace": "alice",
    }
    assert settings["models[0]"] == {
        "value": {
            "path": str(file.parent / "digits.onnx"),
            "name": "digits",
            "visibility": "shared",
            "shared_with": ["2bd806c97f0e..."],
        },
        "from": "blindai.toml line 12",
    }


def test_the_table_for_people(blindai, file):
    """The same as a table on stdout; no hash is there in full."""
    result = blindai("serve", "--check-config", "--config", str(file))
    assert result.returncode == 0
    assert result.stderr == ""
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["KEY", "VALUE", "FROM"]
    assert ["limits.max_models", "5", "blindai.toml", "line", "5"] in lines
    assert ["server.simulation", "true", "blindai.toml", "line", "2"] in lines
    assert ["store.path", "-", "default"] in lines
    assert KEY_ID not in result.stdout


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_problems_are_exit_code_1(blindai, file, form):
    """All values are shown all the same, and each problem is said on stderr."""
    (file.parent / "digits.onnx").unlink()
    result = blindai("serve", "missing.onnx", "--check-config", "--config", str(file), *form)
    assert result.returncode == 1
    assert "limits.max_models" in result.stdout
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["problem", "problem"]
    assert "there is no file missing.onnx" in result.stderr


def test_a_file_that_does_not_load(blindai, file):
    """The message has the line; nothing is shown, for nothing is known."""
    file.write_text("[limits]\nmax_modles = 3\n")
    result = blindai("serve", "--check-config", "--config", str(file))
    assert result.returncode == 1
    assert result.stdout == ""
    assert (
        'blindai.toml line 2: [limits] "max_modles" is not a known key; did you mean max_models?'
        in result.stderr
    )


def test_the_file_is_only_read_when_named(checked, file, monkeypatch):
    """blindai.toml in the current folder is not picked up."""
    monkeypatch.chdir(file.parent)
    _, shown = checked("--simulation")
    assert shown["settings"]["limits.max_models"] == {"value": 64, "from": "default"}


def test_set_takes_any_key(checked, file):
    """--set wins over the file and the environment, and can switch off what they switch on."""
    _, shown = checked(
        "--config", str(file), "--set", "limits.max_models=7", "--set", "server.simulation=false",
        BLINDAI_LIMITS_MAX_MODELS="6",
    )  # fmt: skip
    assert shown["settings"]["limits.max_models"] == {"value": 7, "from": "command line"}
    assert shown["settings"]["server.simulation"]["value"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "limits.max_models"), "--set needs a key and a value"),
        (("--set", "limits.max_models="), "limits.max_models must be an integer"),
        (("--set", "limits.max_modles=3"), "did you mean limits.max_models?"),
        (("--set", "models=a.onnx"), "stands in the file only: [models]"),
        (("--port", "7", "--set", "server.port=8"), "server.port is given twice"),
        (("--set", "log.level=info", "--set", "log.level=debug"), "log.level is given twice"),
        (("--max-model-mib", "0"), "limits.max_model_bytes must be at least 1"),
        (("--port", "65536"), "server.port must be between 0 and 65535"),
        (("a b.onnx",), "cannot be served as 'a b'"),
        (("x/a.onnx", "y/A.onnx"), "two models would be called 'a'"),
    ],
)
def test_command_lines_that_are_refused(blindai, arguments, said):
    """Each is exit code 1, before anything starts."""
    result = blindai("serve", "--check-config", "--simulation", *arguments)
    assert result.returncode == 1
    assert said in result.stderr


def test_no_flag_has_a_default_of_its_own():
    """A default in the parser would win over the file."""
    arguments = build_parser().parse_args(["serve"])
    assert serve._flags(arguments) == {}


HANGS_UP = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "blindai.server":
            print("hung up", flush=True)
            os.kill(os.getpid(), signal.SIGHUP)
sys.meta_path.insert(0, Finder())
from blindai.cli.main import main
sys.exit(main(["serve", "--config", "/nonexistent"]))
"""


def test_a_sighup_before_the_server_is_even_imported():
    """A tool that starts and reloads at once does not end it: it goes on, and says what is wrong."""
    done = subprocess.run(
        [sys.executable, "-c", HANGS_UP],
        capture_output=True, text=True, timeout=120, env=server_environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "hung up\n")
    assert "/nonexistent" in done.stderr
