"""`blindai keys new`: the key on stdout, what belongs into the settings on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest

from blindai.cli.keys import ROLES
from blindai.wire.api_key import key_id


def settings_of(stderr: str) -> dict:
    """The talk after its first line is what to paste."""
    return tomllib.loads(stderr.partition("\n")[2])


def test_the_key_alone_is_on_stdout(blindai):
    """A shell may send stdout to a file and be left with the key; stderr has the hash and not the key."""
    done = blindai("keys", "new", "--name", "alice")
    assert done.returncode == 0
    key = done.stdout.removesuffix("\n")
    assert key.startswith("blindai_")
    assert "\n" not in key
    assert key not in done.stderr
    assert "kept nowhere else" in done.stderr
    assert settings_of(done.stderr) == {
        "callers": [{"name": "alice", "role": "owner", "namespace": "alice", "key_sha256": key_id(key)}]
    }


def test_without_a_name(blindai):
    """The hash alone, for somebody who has an entry already."""
    done = blindai("keys", "new")
    assert settings_of(done.stderr) == {"key_sha256": key_id(done.stdout.strip())}


@pytest.mark.parametrize(
    ("arguments", "entry"),
    [
        (("--role", "user"), {"role": "user", "namespace": "alice"}),
        (("--role", "user", "--namespace", "bob"), {"role": "user", "namespace": "bob"}),
        (("--role", "admin"), {"role": "admin"}),
        (("--role", "admin", "--namespace", "ops"), {"role": "admin", "namespace": "ops"}),
    ],
)
def test_roles_and_namespaces(blindai, arguments, entry):
    """A namespace is by default called like its holder; an admin has none."""
    [caller] = settings_of(blindai("keys", "new", "--name", "alice", *arguments).stderr)["callers"]
    assert caller.pop("key_sha256")
    assert caller == {"name": "alice", **entry}


def test_json(blindai):
    """A program gets the key and the entry in one document, and no talk."""
    done = blindai("keys", "new", "--name", "alice", "--role", "admin", "--json")
    value = json.loads(done.stdout)
    assert done.stderr == ""
    assert value == {
        "key": value["key"],
        "name": "alice",
        "role": "admin",
        "key_sha256": key_id(value["key"]),
    }
    assert set(json.loads(blindai("keys", "new", "--json").stdout)) == {"key", "key_sha256"}


def test_no_two_alike(blindai):
    """Each key is new."""
    assert len({blindai("keys", "new").stdout for _ in range(5)}) == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ("--name", ""),
        ("--name", "Alice"),
        ("--name", 'a"\nrole = "admin'),
        ("--name", "аlice"),  # noqa: RUF001 - a Cyrillic a
        ("--name", "alice", "--namespace", "../bob"),
        ("--name", "alice", "--role", "root"),
        ("--role", "admin"),
        ("--namespace", "alice"),
    ],
)
def test_what_is_refused(blindai, arguments):
    """Names that the server would refuse, roles that there are not and half an entry make no key."""
    done = blindai("keys", "new", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""


def test_the_roles_are_those_of_the_server():
    """The command line names them itself, since it works without the server."""
    from blindai.server.callers.caller import Role  # noqa: PLC0415

    assert set(ROLES) == set(Role)


def test_the_server_is_not_needed():
    """Making a key loads nothing of the server, nor what only a server has installed."""
    code = (
        "import sys; from blindai.cli.main import main; main(['keys', 'new']); "
        "print([m for m in sys.modules if m.split('.')[0] in ('joserfc', 'uvicorn', 'onnxruntime') "
        "or m.startswith(('blindai.server', 'blindai.store'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ},
        check=True,
    )
    assert done.stdout.splitlines()[1] == "[]"


def test_a_key_in_a_file_is_its_users_alone(blindai, tmp_path):
    """`--out` writes the key for nobody else to read, never over another, and shows it nowhere."""
    path = tmp_path / "alice.key"
    result = blindai("keys", "new", "--name", "alice", "--out", str(path))
    key = path.read_text().strip()
    assert result.returncode == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert key_id(key) in result.stderr
    assert key not in result.stdout + result.stderr
    again = blindai("keys", "new", "--out", str(path))
    assert again.returncode == 1
    assert path.read_text().strip() == key
