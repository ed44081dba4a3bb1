"""Clients before several servers: what they are told of a refused one, and that they carry on."""

from __future__ import annotations

import contextlib
import time
import warnings

import httpx2
import pytest

import blindai
from blindai.cli.main import main
from blindai.errors import AttestationError, Reason, UnreachableError, UsageError
from blindai.testing import CapturingPeer, FakeTdx, Pause, http_response, make_answer
from tests.client.driving import driven
from tests.transport.balancing import Balancer


@pytest.fixture
def stranger():
    """A peer with genuine evidence of another root than the server's."""
    now = int(time.time())
    machine = FakeTdx(now=now)

    def answer(nonce):
        return http_response(
            make_answer(machine, nonce=nonce, tls_spki_sha256=peer.spki_sha256, now=now, names=("127.0.0.1",))
        )

    with CapturingPeer(answer) as peer:
        yield peer


@pytest.fixture
def balancer(stranger, server):
    """In turn: the stranger, then the real server."""
    with Balancer([stranger, server]) as between:
        yield between


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_client_carries_on_with_the_good_server(colour, balancer, stranger, root):
    """`refused` says who was refused and why; what the client shows is of the accepted one."""
    with pytest.warns(blindai.ReplicaRefusedWarning, match="root-unknown"):
        with driven(colour, f"127.0.0.1:{balancer.port}", simulation=root) as client:
            assert client.server().name == "blindai"
            (refused,) = client.refused
            assert (refused.reason, refused.tls_spki_sha256) == (Reason.ROOT_UNKNOWN, stranger.spki_sha256)
            assert not refused.verdict.accepted
            assert client.verdict.accepted
            assert client.bundle.peer.tls_spki_sha256 == client.attested.tls_spki_sha256
            assert client.bundle.peer.certificate_pem == client.server_certificate
    stranger.wait()
    assert stranger.request_bytes == b""
    assert repr(refused).count("\n") == 0


def test_the_bundle_is_that_of_the_accepted_server(stranger, server, root):
    """A stranger who is refused later does not put its evidence into what the client shows."""
    with Balancer([server, stranger, server]) as balancer:
        with blindai.connect(f"127.0.0.1:{balancer.port}", simulation=root) as client:
            before = client.bundle
            client._http.get("/v2", headers={"Connection": "close"})
            with pytest.warns(blindai.ReplicaRefusedWarning):
                client.server()
            assert balancer.led_to == [0, 1, 2]
            assert client.bundle == before


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_one_attempt_is_refused_by_the_first(colour, balancer, stranger, root):
    """`attempts=1` takes the server that it reaches, or none."""
    with pytest.raises(AttestationError) as refusal:
        with driven(colour, f"127.0.0.1:{balancer.port}", simulation=root, attempts=1):
            pass
    assert refusal.value.reason is Reason.ROOT_UNKNOWN
    assert balancer.led_to == [0]
    stranger.wait()
    assert stranger.request_bytes == b""


@pytest.mark.parametrize("attempts", [0, -1, 17, 1.5, True, "4"])
def test_a_number_of_attempts_that_makes_no_sense(attempts):
    """Zero would never connect, and a hundred would hammer a service that refuses."""
    with pytest.raises(UsageError, match="from 1 to 16"):
        blindai.connect("127.0.0.1:1", simulation=True, attempts=attempts)


def test_the_transports_say_it_too(balancer, root, stranger):
    """Clients built on httpx2 ask the transport, and may choose attempts and patience as well."""
    transport = blindai.attested_transport(
        f"127.0.0.1:{balancer.port}", simulation=root, attempts=2, attestation_timeout_seconds=20
    )
    with pytest.warns(blindai.ReplicaRefusedWarning):
        with httpx2.Client(transport=transport, base_url=f"https://127.0.0.1:{balancer.port}") as client:
            assert client.get("/v2/health/live").status_code == 200
    assert [refused.tls_spki_sha256 for refused in transport.refused] == [stranger.spki_sha256]
    other = blindai.async_attested_transport(
        "127.0.0.1:1", simulation=root, attempts=2, attestation_timeout_seconds=3
    )
    assert (other.session.demands.attempts, other.session.demands.timeout_seconds) == (2, 3)
    assert other.refused == ()


def test_a_transports_patience_is_its_own():
    """attestation_timeout_seconds ends the wait for evidence."""
    with CapturingPeer(lambda _: [Pause(30)]) as slow:
        address = f"127.0.0.1:{slow.port}"
        transport = blindai.attested_transport(address, simulation=True, attestation_timeout_seconds=0.3)
        with httpx2.Client(transport=transport) as client, pytest.raises(UnreachableError, match=r"0\.3 s"):
            client.get(f"https://{address}/CANARY")
    assert slow.request_bytes == b""


def test_the_command_line_says_which_was_refused(balancer, root, stranger, capsys):
    """As talk, not as a Python warning; stdout stays the result."""
    assert main(["models", "list", f"127.0.0.1:{balancer.port}", "--simulation-root", str(root)]) == 0
    said = capsys.readouterr().err
    assert "warning: https://127.0.0.1:" in said
    assert "[root-unknown]" in said
    assert stranger.spki_sha256.hex()[:16] in said
    assert "ReplicaRefusedWarning" not in said
    assert said.count("a replica was refused") == 1


def test_the_command_line_may_be_told_how_often_and_how_long(balancer, root, capsys):
    """`--attempts 1` ends with the refusal; a wait that was too short names the flag that lengthens it."""
    address = f"127.0.0.1:{balancer.port}"
    assert main(["models", "list", address, "--simulation-root", str(root), "--attempts", "1"]) == 4
    with CapturingPeer(lambda _: [Pause(30)]) as slow:
        patience = ["--attestation-timeout", "0.3"]
        assert main(["models", "list", f"127.0.0.1:{slow.port}", "--simulation", *patience]) == 2
    assert "hint: raise --attestation-timeout if" in capsys.readouterr().err


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_server_that_is_not_there_is_dialled_once(colour):
    """Nobody listens: that is no replica to pass over, and no warning."""
    with contextlib.ExitStack() as entered:
        gone = entered.enter_context(Balancer([]))
        port = gone.port
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreachableError):
            with driven(colour, f"127.0.0.1:{port}", simulation=True):
                pass
