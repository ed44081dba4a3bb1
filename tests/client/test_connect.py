"""Connecting: what must be said, what is verified, what is refused."""

from __future__ import annotations

import asyncio

import pytest

import blindai
from blindai.errors import EvidenceRejected, PolicyError, Reason, UnreachableError, UsageError
from blindai.testing import TlsIdentity


def test_the_policy_of_the_running_code_is_satisfied(server, root, tmp_path):
    """The policy that `blindai measure` prints for these sources accepts the server that runs them."""
    policy = tmp_path / "policy.toml"
    policy.write_text(server.ready["policy"])
    with blindai.connect(server.address, policy=policy, simulation=root) as client:
        assert client.verdict.accepted
        assert client.verdict.simulated
        assert "SIMULATED" in str(client.verdict)
        assert client.server().name == "blindai"


def test_a_policy_of_other_code_is_refused_with_a_verdict(server, root):
    """The refusal says which claim differs, what was found and what the policy wants."""
    wanted = "00" * 48
    lines = server.ready["policy"].splitlines()
    text = "\n".join(f'rtmr2 = "{wanted}"' if line.startswith("rtmr2") else line for line in lines)
    with pytest.raises(EvidenceRejected) as refusal:
        blindai.connect(server.address, policy=blindai.Policy.from_toml(text), simulation=root)
    assert refusal.value.reason is Reason.MEASUREMENT_MISMATCH
    failed = [(check.claim, check.expected) for check in refusal.value.verdict.failures]
    assert failed == [("rtmr2", wanted)]


def test_neither_policy_nor_simulation_is_a_usage_error(server):
    """Without a demand there is nothing to verify; the error names the command that makes a policy."""
    with pytest.raises(UsageError) as refusal:
        blindai.connect(server.address)
    assert "blindai measure" in refusal.value.hint


def test_a_simulation_is_refused_where_hardware_is_demanded(server):
    """A production policy alone never accepts a simulated server."""
    policy = blindai.Policy.from_toml(server.ready["policy"])
    with pytest.raises(blindai.AttestationError) as refusal:
        blindai.connect(server.address, policy=policy)
    assert refusal.value.reason is Reason.ROOT_UNKNOWN
    assert "simulation" in refusal.value.hint


@pytest.mark.parametrize("form", ["stapled", "fingerprint", "fingerprint with colons"])
def test_the_forms_of_simulation(server, form):
    """simulation= takes a root file, its fingerprint, or True on this machine."""
    fingerprint = server.ready["root_sha256"]
    spaced = ":".join(fingerprint[i : i + 2].upper() for i in range(0, 64, 2))
    chosen = {"stapled": True, "fingerprint": fingerprint, "fingerprint with colons": spaced}[form]
    with blindai.connect(server.address, simulation=chosen) as client:
        assert client.verdict.simulated


def test_another_simulation_root_is_refused(server):
    """A pinned root is the only one accepted."""
    with pytest.raises(blindai.AttestationError) as refusal:
        blindai.connect(server.address, simulation="00" * 32)
    assert refusal.value.reason is Reason.ROOT_UNKNOWN


def test_a_demanded_operator_who_is_not_shown_is_a_refusal(server, tmp_path):
    """certificate= demands that the operator's key issued the connection's certificate."""
    certificate = tmp_path / "host_server.pem"
    certificate.write_text(TlsIdentity.make("operator", is_authority=True).pem)
    with pytest.raises(EvidenceRejected) as refusal:
        blindai.connect(server.address, simulation=True, certificate=certificate)
    assert refusal.value.reason is Reason.OPERATOR_UNKNOWN


def test_nobody_there(free_port):
    """A closed port is an UnreachableError with a hint, from both colours."""
    with pytest.raises(UnreachableError) as refusal:
        blindai.connect(f"127.0.0.1:{free_port}", simulation=True)
    assert "blindai serve" in refusal.value.hint
    with pytest.raises(UnreachableError):
        asyncio.run(blindai.aconnect(f"127.0.0.1:{free_port}", simulation=True))


@pytest.fixture
def free_port():
    """A port on which nothing listens."""
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    "arguments",
    [
        {"policy": "/nonexistent/policy.toml"},
        {"simulation": "/nonexistent/root.pem"},
        {"simulation": True, "certificate": __file__},
        {"simulation": True, "proxy": "http://127.0.0.1:1"},
        {"simulation": "00" * 32, "proxy": "https://127.0.0.1:1"},
    ],
)
def test_arguments_that_make_no_sense(arguments):
    """Unreadable files and impossible combinations are usage errors before anything is sent."""
    with pytest.raises(UsageError):
        blindai.connect("127.0.0.1:1", **arguments)


def test_a_policy_file_with_a_typo_does_not_load(tmp_path):
    """A typo never loosens a policy: it names the line and the key that was meant."""
    policy = tmp_path / "policy.toml"
    policy.write_text('version = 1\nexpire = 2027-01-01\n[[accept]]\ntee = "tdx"\n')
    with pytest.raises(PolicyError):
        blindai.connect("127.0.0.1:1", policy=policy)


def test_the_public_surface_is_all_there():
    """Every name that the package announces can be had."""
    for name in dir(blindai):
        assert getattr(blindai, name) is not None
