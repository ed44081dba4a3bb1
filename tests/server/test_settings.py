from __future__ import annotations

import math
import re

import pytest

from blindai.attestation import policy
from blindai.attestation.types import MAX_KEYSET_LIFE_SECONDS
from blindai.errors import UsageError
from blindai.server.promises import promises
from blindai.server.settings import ModelSettings, Settings


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
    ("given", "said"),
    [
        ({"max_model_bytes": 0}, "[limits] max_model_bytes must be at least 1"),
        ({"caller_max_models": -1}, "[limits] caller_max_models must be at least 0"),
        ({"drain_seconds": -1}, "[timeouts] drain_seconds must be between"),
        ({"drain_seconds": math.nan}, "[timeouts] drain_seconds must be between"),
        ({"port": -1}, "[server] port must be between 0 and 65535"),
        ({"port": 65536}, "[server] port must be between 0 and 65535"),
        (
            {"keyset_life_seconds": MAX_KEYSET_LIFE_SECONDS + 1},
            "[timeouts] keyset_life_seconds must be between",
        ),
        ({"engine_threads": 0}, "[engine] threads must be at least 1"),
        ({"delete_unused_days": -1}, "[store] delete_unused_days must be between 0"),
        ({"log_format": "xml"}, '[log] format must be "text" or "json"'),
        ({"log_level": "INFO"}, "[log] level must be"),
    ],
)
def test_values_that_make_no_sense(given, said):
    """They are refused when the settings are made, by the name that they have in the file."""
    with pytest.raises(UsageError, match=re.escape(said)):
        Settings(**given)


def test_zero_where_it_means_no_limit():
    """Limits of one caller and of one model may be none."""
    names = ("caller_max_models", "caller_max_model_bytes", "caller_requests_per_minute", "model_max_waiting")
    Settings(**dict.fromkeys((*names, "model_requests_per_minute", "delete_unused_days", "port"), 0))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"store_path": "/s"}, "[store] path needs [store] key"),
        ({"store_key": "snp"}, "[store] key needs [store] path"),
        ({"metrics_address": "9925"}, "[metrics] address is a host and a port"),
        ({"metrics_address": "::1:9925"}, "[metrics] address is a host and a port"),
        ({"metrics_address": "127.0.0.1:65536"}, "[metrics] address is a host and a port"),
        ({"metrics_address": "127.0.0.1:9924"}, "[metrics] address is the server's own"),
        ({"telemetry_endpoint": "http://usage.example.org/"}, "[telemetry] endpoint: "),
        ({"telemetry_endpoint": "https://user:canary@usage.example.org/"}, "[telemetry] endpoint: "),
        (
            {"models": (ModelSettings("a/x.onnx"), ModelSettings("b/X.onnx"))},
            "two models would be called 'x'",
        ),
        (
            {"models": (ModelSettings("x.onnx", max_request_bytes=2),), "max_request_bytes": 1},
            "[models] max_request_bytes of x is over [limits] max_request_bytes",
        ),
    ],
)
def test_values_that_do_not_go_together(given, said):
    """What would be ignored, or could not work, is refused; what was given is not quoted."""
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        Settings(**given)
    assert "canary" not in f"{caught.value}{caught.value.hint}"


def test_values_that_go_together():
    """The sealed store with its key, metrics beside the server, telemetry over TLS."""
    Settings(
        store_path="/s",
        store_key="snp",
        metrics_address="[::1]:9924",
        telemetry_endpoint="https://usage.example.org/blindai",
    )
    Settings(port=0, metrics_address="127.0.0.1:0", store_key="memory")


def test_policies_can_require_whatever_the_server_promises() -> None:
    """What a keyset states and what `[require]` knows are the same settings."""
    stated = promises(Settings(), sealing="memory", environment={})
    assert set(stated) == set(policy.SETTINGS)
