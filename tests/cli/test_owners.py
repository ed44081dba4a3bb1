"""The command line's verbs about whose a model is: columns, keys from files, proofs on disk."""

from __future__ import annotations

import hashlib
import json

import pytest

from blindai.cli import caller, connection
from blindai.cli.parser import Parser
from blindai.client.receipts import verify_receipt
from blindai.errors import UsageError
from blindai.testing import http_response
from blindai.wire.access import CallerInfo
from tests.signing_peer import SigningPeer

SERVER = json.dumps({"name": "s", "version": "1", "extensions": []}).encode()
ALICE, BOB = "a1" * 32, "b2" * 32
PLAIN = {"name": "m", "version": "1", "state": "READY", "reason": "", "sha256": "ab" * 32, "size_bytes": 5}
OWNED = {**PLAIN, "name": "alice/m", "visibility": "shared", "shared_with": [BOB], "last_used": 1790000000}
OUTPUT = {"name": "y", "datatype": "FP32", "shape": [1], "data": [2.0]}
ANSWER = json.dumps({"model_name": "m", "outputs": [OUTPUT]}).encode()


@pytest.fixture
def peer():
    """A server that answers every request as `peer.respond` says."""
    with SigningPeer(lambda _: http_response(SERVER)) as serving:
        yield serving


def _answers(peer, value, status=200):
    """Answer the greeting as a server does, and all else with `value`, signed if that was asked for."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    peer.respond = lambda asked: (
        http_response(SERVER) if asked.line == "GET /v2" else peer.signed(asked, body, status)
    )


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"model")
    return path


DIGEST = hashlib.sha256(b"model").hexdigest()


def test_the_list_shows_owners_where_the_server_has_any(blindai, peer):
    """Visibility and last use are columns of their own; a server that knows neither has neither."""
    _answers(
        peer, [OWNED, {**OWNED, "name": "bob/n", "visibility": "private", "shared_with": [], "last_used": 0}]
    )
    done = blindai("models", "list", peer.address, "--simulation")
    heading, first, second = done.stdout.splitlines()
    assert heading.split() == [
        *("NAME", "VERSION", "STATE", "VISIBILITY"),
        *("LAST", "USED", "BYTES", "SHA-256"),
    ]
    assert first.split() == ["alice/m", "1", "READY", "shared", "(1)", "2026-09-21T14:13Z", "5", "ab" * 32]
    assert second.split()[3:5] == ["private", "never"]
    _answers(peer, [PLAIN])
    done = blindai("models", "list", peer.address, "--simulation")
    assert "VISIBILITY" not in done.stdout


def test_a_year_that_no_calendar_has(blindai, peer):
    """A server's number is not the end of the command."""
    _answers(peer, [{**OWNED, "last_used": 10**18}])
    done = blindai("models", "list", peer.address, "--simulation")
    assert (done.returncode, "?" in done.stdout) == (0, True)


def test_an_upload_with_all_that_can_be_said(blindai, peer, model, tmp_path):
    """The options arrive as headers, and the proof lies where it was wanted, for its owner alone."""
    claims = {"model_sha256": DIGEST, "model": "alice/m"}
    peer.respond = lambda asked: (
        http_response(SERVER)
        if asked.line == "GET /v2"
        else peer.signed(asked, json.dumps({**OWNED, "sha256": DIGEST}).encode(), **claims)
    )
    proof = tmp_path / "proof.json"
    done = blindai(
        *("models", "upload", peer.address, str(model), "--simulation", "--name", "alice/m"),
        *("--visibility", "shared", "--share-with", ALICE, "--share-with", BOB),
        *("--allow-sealing", "gramine-mrsigner", "--receipt", str(proof)),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"alice/m {DIGEST}\n"
    assert str(proof) in done.stderr
    headers = peer.asked[-1].headers
    assert headers["blindai-visibility"] == "shared"
    assert headers["blindai-share-with"] == f"{ALICE},{BOB}"
    assert headers["blindai-allow-sealing"] == "gramine-mrsigner"
    assert proof.stat().st_mode & 0o077 == 0
    assert verify_receipt(proof, simulation=peer.root, request_body=model).request_compared


def test_sharing_loading_and_unloading(blindai, peer):
    """Each says what it did, or prints it as JSON."""
    _answers(peer, OWNED)
    given = ("alice/m", "--visibility", "shared", "--share-with", BOB, "--simulation")
    done = blindai("models", "share", peer.address, *given)
    assert "alice/m is shared (1)" in done.stderr
    done = blindai("models", "share", peer.address, *given, "--json")
    assert json.loads(done.stdout)["shared_with"] == [BOB]
    for verb in ("load", "unload"):
        done = blindai("models", verb, peer.address, "alice/m", "--simulation", "--json")
        assert json.loads(done.stdout) == {f"{verb}ed": "alice/m"}
        assert peer.asked[-1].line == f"POST /v2/repository/models/alice%2Fm/{verb}"


def test_a_visibility_that_there_is_none_of(blindai, peer):
    """The error names the three words as one writes them."""
    done = blindai("models", "share", peer.address, "m", "--simulation", "--visibility", "everybody")
    assert done.returncode == 1
    assert "'private', 'shared', 'public'" in done.stderr
    assert peer.connections == []


def test_a_prediction_leaves_its_proof(blindai, peer, tmp_path):
    """With the bodies in it only if they were wanted there."""
    _answers(peer, ANSWER)
    spec = {"name": "x", "datatype": "FP32", "shape": [-1]}
    described = json.dumps({"name": "m", "platform": "onnx", "inputs": [spec], "outputs": []}).encode()
    respond = peer.respond
    peer.respond = lambda asked: (
        peer.signed(asked, described) if asked.line == "GET /v2/models/m" else respond(asked)
    )
    proof = tmp_path / "proof.json"
    predict = ("predict", peer.address, "m", "--simulation", "--input", "[1]", "--receipt", str(proof))
    for options, compared in (((), False), (("--receipt-bodies",), True)):
        done = blindai(*predict, *options)
        assert (done.returncode, done.stdout) == (0, "y: [2.]\n"), done.stderr
        assert verify_receipt(proof, simulation=peer.root).request_compared is compared


def test_a_refusal_leaves_its_proof(blindai, peer, model, tmp_path):
    """The exit code is the refusal's, and its proof is on disk, or it is said why not."""
    peer.respond = lambda asked: (
        http_response(SERVER)
        if asked.line == "GET /v2"
        else peer.signed(asked, b'{"error": "no", "code": "forbidden"}', 403, model=None, model_sha256=None)
    )
    proof = tmp_path / "proof.json"
    upload = ("models", "upload", peer.address, str(model), "--simulation", "--receipt")
    done = blindai(*upload, str(proof))
    assert done.returncode == 5
    assert "hint:" in done.stderr
    assert verify_receipt(proof, simulation=peer.root).receipt.status == 403
    done = blindai(*upload, str(tmp_path / "none" / "proof.json"))
    assert done.returncode == 5
    assert "cannot write the proof" in done.stderr


def test_an_answer_is_printed_although_its_proof_cannot_be_written(blindai, peer, tmp_path):
    """What the model said is not lost with the file."""
    _answers(peer, ANSWER)
    file = tmp_path / "x.json"
    file.write_text("[1.0]")
    missing = str(tmp_path / "none" / "proof.json")
    spec = {"name": "x", "datatype": "FP32", "shape": [-1]}
    described = json.dumps({"name": "m", "platform": "onnx", "inputs": [spec], "outputs": []}).encode()
    respond = peer.respond
    peer.respond = lambda asked: (
        peer.signed(asked, described) if asked.line == "GET /v2/models/m" else respond(asked)
    )
    done = blindai("predict", peer.address, "m", "--simulation", "--input", f"@{file}", "--receipt", missing)
    assert (done.returncode, done.stdout) == (1, "y: [2.]\n")


def test_bodies_need_a_proof_to_go_into(blindai, peer):
    """Said before anything is sent."""
    done = blindai("predict", peer.address, "m", "--simulation", "--input", "[1]", "--receipt-bodies")
    assert done.returncode == 1
    assert peer.connections == []


def test_an_api_key_from_a_file(blindai, peer, tmp_path):
    """A line break at its end is no part of it; the file goes before the environment."""
    _answers(peer, [])
    file = tmp_path / "key"
    file.write_text("from-file\n")
    file.chmod(0o600)
    listing = ("models", "list", peer.address, "--simulation")
    done = blindai(*listing, "--api-key-file", str(file), BLINDAI_API_KEY="from-environment")
    assert done.returncode == 0
    assert "chmod" not in done.stderr
    blindai(*listing, BLINDAI_API_KEY="from-environment")
    sent = [asked.headers["authorization"] for asked in peer.asked if asked.method == "POST"]
    assert sent == ["Bearer from-file", "Bearer from-environment"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_can_read_is_said_aloud(blindai, peer, tmp_path, mode):
    """It is still used: whose machine it is, is for its owner to know."""
    _answers(peer, [])
    file = tmp_path / "key"
    file.write_text("CANARY")
    file.chmod(mode)
    done = blindai("models", "list", peer.address, "--simulation", "--api-key-file", str(file))
    assert done.returncode == 0
    assert f"chmod 600 {file}" in done.stderr
    assert "CANARY" not in done.stdout + done.stderr


@pytest.mark.parametrize("content", [None, b"", b"\n", b"CAN\nARY", b"CANARY\xff"])
def test_a_file_that_holds_no_key(blindai, peer, tmp_path, content):
    """Missing, empty, of two lines or no text: refused without a word of it, before anything is sent."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    done = blindai("models", "list", peer.address, "--simulation", "--api-key-file", str(file))
    assert done.returncode == 1
    assert "API key" in done.stderr
    assert not {"CAN", "ARY"} & set(done.stderr.replace("\n", " ").split())
    assert peer.connections == []


@pytest.mark.parametrize("given", [("--api-key", "CANARY"), ("--api-key=CANARY",)])
def test_no_option_takes_the_secret_itself(blindai, peer, given):
    """Command lines are seen by every user of a machine; an abbreviation must not print it."""
    done = blindai("models", "list", peer.address, "--simulation", *given)
    assert done.returncode == 1
    assert "--api-key-file" in done.stderr
    assert "CANARY" not in done.stderr
    assert peer.connections == []


@pytest.fixture
def keys(capsys):
    """Run `keys ARGUMENTS` with the actions that talk to a server."""

    def run(*arguments):
        parser = Parser(prog="blindai keys")
        caller.add_actions(parser.add_subparsers(dest="action", required=True))
        given = parser.parse_args(arguments)
        given.run(given)
        return capsys.readouterr()

    return run


def test_who_one_is(keys, peer):
    """`keys show` prints the id to hand out, and use against limits."""
    info = CallerInfo("alice", "owner", "alice", ALICE, 2, 1000, 10, 0, 60)
    _answers(peer, info.to_json())
    shown = keys("show", peer.address, "--simulation").out
    assert ALICE in shown
    assert "2 of 10" in shown
    assert "1000, no limit" in shown
    assert json.loads(keys("show", peer.address, "--simulation", "--json").out) == {
        **info.to_json(),
        "namespace_keys": [],
    }
    _answers(peer, CallerInfo("", "owner", "", "", 0, 0, 0, 0, 0).to_json())
    assert "takes anybody" in keys("show", peer.address, "--simulation").out


def test_keys_are_added_and_removed_by_id(keys, peer):
    """And never by themselves."""
    _answers(peer, {})
    assert f"invited {BOB}" in keys("add", peer.address, BOB, "--simulation").err
    assert json.loads(keys("remove", peer.address, BOB, "--simulation", "--json").out) == {"removed": BOB}
    assert [asked.line for asked in peer.asked if asked.line != "GET /v2"] == [
        f"PUT /v2/caller/keys/{BOB}",
        f"DELETE /v2/caller/keys/{BOB}",
    ]
    with pytest.raises(UsageError) as refused:
        keys("add", peer.address, "CANARY", "--simulation")
    assert "CANARY" not in str(refused.value)
    assert connection.API_KEY_VARIABLE == "BLINDAI_API_KEY"
