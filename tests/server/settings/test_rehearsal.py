"""What is wrong with settings is said without starting: all of it at once, and nothing is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blindai.server import rehearsal
from blindai.server.settings import CallerSettings, JwtSettings, ModelSettings, Settings
from tests.server.settings.conftest import KEY_ID

ALICE = CallerSettings("alice", "owner", KEY_ID)


def problems(**given):
    return rehearsal.problems(Settings(**{"simulation": True, **given}), {"PATH": "/bin"})


def model(path: Path, size_bytes: int = 3) -> ModelSettings:
    path.write_bytes(bytes(size_bytes))
    return ModelSettings(str(path))


def test_settings_that_are_ready(tmp_path):
    """Files that exist and a store that is still to be made are no problem, and stay as they are."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        "version = 1\n[[accept]]\ntee = 'sev-snp'\nmeasurement = '" + "ab" * 48 + "'\nboot = 'direct'\n"
        "product = 'Genoa'\nmin_tcb = { bootloader = 4, tee = 0, snp = 22, microcode = 213 }\n"
    )
    given = {
        "callers": (ALICE,),
        "models": (model(tmp_path / "a.onnx"), model(tmp_path / "b.onnx")),
        "published_policy": str(policy),
        "store_path": str(tmp_path / "store"),
        "store_key": f"file:{tmp_path}/key",
    }
    before = sorted(tmp_path.iterdir())
    assert problems(**given) == ()
    assert sorted(tmp_path.iterdir()) == before


def test_every_problem_is_said_at_once(tmp_path):
    """One run shows all that is to be repaired."""
    (tmp_path / "file").touch()
    found = problems(
        models=(ModelSettings(str(tmp_path / "a.onnx")), ModelSettings(str(tmp_path / "b.onnx"))),
        store_path=str(tmp_path / "file"),
        store_key="file:/key",
        published_policy=str(tmp_path / "policy.toml"),
        names=("*.example",),
    )
    expected = ["a name that clients dial", "policy.toml cannot be read", "[store] path", "a.onnx", "b.onnx"]
    assert len(found) == len(expected)
    for said, part in zip(found, expected, strict=True):
        assert part in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"simulation": False}, "no callers are configured"),
        ({"host": "10.0.0.1"}, "no callers are configured"),
        ({"open": True, "callers": (ALICE,)}, "has callers"),
        (
            {"callers": (ALICE, CallerSettings("bob", "user", KEY_ID))},
            "alice and bob have the same key_sha256",
        ),
        ({"jwt": JwtSettings("/nowhere/keys.json", "https://issuer.example")}, "JWKS"),
        ({"store_path": "/nowhere/store", "store_key": "file:/key"}, "there is no folder /nowhere"),
        ({"store_path": "/proc/store", "store_key": "file:/key"}, "/proc cannot be written to"),
        ({"store_path": "/", "store_key": "file:/nowhere/key"}, "[store] key: there is no folder /nowhere"),
        ({"store_path": "/", "store_key": "vtpm:/nowhere/key"}, "[store] key: there is no folder /nowhere"),
        ({"collateral_path": "/proc/nope"}, "[collateral] path: /proc cannot be written to"),
        ({"collateral_amd_url": "azure"}, "[collateral] amd_url: "),
        ({"store_path": "/", "store_key": "snip"}, "none of those that exist (did you mean snp?)"),
        ({"store_path": "/", "store_key": "file:key"}, "needs the absolute path"),
        (
            {"simulation": False, "open": True, "store_path": "/", "store_key": "file:/key"},
            "needs --simulation",
        ),
    ],
)
def test_what_would_keep_it_from_starting(given, said):
    """Who may call, whose tokens, which key: by the same rules that the start has."""
    (found,) = problems(**given)
    assert said in found


def test_models_over_the_limits(tmp_path):
    """One that is too large, and several that are too large together, or too many."""
    models = (model(tmp_path / "a.onnx", 3), model(tmp_path / "b.onnx", 4))
    assert problems(models=models, max_model_bytes=4, max_total_model_bytes=7) == ()
    (large,) = problems(models=models, max_model_bytes=3)
    assert "b.onnx is over the limit of 3 bytes" in large
    (together,) = problems(models=models, max_total_model_bytes=6)
    assert "7 bytes together, over the limit of 6" in together
    (many,) = problems(models=models, max_models=1)
    assert "2 models are over the limit of 1" in many


def test_a_model_that_is_no_file(tmp_path):
    """A folder, and a pipe that would never end, are told from a file."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        (found,) = problems(models=(ModelSettings(str(path), name="a"),))
        assert found == f"there is no file {path}"


def test_an_environment_that_keeps_it_from_starting():
    """The variables that the server refuses are refused here too."""
    (found,) = rehearsal.problems(Settings(simulation=True), {"SSLKEYLOGFILE": "/keys"})
    assert "SSLKEYLOGFILE" in found
