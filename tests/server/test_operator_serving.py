"""A running server whose certificates its operator issued: clients of all kinds, and new files."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
import ssl
import time

import numpy as np
import pytest
import tritonclient.http

import blindai
from blindai.attestation.verdict import Outcome
from blindai.channel import operator
from blindai.cli.main import main
from blindai.errors import EvidenceRejected, Reason
from blindai.server.keys.operator import Operator, command
from tests import models
from tests.client.driving import driven
from tests.server.authority import KEY, certificate, needs_openssl, openssl, write
from tests.serving import running_server

pytestmark = needs_openssl


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the documented command makes."""
    made = tmp_path_factory.mktemp("tls")
    if shutil.which("openssl"):
        openssl(command(made))
    return made


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    """A real, simulated server process with an operator and a model."""
    path = tmp_path_factory.mktemp("models") / "mlp.onnx"
    path.write_bytes(models.mlp())
    with running_server({"mlp": path}, tls_dir=str(folder)) as running:
        yield running


def pin_of(folder):
    return operator.spki_sha256(Operator.load(folder, now=int(time.time())).certificate)


def operator_of(verdict):
    (check,) = [check for check in verdict.checks if check.claim == "operator"]
    return check


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_client_demands_the_operator_by_their_certificate(server, folder, colour):
    """`certificate="host_server.pem"` and the verdict names the key that was demanded."""
    root = server.ready["root_sha256"]
    pem = folder / "host_server.pem"
    with driven(colour, server.address, certificate=pem, simulation=root) as client:
        check = operator_of(client.verdict)
        assert (check.outcome, check.found) == (Outcome.PASS, pin_of(folder))
        assert client.server().name == "blindai"


def test_a_policy_demands_the_operator_by_their_key(server, folder):
    """[operator] in the policy does the same."""
    text = f'{server.ready["policy"]}\n[operator]\nspki_sha256 = ["{pin_of(folder)}"]\n'
    policy = blindai.Policy.from_toml(text)
    with blindai.connect(server.address, policy=policy, simulation=server.ready["root_sha256"]) as client:
        assert operator_of(client.verdict).outcome is Outcome.PASS


def test_without_a_pin_the_operator_is_unknown(server, folder):
    """The key is told, and proves nothing to a client that does not know it."""
    with blindai.connect(server.address, simulation=server.ready["root_sha256"]) as client:
        check = operator_of(client.verdict)
    assert (check.outcome, check.found) == (Outcome.UNKNOWN, pin_of(folder))


def test_another_operator_is_refused(server, tmp_path):
    """A good certificate, and not the one that issued this server's."""
    other = write(tmp_path, KEY, certificate(KEY)) / "host_server.pem"
    with pytest.raises(EvidenceRejected) as refusal:
        blindai.connect(server.address, certificate=other, simulation=server.ready["root_sha256"])
    assert refusal.value.reason is Reason.OPERATOR_MISMATCH


def test_the_command_line_demands_it_too(server, folder, tmp_path, capsys):
    """`verify --certificate` ends with 0, or with 3 and the reason."""
    verify = ("verify", server.address, "--simulation-root", server.ready["root_sha256"], "--no-floors")
    assert main((*verify, "--certificate", str(folder / "host_server.pem"))) == 0
    other = write(tmp_path, KEY, certificate(KEY)) / "host_server.pem"
    capsys.readouterr()
    assert main((*verify, "--certificate", str(other))) == 3
    assert "operator-mismatch" in capsys.readouterr().err


def test_clients_without_blindai_use_the_same_file(server, folder):
    """Python's ssl and tritonclient, told to trust host_server.pem and nothing else."""
    pem = str(folder / "host_server.pem")
    context = ssl.create_default_context(cafile=pem)
    connection = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=30)
    connection.request("GET", "/v2")
    assert connection.getresponse().status == 200
    connection.close()
    triton = tritonclient.http.InferenceServerClient(server.address, ssl=True, ssl_options={"ca_certs": pem})
    x = np.ones((1, 4), dtype=np.float32)
    given = tritonclient.http.InferInput("x", x.shape, "FP32")
    given.set_data_from_numpy(x)
    assert triton.infer("mlp", [given]).as_numpy("scores") is not None
    triton.close()


def test_the_server_shows_its_own_certificate_and_not_the_operators(server, folder):
    """The operator's is stapled to the evidence; a handshake does not need it."""
    context = ssl.create_default_context(cafile=str(folder / "host_server.pem"))
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as connection,
    ):
        shown = connection.getpeercert(True)
    assert ssl.DER_cert_to_PEM_cert(shown) == server.ready["certificate_pem"]


@pytest.mark.parametrize("same_key", [True, False])
def test_new_files_take_effect_with_sighup(tmp_path, same_key):
    """A renewed certificate of the same key goes on satisfying who pinned the old one; a new key does not."""
    openssl(command(tmp_path))
    old, new = tmp_path / "old.pem", tmp_path / "host_server.pem"
    shutil.copy(new, old)
    with running_server(tls_dir=str(tmp_path)) as server:
        root = server.ready["root_sha256"]
        with blindai.connect(server.address, certificate=old, simulation=root) as before:
            if same_key:
                key = tmp_path / "host_server.key"
                openssl(f"openssl req -x509 -new -key {key} -days 30 -subj /O=Renewed -out {new}")
            else:
                openssl(command(tmp_path))
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "new keys and a new keyset" in server.log.read_text())
            # The connection is of the old keys, which stay good; the next one is of the new.
            assert before.server().name == "blindai"
            if same_key:
                assert before.server().name == "blindai"
            else:
                with pytest.raises(EvidenceRejected):
                    before.server()
        with blindai.connect(server.address, certificate=new, simulation=root) as client:
            assert operator_of(client.verdict).outcome is Outcome.PASS
        if same_key:
            with blindai.connect(server.address, certificate=old, simulation=root) as client:
                assert operator_of(client.verdict).outcome is Outcome.PASS
        else:
            with pytest.raises(EvidenceRejected) as refusal:
                blindai.connect(server.address, certificate=old, simulation=root)
            assert refusal.value.reason is Reason.OPERATOR_MISMATCH


def test_wrong_files_change_nothing_with_sighup(tmp_path):
    """What would keep the server from starting leaves a running one as it is, and the log says why."""
    openssl(command(tmp_path))
    pem = tmp_path / "host_server.pem"
    old = tmp_path / "old.pem"
    shutil.copy(pem, old)
    with running_server(tls_dir=str(tmp_path)) as server:
        pem.write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "not reloaded" in server.log.read_text())
        assert f"{pem} is not a PEM certificate" in server.log.read_text()
        with blindai.connect(
            server.address, certificate=old, simulation=server.ready["root_sha256"]
        ) as client:
            assert operator_of(client.verdict).outcome is Outcome.PASS


def test_a_server_with_wrong_files_does_not_start(tmp_path):
    """The message names the file and what is wrong, the hint the command that makes good ones."""
    with (
        pytest.raises(AssertionError, match="cannot be read: No such file") as caught,
        running_server(tls_dir=str(tmp_path)),
    ):
        pass
    assert "openssl req -x509" in str(caught.value)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_check_config_looks_at_the_files(tmp_path, capsys, form):
    """`serve --check-config` says what would keep the server from starting."""
    check = ("serve", "--simulation", "--check-config", "--tls-dir", str(tmp_path), *form)
    assert main(check) == 1
    assert "host_server.pem cannot be read" in capsys.readouterr().err
    openssl(command(tmp_path))
    assert main(check) == 0


def wait_for(condition):
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)
