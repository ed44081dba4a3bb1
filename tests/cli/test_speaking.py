"""What the commands print, whoever chose the words."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from blindai.channel import keyset
from blindai.cli import output
from blindai.cli.predict import parse_inputs
from blindai.errors import EvidenceMalformed, UsageError
from blindai.testing import CapturingPeer, FakeTdx, http_response, make_answer
from tests.serving import server_environment

ESCAPES = "\x1b]0;owned\x07\x9b2J"
SERVER = {"name": "s", "version": "1", "extensions": []}


@pytest.fixture(scope="module")
def tdx():
    return FakeTdx()


def _peer(tdx, reply, status=200, **lies):
    def answer(nonce):
        return http_response(
            make_answer(
                tdx,
                nonce=nonce,
                tls_spki_sha256=peer.spki_sha256,
                now=int(time.time()),
                names=("127.0.0.1",),
                **lies,
            )
        )

    peer = CapturingPeer(answer, response=http_response(json.dumps(reply).encode(), status))
    return peer


def _predict(blindai, peer, *options):
    return blindai("predict", f"127.0.0.1:{peer.port}", "m", "--simulation", "--input", "x=@x.npy", *options)


def test_an_unattested_peer_cannot_steer_the_terminal(blindai, tdx):
    """The text about a keyset that does not parse holds nothing of the peer's."""

    def lie(raw):
        return json.dumps({**json.loads(raw), "settings": {ESCAPES: None}}).encode()

    with _peer(tdx, SERVER, sent_keyset=lie) as peer:
        done = blindai("verify", f"127.0.0.1:{peer.port}", "--simulation")
    assert done.returncode == 4
    assert not set("\x1b\x9b") & set(done.stdout + done.stderr)


def test_a_keysets_error_does_not_quote_it():
    """Also not to callers of the library, who log it."""
    raw = {
        "version": 1,
        "names": ["a"],
        "tls_spki_sha256": "A" * 43,
        "receipt_key": "A" * 43,
        "not_before": 0,
        "not_after": 1,
        "software": {"version": "1", "source_sha256": "0"},
        "settings": {"CANARY": None},
        "simulated": True,
    }
    with pytest.raises(EvidenceMalformed) as refusal:
        keyset.parse(json.dumps(raw).encode())
    assert "CANARY" not in str(refusal.value)


def test_a_servers_error_cannot_steer_the_terminal(blindai, tdx):
    """An error body, whose words a model's author may have chosen, is printed without control characters."""
    with _peer(tdx, {"error": f"no {ESCAPES}", "code": "x"}, status=404) as peer:
        done = blindai("models", "list", f"127.0.0.1:{peer.port}", "--simulation")
    assert done.returncode == 5
    assert not set("\x1b\x9b") & set(done.stdout + done.stderr)


def test_names_of_outputs_cannot_steer_the_terminal(blindai, tdx, tmp_path, monkeypatch):
    """An ONNX file's author chooses the names of its outputs."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros(1, "f4"))
    output = {"name": ESCAPES, "datatype": "FP32", "shape": [1], "data": [1.0]}
    with _peer(tdx, {**SERVER, "model_name": "m", "outputs": [output]}) as peer:
        done = _predict(blindai, peer)
    assert done.returncode == 0, done.stderr
    assert not set("\x1b\x9b") & set(done.stdout + done.stderr)


def test_json_output_is_json_also_for_what_is_not_a_number(blindai, tdx, tmp_path, monkeypatch):
    """NaN is null, as in the protocol: JSON has no word for it."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros(1, "f4"))
    output = {"name": "y", "datatype": "FP32", "shape": [2], "data": [1.0, None]}
    with _peer(tdx, {**SERVER, "model_name": "m", "outputs": [output]}) as peer:
        done = _predict(blindai, peer, "--json")

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    assert json.loads(done.stdout, parse_constant=refuse) == {"y": [1.0, None]}


def test_a_verdict_needs_no_unicode_to_be_told(blindai_process, tdx):
    """A pipe without box drawing characters gets the verdict, and the caller its exit code."""
    with _peer(tdx, SERVER) as peer:
        done = blindai_process(
            "verify", f"127.0.0.1:{peer.port}", "--simulation", PYTHONIOENCODING="ascii", PYTHONUTF8="0"
        )
    assert done.returncode == 0, done.stderr
    assert "accepted: SIMULATED tdx" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_stream_gets_what_it_has_characters_for(monkeypatch, encoding):
    """Also a console of Windows: what it lacks is a question mark, and the rest arrives."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    output.data("├─ é")
    told = {"ascii": "?? ?\n", "cp1252": "?? é\n", "utf-8": "├─ é\n"}
    assert written.getvalue().decode(encoding) == told[encoding]


def test_one_file_for_both_has_the_order_of_what_was_said(tmp_path):
    """With `2>&1` the verdict stands before the error that it ends in."""
    (tmp_path / "bundle.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "blindai", "verify", "bundle.json", "--simulation-root", "ab" * 32],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        env=server_environment(),
        timeout=120,
        check=False,
    )
    assert done.returncode == 4
    assert done.stdout.startswith(b"REFUSED")
    assert b"error:" in done.stdout


@pytest.mark.parametrize("name", ["timeout_seconds", "attestation_timeout_seconds"])
def test_a_hint_speaks_the_command_lines_language(capsys, name):
    """What is an argument of a function to the library is a flag here."""
    output.failure(UsageError("too slow", hint=f"raise {name} if it is this slow"))
    assert capsys.readouterr().err == "error: too slow\nhint: raise --timeout if it is this slow\n"


def test_a_reader_that_has_gone_is_no_error():
    """`blindai measure | head -1` ends in silence: there is nobody to tell."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "blindai", "measure"],
            stdout=write,
            stderr=subprocess.PIPE,
            env=server_environment(),
            timeout=120,
            check=False,
        )
    finally:
        os.close(write)
    assert done.returncode == 0
    assert b"Broken pipe" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_verify_sends_no_request(blindai, tdx):
    """Whoever only looks at a server does not log in to it, and asks it for nothing but evidence."""
    with _peer(tdx, SERVER) as peer:
        done = blindai("verify", f"127.0.0.1:{peer.port}", "--simulation", BLINDAI_API_KEY="CANARY")
        peer.wait()
    assert done.returncode == 0
    assert peer.request_bytes == b""
    assert all(b"CANARY" not in connection.attestation_request for connection in peer.connections)


def test_an_empty_root_does_not_mean_any_root(blindai, tdx):
    """`--simulation-root "$UNSET"` is an error and does not fall back to whatever root is stapled."""
    with _peer(tdx, SERVER) as peer:
        done = blindai("verify", f"127.0.0.1:{peer.port}", "--simulation", "--simulation-root", "")
        assert peer.connections == []
    assert done.returncode == 1


def test_broken_input_files_are_usage_errors(tmp_path):
    """Empty, too deep, far too large, or an archive under a .npy name: said in one line."""
    (tmp_path / "empty.npy").touch()
    (tmp_path / "deep.json").write_text("[" * 100_000)
    np.savez(tmp_path / "archive.npz", a=np.zeros(2))
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    with (tmp_path / "huge.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
        )
    for name in ("empty.npy", "deep.json", "archive.npy", "huge.npy"):
        with pytest.raises(UsageError):
            parse_inputs([f"x=@{tmp_path / name}"])
