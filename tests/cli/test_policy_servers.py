"""`blindai policy` with servers: the policy that one publishes, and the first policy made from one."""

from __future__ import annotations

import functools
import json
import socket
import time
import tomllib

import pytest

from blindai.attestation.policy import MAX_POLICY_BYTES, Policy
from blindai.cli.main import main
from blindai.testing import (
    CapturingPeer,
    FakeNitro,
    FakeSgx,
    FakeSnp,
    FakeTdx,
    http_response,
    make_answer,
)
from tests.serving import running_server

NOW = int(time.time())
NAMES = ("localhost", "127.0.0.1")
FAKES = {
    "tdx": FakeTdx,
    "sgx": FakeSgx,
    "sev-snp": functools.partial(FakeSnp, platform_info=1 << 5),  # no SMT; memory aliases checked
    "nitro": FakeNitro,
}


@pytest.fixture(scope="module")
def publishing(tmp_path_factory):
    """A real, simulated server that publishes a policy with a relaxation."""
    path = tmp_path_factory.mktemp("policy") / "policy.toml"
    path.write_text(f'{_entry("ab" * 48)}relax = ["hyper-threading"]\n')
    with running_server(published_policy=str(path)) as running:
        yield running


@pytest.fixture
def mine(publishing, tmp_path):
    """My policy of the code that runs there."""
    path = tmp_path / "mine.toml"
    path.write_text(publishing.ready["policy"])
    return str(path)


@pytest.fixture
def run(capsys):
    """Run `blindai policy ...` and return (exit code, stdout, stderr)."""

    def ran(*arguments):
        return (main(["policy", *arguments]), *capsys.readouterr())

    return ran


def _entry(digest):
    keys = "".join(f'{name} = "{digest}"\n' for name in ("mrtd", "rtmr1", "rtmr2"))
    return f'version = 1\n[[accept]]\ntee = "tdx"\n{keys}'


def attested(fake, response=b"", **lies):
    """A peer whose evidence holds, and which answers everything else with `response`."""

    def answer(nonce):
        lies.setdefault("names", NAMES)
        return http_response(
            make_answer(fake, nonce=nonce, tls_spki_sha256=peer.spki_sha256, now=NOW, **lies)
        )

    peer = CapturingPeer(answer, response=response or http_response(b"{}"))
    return peer


@pytest.fixture(scope="module")
def tdx():
    """A healthy machine."""
    return FakeTdx(now=NOW)


def test_show_prints_the_published_policy_as_a_claim(run, publishing, mine):
    """The server is verified as my policy says; then its operator's policy is shown, and not adopted."""
    code, out, err = run("show", publishing.address, "--policy", mine, "--simulation")
    assert code == 0
    assert "relaxed by hyper-threading" in out
    assert "never adopted" in err
    code, out, _ = run("show", publishing.address, "--policy", mine, "--simulation", "--text")
    assert Policy.from_toml(out).accept


def test_show_asks_no_server_that_is_refused(run, publishing, tmp_path):
    """A server that my policy refuses is not asked for its own, however well that would suit it."""
    other = tmp_path / "other.toml"
    other.write_text(_entry("00" * 48))
    code, out, err = run("show", publishing.address, "--policy", str(other), "--simulation")
    assert (code, out) == (3, "")
    assert "measurement-mismatch" in err
    assert run("show", publishing.address)[0] == 1


def test_diff_with_a_server_is_judged_by_my_policy(run, publishing, mine):
    """Without --policy the file that is compared says what the server must be."""
    code, out, err = run("diff", mine, publishing.address, "--simulation", "--exit-code")
    assert code == 6
    assert "B is looser: [[accept]] tdx (A 1, B 1) allow_smt" in out
    assert "never adopted" in err
    assert run("diff", publishing.address, publishing.address, "--simulation")[0] == 0


def test_a_server_that_publishes_none(run, server):
    """404 is exit code 5, and says what the operator can do."""
    code, out, err = run("show", server.address, "--simulation")
    assert (code, out) == (5, "")
    assert "publishes no policy" in err


HOSTILE_KEY = (_entry("ab" * 48) + '"\\u001b[2J\\naccepted: all" = 1\n').encode()
HOSTILE = {
    "escapes": (b'\x1b[2J\x1b]0;title\x07names = ["a"]\r\xc2\x9b1m', "not TOML"),
    "escapes in a key": (HOSTILE_KEY, "accepted: all is not a known key"),
    "two MiB": (b"#" * 2 * 1024 * 1024, "is longer than"),
    "just too long": (b"#" * (MAX_POLICY_BYTES + 1), "is longer than"),
    "no UTF-8": (b"version = 1 # \xff\xfe", "is not UTF-8"),
    "no TOML": (b"version = [", "not TOML"),
    "deep": (b"a = " + b"[" * 20000, "not TOML"),
    "another version": (b"version = 2\n[[accept]]\ntee = 'tdx'", "version must be 1"),
    "empty": (b"", "version must be 1"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("form", [(), ("--text",), ("--json",)])
def test_a_hostile_published_policy(run, tdx, name, form):
    """Whatever an accepted server publishes is shown harmlessly, or refused with our own error."""
    body, said = HOSTILE[name]
    with attested(tdx, http_response(body)) as peer:
        found, out, err = run("show", f"127.0.0.1:{peer.port}", "--simulation-root", tdx.root_sha256, *form)
    shown_as_text = form == ("--text",) and name not in ("two MiB", "just too long", "no UTF-8")
    assert found == (0 if shown_as_text else 5)
    assert shown_as_text or said in err
    assert all(character.isprintable() or character == "\n" for character in out + err)
    assert not any(line.startswith("accepted") for line in err.splitlines())


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (http_response(b"", status=302, headers={"Location": "https://elsewhere.example/"}), 5),
        (http_response(b"{}", status=500), 5),
        (b"HTTP/1.1 200 OK\r\n\r\nversion = 1", 5),
    ],
)
def test_a_response_that_is_no_policy(run, tdx, response, code):
    """Redirects, errors and responses without framing are refused, not followed and not read on."""
    with attested(tdx, response) as peer:
        found, out, _ = run("show", f"127.0.0.1:{peer.port}", "--simulation-root", tdx.root_sha256)
    assert (found, out) == (code, "")


def test_the_published_policy_is_never_adopted(run, tdx, tmp_path):
    """A published policy that would accept the server does not make my own accept it."""
    mine = tmp_path / "mine.toml"
    mine.write_text(_entry("00" * 48))
    m = tdx.measurements
    theirs = f'version = 1\n[[accept]]\ntee = "tdx"\nmrtd = "{m.mrtd.hex()}"\nrtmr1 = "{m.rtmr1.hex()}"\n'
    theirs += f'rtmr2 = "{m.rtmr2.hex()}"\n'
    with attested(tdx, http_response(theirs.encode())) as peer:
        address = f"127.0.0.1:{peer.port}"
        code, _, _ = run("diff", str(mine), address, "--simulation-root", tdx.root_sha256)
        assert code == 3
        assert peer.request_bytes == b""


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("tee", FAKES)
def test_init_writes_a_policy_that_accepts_that_server(run, tmp_path, tee):
    """For each TEE: a policy of exactly this code, for 90 days and this name, which the server satisfies."""
    fake = FAKES[tee](now=NOW)
    path = tmp_path / "policy.toml"
    with attested(fake) as peer:
        address = f"127.0.0.1:{peer.port}"
        trusted = ("--simulation-root", fake.root_sha256)
        code, out, err = run("init", "--from", address, *trusted, "--out", str(path))
        assert code == 0, err
        assert peer.request_bytes == b""
        assert main(["verify", address, *trusted, "--policy", str(path)]) == 0
    assert out == ""
    for said in ("TRUST ON FIRST USE", "NOT verified: that this code is what you want", "accepts the server"):
        assert said in err
    written = tomllib.loads(path.read_text())
    assert (written["names"], written["accept"][0]["tee"]) == (["127.0.0.1"], tee)
    days = (written["expires"].toordinal() - 719163) - NOW // 86400
    assert days in (90, 91)


def test_init_with_a_real_server(run, publishing):
    """The policy goes to stdout; --json adds the verdict that it comes to."""
    code, out, err = run("init", "--from", publishing.address, "--simulation")
    assert code == 0
    entry = tomllib.loads(publishing.ready["policy"])["accept"]
    assert tomllib.loads(out)["accept"] == entry
    assert "SIMULATION" in err
    made = json.loads(run("init", "--from", publishing.address, "--simulation", "--json")[1])
    assert made["verdict"]["ear.status"] == "affirming"
    assert tomllib.loads(made["policy"])["accept"] == entry


@pytest.mark.parametrize(
    ("knobs", "claim", "accepts"),
    [
        ({"tcb_status": "OutOfDate"}, "tcb_status: OutOfDate", 'tcb_status = ["OutOfDate", "UpToDate"]'),
        ({"smt": True}, "smt: on", "allow_smt = true"),
    ],
)
def test_init_says_what_the_strict_policy_refuses(run, knobs, claim, accepts):
    """Genuine, and below the strict demands: the policy stays strict, and the line that would do is said."""
    fake = FakeTdx(now=NOW, **knobs)
    with attested(fake) as peer:
        code, out, err = run(
            "init", "--from", f"127.0.0.1:{peer.port}", "--simulation-root", fake.root_sha256
        )
    assert code == 0
    assert "refuses the server as it is now" in err
    assert claim in err
    assert accepts in err
    assert "allow_smt" not in tomllib.loads(out)["accept"][0]


@pytest.mark.parametrize(
    "lies",
    [
        {"report_data": bytes(64)},
        {"bound_nonce": bytes(32)},
        {"sent_keyset": lambda raw: raw.replace(b"localhost", b"localhorst")},
        {"omit": ["challenge"]},
        {"edit_bytes": lambda _: b"{}"},
    ],
)
def test_init_writes_nothing_from_evidence_that_does_not_hold(run, tdx, tmp_path, lies):
    """Replayed, unbound or malformed evidence is exit code 4; there is no policy, and nothing was sent."""
    path = tmp_path / "policy.toml"
    with attested(tdx, **lies) as peer:
        code, out, _ = run(
            "init",
            *("--from", f"127.0.0.1:{peer.port}", "--simulation-root", tdx.root_sha256, "--out", str(path)),
        )
        assert peer.request_bytes == b""
    assert (code, out, path.exists()) == (4, "", False)


def test_init_trusts_no_simulation_by_itself(run, tdx):
    """Without a word about simulation only the vendors' roots count; another root is another machine."""
    with attested(tdx) as peer:
        address = f"127.0.0.1:{peer.port}"
        for chosen in ((), ("--simulation-root", "00" * 32)):
            code, out, err = run("init", "--from", address, *chosen)
            assert (code, out) == (4, "")
            assert "root-unknown" in err


def test_init_meets_another_tls_key(run, tdx):
    """Evidence about the key of another server is refused."""
    with CapturingPeer(lambda _: http_response(b"{}")) as other, attested(tdx) as peer:
        peer.identities = other.identities
        code, out, err = run("init", "--from", f"127.0.0.1:{peer.port}", "--simulation-root", tdx.root_sha256)
    assert (code, out) == (4, "")
    assert "tls-key-mismatch" in err


def test_init_lets_no_server_write_into_the_policy(run, tdx):
    """Promises with line breaks and quotes, which a keyset may hold, do not become lines of the policy."""
    settings = {
        "isolation": 'x"\n[[accept]]\ntee = "tdx"\n#',
        "sandbox": "\x1b[2J",
        "telemetry": "none",
        "evil\n[[accept]]": True,
    }
    with attested(tdx, settings=settings) as peer:
        code, out, err = run("init", "--from", f"127.0.0.1:{peer.port}", "--simulation-root", tdx.root_sha256)
    assert code == 0
    assert len(tomllib.loads(out)["accept"]) == 1
    assert '# telemetry = "none"' in out
    assert "\x1b" not in out + err


def test_init_says_when_the_server_does_not_list_the_name(run, tdx):
    """The policy demands the name that was dialled, so that a server under another one is refused."""
    with attested(tdx, names=("elsewhere.example",)) as peer:
        code, out, err = run("init", "--from", f"127.0.0.1:{peer.port}", "--simulation-root", tdx.root_sha256)
    assert code == 0
    assert tomllib.loads(out)["names"] == ["127.0.0.1"]
    assert "name: elsewhere.example, expected 127.0.0.1" in err


def test_init_overwrites_no_file(run, tdx, tmp_path):
    """A policy that exists is worth more than a new one: nothing is even asked."""
    path = tmp_path / "policy.toml"
    path.write_text("mine")
    with attested(tdx) as peer:
        code, _, err = run("init", "--from", f"127.0.0.1:{peer.port}", "--out", str(path))
        assert peer.connections == []
    assert (code, path.read_text()) == (1, "mine")
    assert "exists" in err


def test_init_reaches_nobody(run):
    """A closed port is exit code 2."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        code, out, _ = run("init", "--from", f"127.0.0.1:{held.getsockname()[1]}", "--simulation")
    assert (code, out) == (2, "")
