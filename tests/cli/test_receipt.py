"""`blindai receipt` as people and scripts use it: proofs, times, bodies, verdicts, exit codes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from blindai.channel.exchange_digest import ResponseHead
from tests.attestation.scene import NOW, healthy, policy_toml
from tests.channel.exchanges import (
    KEYSET,
    OTHER_KEY,
    REQUEST,
    REQUEST_BODY,
    RESPONSE_BODY,
    claims,
    proof_of,
    response_claim,
    signed,
    with_bodies,
)

ROOT = healthy("tdx").root_sha256


@pytest.fixture
def folder(tmp_path):
    """A proof, the bodies that it is about, and a policy of the code."""
    (tmp_path / "proof.json").write_bytes(proof_of().encode())
    (tmp_path / "whole.json").write_bytes(with_bodies(proof_of()).encode())
    (tmp_path / "request").write_bytes(REQUEST_BODY)
    (tmp_path / "response").write_bytes(RESPONSE_BODY)
    (tmp_path / "policy.toml").write_text(policy_toml(healthy("tdx")))
    return tmp_path


@pytest.fixture
def verify(blindai, folder):
    """Run `blindai receipt verify` as an auditor of this machine."""

    def run(proof, *arguments, at=str(NOW), root=("--simulation-root", ROOT)):
        policy = str(folder / "policy.toml")
        return blindai(
            "receipt", "verify", str(folder / proof), "--policy", policy, "--at", at, *root, *arguments
        )

    return run


def test_a_proof_with_its_bodies(verify, folder):
    """Beside it or inside it: accepted, and nothing is left unsaid."""
    bodies = ("--request", str(folder / "request"), "--response", str(folder / "response"))
    for result in (verify("proof.json", *bodies), verify("whole.json")):
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("accepted: SIMULATED tdx")
        assert "  model: alice/sentiment" in result.stdout
        assert "  request_compared: True" in result.stdout
        assert "SIMULATION" in result.stderr
        assert "not compared" not in result.stdout + result.stderr


def test_a_proof_without_bodies_is_said_to_be_one(verify):
    """It holds, and the person at the terminal learns what that does not mean."""
    result = verify("proof.json")
    assert result.returncode == 0
    assert result.stderr.count("was not compared") == 2
    assert result.stdout.count("of this head") == 2


def test_bodies_can_be_demanded(verify, folder):
    """Exit code 3, the claims that lack them, and the options that give them."""
    request = ("--request", str(folder / "request"))
    for given, lacking in (((), 2), (request, 1)):
        result = verify("proof.json", "--require-bodies", *given)
        assert (result.returncode, result.stdout.count("[receipt-not-compared]")) == (3, lacking)
        assert "the body was not given" in result.stderr
        assert "--response FILE" in result.stderr
    whole = verify("proof.json", "--require-bodies", *request, "--response", str(folder / "response"))
    assert (whole.returncode, verify("whole.json", "--require-bodies").returncode) == (0, 0)


def test_the_result_as_json(verify, folder):
    """One document: the claims and the verdict; none of the claims when it is refused."""
    result = verify("whole.json", "--json")
    said = json.loads(result.stdout)
    assert (said["receipt"]["model"], said["receipt"]["request_compared"]) == ("alice/sentiment", True)
    assert said["verdict"]["ear.status"] == "affirming"
    (folder / "request").write_bytes(b"other")
    refused = verify("proof.json", "--json", "--request", str(folder / "request"))
    said = json.loads(refused.stdout)
    assert (refused.returncode, said["receipt"]) == (4, None)
    assert said["verdict"]["ear.status"] == "contraindicated"
    assert "receipt-request" in [claim.get("reason") for claim in said["verdict"]["claims"]]
    assert "[receipt-request]" in refused.stderr


REFUSED = {
    "another key": (proof_of(receipt=signed(key=OTHER_KEY)), 4, "receipt-signature"),
    "another keyset": (proof_of(receipt=signed(kid=bytes(32))), 4, "receipt-keyset"),
    "another header": (proof_of(receipt=".."), 4, "receipt-header"),
    "another time": (proof_of(claims(issued_at=0)), 3, "receipt-time"),
    "another output": (replace(with_bodies(proof_of()), response_body=b""), 4, "receipt-response"),
    "another path": (proof_of(request_head=replace(REQUEST, path="/v2")), 4, "receipt-request"),
    "another policy": (proof_of(policy_sha256="00" * 32), 4, "receipt-request"),
}


@pytest.mark.parametrize(("proof", "code", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_hold(verify, folder, proof, code, reason):
    """The exit code says whose fault, the verdict and the error say which."""
    (folder / "proof.json").write_bytes(proof.encode())
    result = verify("proof.json")
    assert result.returncode == code
    assert "FAIL" in result.stdout
    assert f"[{reason}]" in result.stdout
    assert f"[{reason}]" in result.stderr


def test_a_changed_file(verify, folder):
    """Exit code 4 with a verdict, and what may have happened to it."""
    raw = proof_of().encode()
    (folder / "proof.json").write_bytes(raw.replace(b"POST", b"PUT "))
    result = verify("proof.json")
    assert (result.returncode, "[proof-malformed]" in result.stdout) == (4, True)
    assert "mail program" in result.stderr
    missing = verify("missing.json")
    assert (missing.returncode, "missing.json" in missing.stderr) == (1, True)


def test_an_old_proof(verify):
    """Now it has expired: the hint names the option."""
    result = verify("proof.json", at="2036-01-01")
    assert result.returncode in (3, 4)
    assert "--at TIME" in result.stderr


def test_a_simulation_needs_its_root(verify, blindai, folder):
    """Under a policy alone it is refused as forged; with neither, there is nothing to judge by."""
    result = verify("proof.json", root=())
    assert (result.returncode, "[root-unknown]" in result.stderr) == (4, True)
    assert "--simulation-root" in result.stderr
    bare = blindai("receipt", "verify", str(folder / "proof.json"))
    assert (bare.returncode, "a policy is required" in bare.stderr) == (1, True)
    assert "--simulation (" not in bare.stderr


def test_every_claim_is_explained(verify):
    """--explain says what was checked and what it does not prove; beside --json it is talk."""
    told = verify("whole.json", "--explain")
    assert told.stdout.count("not proven:") == told.stdout.count("checked:") > 10
    assert "receipt_model: unknown" in told.stdout
    assert "anything beyond that field" not in told.stdout.partition("receipt: ")[2]
    both = verify("whole.json", "--explain", "--json")
    assert json.loads(both.stdout)["verdict"]["ear.status"] == "affirming"
    assert "not proven:" in both.stderr


def test_show_says_that_nothing_is_verified(blindai, folder):
    """What it says, of whatever anybody wrote: a forgery is shown like the truth, and called neither."""
    (folder / "proof.json").write_bytes(proof_of(receipt=signed(key=OTHER_KEY)).encode())
    result = blindai("receipt", "show", str(folder / "proof.json"))
    assert result.returncode == 0
    assert result.stdout.startswith("NOT VERIFIED")
    for said in (
        f"keyset_sha256: {KEYSET.hex()}",
        "  model: alice/sentiment",
        "  path: " + REQUEST.path,
        "2026",
    ):
        assert said in result.stdout
    as_json = json.loads(blindai("receipt", "show", str(folder / "proof.json"), "--json").stdout)
    assert as_json["verified"] is False
    assert as_json["receipt"]["status"] == 200
    assert as_json["request"]["body_included"] is False


def test_show_is_not_steered_by_what_it_shows(blindai, folder):
    """A header with line breaks writes no lines, and a claim is not a person's terminal."""
    proof = proof_of(request_head=replace(REQUEST, content_type="a\nverified: True\x1b[2J"))
    (folder / "proof.json").write_bytes(proof.encode())
    result = blindai("receipt", "show", str(folder / "proof.json"))
    assert "\x1b" not in result.stdout
    assert not [line for line in result.stdout.splitlines() if line.strip().startswith("verified")]


def test_show_of_what_is_no_proof(blindai, folder):
    """The same errors as everywhere."""
    (folder / "proof.json").write_bytes(b"{}")
    assert blindai("receipt", "show", str(folder / "proof.json")).returncode == 4
    (folder / "proof.json").write_bytes(proof_of(receipt="x").encode())
    result = blindai("receipt", "show", str(folder / "proof.json"))
    assert (result.returncode, "[receipt-malformed]" in result.stderr) == (4, True)
    assert blindai("receipt", "show", str(folder / "missing")).returncode == 1


def test_a_failure_is_proven_too(verify, folder):
    """The status stands in the receipt; no model answered."""
    head = ResponseHead(412, "application/json")
    said = claims(status=412, response=response_claim(head))
    (folder / "proof.json").write_bytes(proof_of(said, response_head=head).encode())
    result = verify("proof.json", "--response", str(folder / "response"))
    assert result.returncode == 0, result.stderr
    assert "no model answered: status 412" in result.stdout
