"""`blindai verify` as people and scripts use it: bundles, times, verdicts, exit codes."""

from __future__ import annotations

import datetime
import json
import os
import re
import time
import warnings

import pytest

from blindai.attestation.policy import Policy
from blindai.channel.bundle import Bundle
from blindai.cli import connection
from blindai.client.floors import FloorsWarning
from blindai.client.moment import parse as parse_time
from blindai.errors import UsageError
from blindai.testing import CapturingPeer, FakeTdx, TlsIdentity, http_response, make_answer


@pytest.fixture(scope="module")
def tdx():
    return FakeTdx()


@pytest.fixture(scope="module")
def server(tdx):
    """A server on this machine that is accepted under any policy of its code."""
    with serving(tdx) as peer:
        yield f"127.0.0.1:{peer.port}"


def serving(tdx, **lies):
    identity = TlsIdentity.make("127.0.0.1")

    def answer(nonce):
        true = {"tls_spki_sha256": identity.spki_sha256, "names": ("127.0.0.1",), "now": int(time.time())}
        return http_response(make_answer(tdx, nonce=nonce, **{**true, **lies}))

    return CapturingPeer(answer, identities=[identity])


@pytest.fixture
def policy(tdx, tmp_path):
    """A policy file of the code that runs."""
    path = tmp_path / "policy.toml"
    registers = {name: getattr(tdx.measurements, name).hex() for name in ("mrtd", "rtmr1", "rtmr2")}
    lines = "".join(f'{name} = "{value}"\n' for name, value in registers.items())
    path.write_text(f'version = 1\n[[accept]]\ntee = "tdx"\n{lines}')
    Policy.from_toml(path.read_text())
    return str(path)


@pytest.fixture
def verify(blindai, tdx, policy):
    """Run `blindai verify` with the policy and the root of the machine."""

    def run(*arguments, root=tdx.root_sha256):
        return blindai("verify", *arguments, "--policy", policy, "--simulation-root", root)

    return run


def test_a_saved_bundle_has_the_same_verdict(verify, server, tdx, tmp_path):
    """Live with --save, then from the file at the time that was said: the same document."""
    path = tmp_path / "bundle.json"
    live = verify(server, "--save", str(path), "--json")
    assert live.returncode == 0, live.stderr
    assert str(path) in live.stderr
    said = re.search(r"--at (\S+)", live.stderr)[1]
    offline = verify(str(path), "--at", said, "--json")
    assert (offline.returncode, offline.stdout) == (0, live.stdout)
    assert "SIMULATION" in offline.stderr
    assert f"--simulation-root {tdx.root_sha256}" in live.stderr
    assert Bundle.parse(path.read_bytes()).peer.dialled == "127.0.0.1"
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("lies", "code", "reason"),
    [
        ({"names": ("elsewhere.example",)}, 3, "name-mismatch"),
        ({"report_data": bytes(64)}, 4, "report-data-mismatch"),
        ({"edit_bytes": lambda raw: raw[:-1]}, 4, "answer-malformed"),
    ],
)
def test_a_refused_servers_bundle_is_saved(verify, tdx, tmp_path, lies, code, reason):
    """The exit code and the reason are those of the refusal, live and from the file."""
    path = tmp_path / "bundle.json"
    with serving(tdx, **lies) as peer:
        live = verify(f"127.0.0.1:{peer.port}", "--save", str(path))
    assert "FAIL" in live.stdout
    offline = verify(str(path), "--json")
    for result in (live, offline):
        assert result.returncode == code
        assert f"[{reason}]" in result.stderr
    verdict = json.loads(offline.stdout)
    assert verdict["ear.status"] == "contraindicated"
    assert reason in [claim.get("reason") for claim in verdict["claims"]]


@pytest.mark.parametrize("form", ["--json", "--timeout=9"])
def test_every_refusal_prints_a_verdict(verify, form):
    """Also where there was no evidence at all; nothing is saved then, and that is said."""
    with CapturingPeer(lambda _: http_response(b"<html>", 404)) as peer:
        result = verify(f"127.0.0.1:{peer.port}", "--save", "unused.json", form)
    assert result.returncode == 4
    assert "answer-framing" in result.stdout
    assert "no bundle saved" in result.stderr
    if form == "--json":
        assert json.loads(result.stdout)["ear.status"] == "contraindicated"


def test_every_claim_is_explained(verify, server, tmp_path):
    """--explain says what was checked and what it does not prove; beside --json it is talk."""
    path = tmp_path / "bundle.json"
    told = verify(server, "--explain", "--save", str(path))
    assert told.returncode == 0
    assert told.stdout.count("not proven:") == told.stdout.count("checked:") > 5
    both = verify(str(path), "--explain", "--json")
    assert json.loads(both.stdout)["ear.status"] == "affirming"
    assert "not proven:" in both.stderr


def test_a_file_that_is_no_bundle(verify, tmp_path):
    """Malformed is exit code 4 with a verdict; missing is a usage error that names the file."""
    path = tmp_path / "bundle.json"
    path.write_text("{}")
    result = verify(str(path), "--json")
    assert (result.returncode, "bundle-malformed" in result.stdout) == (4, True)
    missing = verify(str(tmp_path / "missing.json"))
    assert (missing.returncode, "missing.json" in missing.stderr) == (1, True)


def test_a_bundle_takes_no_stapled_root(blindai, server, verify, policy, tmp_path):
    """The root has to be named; the hint says how."""
    path = tmp_path / "bundle.json"
    verify(server, "--save", str(path))
    for flags in (("--policy", policy, "--simulation"), ("--simulation",), (), ("--policy", policy)):
        result = blindai("verify", str(path), *flags)
        assert result.returncode == (4 if flags == ("--policy", policy) else 1)
        assert "--simulation-root" in result.stderr
        assert "--simulation (command line)" not in result.stderr  # which would lead to the next error
        assert flags == ("--policy", policy) or "simulation=" not in result.stderr  # that is Python


def test_a_bundle_is_not_overwritten(verify, server, tmp_path):
    """What was saved is kept: a second --save under the name is refused before anything is sent."""
    path = tmp_path / "bundle.json"
    path.write_text("kept")
    result = verify(server, "--save", str(path))
    assert (result.returncode, path.read_text()) == (1, "kept")
    assert "not overwritten" in result.stderr


def test_a_bundle_whose_time_is_over(verify, server, tmp_path):
    """The hint says that another time can be asked about."""
    path = tmp_path / "bundle.json"
    verify(server, "--save", str(path))
    result = verify(str(path), "--at", "2036-01-01")
    assert result.returncode == 3
    assert "a bundle is good for its own time: --at TIME" in result.stderr


@pytest.mark.parametrize("source", ["folder/bundle", "bundle"])
def test_a_file_that_is_taken_for_a_server(verify, tmp_path, monkeypatch, source):
    """By its name it is one; the hint says how a bundle's name ends."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundle").write_text("{}")
    result = verify(source)
    assert result.returncode in (1, 2)
    assert "whose name ends in .json" in result.stderr


@pytest.mark.parametrize("root", ["root.pme", "ab" * 31, "sha256:", ""])
def test_a_root_that_is_neither_file_nor_digits(verify, root):
    """What was given and what is taken are both said."""
    result = verify("127.0.0.1:1", root=root)
    assert result.returncode == 1
    assert "neither a file nor 64 hexadecimal digits" in result.stderr


def test_a_root_with_the_name_of_its_digest(verify, server, tdx):
    """`sha256:` before the digits, as tools print them."""
    assert verify(server, root=f"sha256:{tdx.root_sha256}").returncode == 0


def test_every_root_that_is_named_counts(verify, server, tdx):
    """`--simulation-root` may be repeated: the last does not replace the others."""
    others = ("--simulation-root", tdx.root_sha256, "--simulation-root", "cd" * 32)
    assert verify(server, *others, root="00" * 32).returncode == 0
    assert verify(server, *others[2:], root="00" * 32).returncode == 4


def test_what_is_missing_is_said_in_flags(blindai):
    """The command line does not speak Python."""
    for verb in (("verify",), ("models", "list")):
        result = blindai(*verb, "127.0.0.1:1")
        assert result.returncode == 1
        assert "--policy policy.toml" in result.stderr
        assert "policy='" not in result.stderr
        assert "simulation=" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("127.0.0.1:1", "--at", "2026-10-01"),
        ("127.0.0.1:1", "--save", "bundle"),
        ("127.0.0.1:1", "--save", ""),
        ("bundle.json", "--save", "other.json"),
        ("127.0.0.1:1", "--floors", "f", "--no-floors"),
        ("127.0.0.1:1", "--timeout", "0"),
    ],
    ids=["a time for a server", "no suffix", "no name", "saved already", "both", "no time to wait"],
)
def test_what_makes_no_sense_is_a_usage_error(verify, arguments):
    """Said before anything is sent."""
    result = verify(*arguments)
    assert result.returncode == 1
    assert "error:" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_place_that_cannot_be_written(verify, server, tdx, tmp_path):
    """An accepted server ends in a usage error, a refused one in its refusal: both say what failed."""
    path = str(tmp_path / "missing" / "bundle.json")
    accepted = verify(server, "--save", path)
    refused = verify(server, "--save", path, root="ab" * 32)
    assert (accepted.returncode, refused.returncode) == (1, 4)
    assert all("cannot write the bundle" in result.stderr for result in (accepted, refused))
    assert accepted.stdout.startswith("accepted")


UTC = datetime.UTC


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1790000000", 1_790_000_000),
        ("2026-10-01", datetime.datetime(2026, 10, 1, tzinfo=UTC)),
        ("2026-10-01T12:30:05Z", datetime.datetime(2026, 10, 1, 12, 30, 5, tzinfo=UTC)),
        ("2026-10-01 12:30+02:00", datetime.datetime(2026, 10, 1, 10, 30, tzinfo=UTC)),
    ],
)
def test_times_that_can_be_said(text, expected):
    """A date is its midnight in UTC."""
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-10-01T12:30:05",
        "20261001",
        "2026-W40",
        "2026-13-01",
        "17900000.5",
        "-1",
        "1e9",
        "٢٠٢٦-10-01",
    ],
)
def test_times_that_could_mean_another(text):
    """Without a zone, or in a form that could be a number: the hint shows each form that is taken."""
    with pytest.raises(UsageError) as caught:
        parse_time(text)
    assert "2026-10-01T12:00:00Z" in caught.value.hint


def test_a_warning_about_floors_is_talk(capsys):
    """It is said once, in a line, whatever -W says; other warnings stay what they are."""
    with connection.said_aloud():
        warnings.warn("cannot be kept", FloorsWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="another"):
            warnings.warn("another", UserWarning, stacklevel=1)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "warning: cannot be kept\n")
