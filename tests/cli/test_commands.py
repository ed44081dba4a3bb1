"""The command line as people and scripts use it: what goes to stdout, to stderr, and the exit code."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests import models


@pytest.fixture
def policy(server, tmp_path):
    """The policy of the code that runs."""
    path = tmp_path / "policy.toml"
    path.write_text(server.ready["policy"])
    return str(path)


def test_verify_prints_the_verdict(blindai_process, server, policy):
    """An accepted server: exit 0, the tree on stdout, the warning on stderr."""
    result = blindai_process("verify", server.address, "--policy", policy, "--simulation")
    assert result.returncode == 0
    assert result.stdout.startswith("accepted: SIMULATED tdx")
    assert "SIMULATION" in result.stderr


def test_verify_speaks_json(blindai, server, policy):
    """--json is one document with EAR's words and every claim."""
    result = blindai("verify", server.address, "--policy", policy, "--simulation", "--json")
    verdict = json.loads(result.stdout)
    assert verdict["ear.status"] == "affirming"
    assert ("rtmr2", "pass") in [(claim["claim"], claim["outcome"]) for claim in verdict["claims"]]


def test_other_code_is_exit_code_3_with_the_verdict(blindai_process, server, policy, tmp_path):
    """A rejection prints which claim differs, and a hint; the process ends with the code."""
    other = tmp_path / "other.toml"
    text = server.ready["policy"]
    digest = next(line for line in text.splitlines() if line.startswith("rtmr2"))
    other.write_text(text.replace(digest, f'rtmr2 = "{"00" * 48}"'))
    result = blindai_process("verify", server.address, "--policy", str(other), "--simulation")
    assert result.returncode == 3
    assert "FAIL    rtmr2" in result.stdout
    assert "measurement-mismatch" in result.stderr
    assert "hint:" in result.stderr


def test_forged_evidence_is_exit_code_4(blindai, server, policy):
    """A root that nobody trusts is evidence that does not hold."""
    result = blindai("verify", server.address, "--policy", policy)
    assert result.returncode == 4
    assert "root-unknown" in result.stderr
    assert result.stdout.startswith("REFUSED: unknown\n")


def test_nobody_there_is_exit_code_2(blindai):
    """An unreachable server is told apart from a bad one."""
    result = blindai("verify", "127.0.0.1:1", "--simulation")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "arguments",
    [(), ("nonsense",), ("verify",), ("verify", "localhost"), ("verify", "localhost", "--policy", "/none")],
)
def test_usage_errors_are_exit_code_1(blindai, arguments):
    """Wrong words, missing demands and unreadable files end with 1 and say what to do."""
    result = blindai(*arguments)
    assert result.returncode == 1
    assert "hint:" in result.stderr or "error:" in result.stderr
    assert "Traceback" not in result.stderr


def test_measure_prints_a_policy_that_accepts_this_code(blindai, server):
    """The measurement of these sources is what the running server reports."""
    result = blindai("measure")
    assert result.stdout == server.ready["policy"]
    assert "SIMULATION" in result.stderr
    assert json.loads(blindai("measure", "--json").stdout)["simulated"] is True


def test_models_are_listed_uploaded_and_deleted(blindai, server, tmp_path):
    """The three actions, in text and JSON, silent about progress when piped."""
    path = tmp_path / "fresh.onnx"
    path.write_bytes(models.identity("FP32"))
    uploaded = blindai("models", "upload", server.address, str(path), "--simulation", "--json")
    assert json.loads(uploaded.stdout)["name"] == "fresh"
    assert "uploading" not in uploaded.stderr
    assert "fresh" in blindai("models", "list", server.address, "--simulation").stdout
    names = json.loads(blindai("models", "list", server.address, "--simulation", "--json").stdout)
    assert {"fresh", "mlp"} <= {entry["name"] for entry in names}
    assert blindai("models", "delete", server.address, "fresh", "--simulation").returncode == 0
    gone = blindai("models", "delete", server.address, "fresh", "--simulation")
    assert (gone.returncode, "no such model" in gone.stderr) == (5, True)


def test_predict_takes_json_and_files(blindai, server, tmp_path):
    """A value is JSON, or a file; the name may be left out for one input."""
    array = np.array([[1, 2, 3, 4]], np.float32)
    expected = models.mlp_scores(array)
    file = tmp_path / "x.npy"
    np.save(file, array)
    for given in ("[[1, 2, 3, 4]]", f"@{file}"):
        result = blindai("predict", server.address, "mlp", "--simulation", "--input", given, "--json")
        scores = next(iter(json.loads(result.stdout).values()))
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_predict_refuses_pickles(blindai, server, tmp_path):
    """A .npy file that holds objects would run code when loaded."""
    file = tmp_path / "evil.npy"
    np.save(file, np.array([{}], object), allow_pickle=True)
    result = blindai("predict", server.address, "mlp", "--simulation", "--input", f"@{file}")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr


def test_a_saved_certificate_is_the_servers(blindai, server, tmp_path):
    """--save-certificate leaves what tools that pin a certificate need."""
    path = tmp_path / "server.pem"
    assert blindai("verify", server.address, "--simulation", "--save-certificate", str(path)).returncode == 0
    assert path.read_text() == server.ready["certificate_pem"]


def test_serve_refuses_to_start_without_a_tee(blindai_process):
    """No TEE and no --simulation: it says what it looked for and what to do."""
    result = blindai_process("serve", "--port", "0")
    assert result.returncode == 1
    assert "--simulation" in result.stderr
    assert "/dev/" in result.stderr


HOSTILE = ("SSLKEYLOGFILE", "OPENSSL_CONF", "OPENSSL_MODULES", "LD_AUDIT")
NOTHING = "/tmp/nothing"  # noqa: S108


@pytest.mark.parametrize("variable", HOSTILE)
def test_serve_refuses_a_hostile_environment(blindai, variable):
    """Variables that would leak or replace the TLS library's keys and code keep it from starting."""
    # The model that is missing ends a command that did not refuse, which would serve for ever.
    result = blindai("serve", "/nonexistent.onnx", "--simulation", "--port", "0", **{variable: NOTHING})
    assert result.returncode == 1
    assert variable in result.stderr


def test_a_process_in_a_hostile_environment_does_not_serve(blindai_process):
    """With all of them set while Python itself starts, it still gets as far as to say so."""
    result = blindai_process("serve", "--simulation", "--port", "0", **dict.fromkeys(HOSTILE, NOTHING))
    assert result.returncode == 1
    assert any(variable in result.stderr for variable in HOSTILE)
    assert "Traceback" not in result.stderr


def test_help_names_every_verb(blindai):
    """--help is complete and ends with 0."""
    result = blindai("--help")
    assert result.returncode == 0
    for verb in ("serve", "verify", "predict", "models", "measure", "policy", "collateral"):
        assert verb in result.stdout
