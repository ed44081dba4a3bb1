from __future__ import annotations

import pytest

from blindai.attestation import policy
from blindai.attestation.types import MAX_KEYSET_LIFE_SECONDS
from blindai.errors import UsageError
from blindai.server import environment, lifecycle
from blindai.server.settings import Settings


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ("localhost", "127.0.0.1", "::1")),
        ({"host": "::1"}, ("localhost", "127.0.0.1", "::1")),
        ({"host": "10.1.2.3"}, ("10.1.2.3",)),
        ({"names": ("Inference.Example.ORG", "inference.example.org")}, ("inference.example.org",)),
        ({"names": ("0:0:0:0:0:0:0:1",)}, ("::1",)),
    ],
)
def test_names_that_clients_dial(given, names):
    """Names are canonical; without any, they follow from the address."""
    assert Settings(**given).dialled_names() == names


def test_a_server_on_every_address_has_its_host_name():
    """Listening on all addresses, the machine's own name is among the names."""
    names = Settings(host="0.0.0.0").dialled_names()
    assert names[:3] == ("localhost", "127.0.0.1", "::1")
    assert "0.0.0.0" not in names


@pytest.mark.parametrize("name", ["", "*.example.org", "host:9924", "https://host", "höst", "a b", "[::1]"])
def test_names_that_are_none(name):
    """Wildcards, ports, URLs and non-ASCII names are refused."""
    with pytest.raises(UsageError):
        Settings(names=(name,)).dialled_names()


@pytest.mark.parametrize(
    "given",
    [
        {"max_model_bytes": 0},
        {"drain_seconds": -1},
        {"port": -1},
        {"port": 65536},
        {"keyset_life_seconds": MAX_KEYSET_LIFE_SECONDS + 1},
    ],
)
def test_values_that_make_no_sense(given):
    """They are refused when the settings are made, by name."""
    with pytest.raises(UsageError, match=next(iter(given))):
        Settings(**given)


@pytest.mark.parametrize("variable", sorted(environment.FORBIDDEN))
def test_variables_that_are_refused(variable):
    """Each is named, with the way to start without it; set to nothing it does nothing."""
    with pytest.raises(UsageError, match=variable) as caught:
        environment.check({variable: "/some/file", "PATH": "/bin"})
    assert f"env -u {variable}" in caught.value.hint
    environment.check({variable: "", "PATH": "/bin", "PYTHONPATH": "src"})


def test_policies_can_require_whatever_the_server_promises() -> None:
    """What a keyset states and what `[require]` knows are the same settings."""
    assert set(lifecycle._promises(Settings())) == set(policy.SETTINGS)
