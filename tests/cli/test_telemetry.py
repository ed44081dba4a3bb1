"""`blindai telemetry show`: the exact message, or why there is none."""

from __future__ import annotations

import json

import pytest

from blindai.server.watch.telemetry import Usage, message

ENDPOINT = "https://usage.example.org/blindai"
MESSAGE = message(Usage(), mode="simulation", uptime_seconds=0).decode()
# Whoever runs the tests may have them set.
UNSWITCHED = {"BLINDAI_DISABLE_TELEMETRY": "", "DO_NOT_TRACK": ""}


@pytest.fixture
def config(tmp_path):
    """The settings of a simulated server with an endpoint."""
    path = tmp_path / "blindai.toml"
    path.write_text(f'[server]\nsimulation = true\n[telemetry]\nendpoint = "{ENDPOINT}"\n')
    return str(path)


def test_the_exact_message_is_printed(blindai, config):
    """stdout is the message that a server with these settings sends; where to is talk."""
    done = blindai("telemetry", "show", "--config", config, **UNSWITCHED)
    assert (done.returncode, done.stdout) == (0, MESSAGE + "\n")
    assert f"to {ENDPOINT} every 3600 s" in done.stderr


def test_as_json_the_message_is_a_string(blindai, config):
    """A program gets the same bytes, and where they go."""
    done = blindai("telemetry", "show", "--config", config, "--json", **UNSWITCHED)
    assert json.loads(done.stdout) == {
        "sent": True,
        "endpoint": ENDPOINT,
        "interval_seconds": 3600,
        "message": MESSAGE,
    }


def test_without_settings_nothing_is_sent(blindai):
    """The default is no telemetry, and the command says so."""
    done = blindai("telemetry", "show", **UNSWITCHED)
    assert (done.returncode, done.stdout) == (0, "nothing is sent: no endpoint is configured\n")


@pytest.mark.parametrize("variable", list(UNSWITCHED))
def test_a_switch_wins_over_the_settings(blindai, config, variable):
    """With either variable set, an endpoint gets nothing."""
    environment = {**UNSWITCHED, variable: "1"}
    done = blindai("telemetry", "show", "--config", config, **environment)
    assert (done.returncode, done.stdout) == (0, f"nothing is sent: {variable} is set\n")
    done = blindai("telemetry", "show", "--config", config, "--json", **environment)
    assert json.loads(done.stdout) == {"sent": False, "why": f"{variable} is set"}


def test_an_endpoint_of_the_environment_is_shown(blindai):
    """Without --config the environment alone decides, as for a server."""
    environment = {"BLINDAI_TELEMETRY_ENDPOINT": ENDPOINT, "BLINDAI_SERVER_SIMULATION": "true"}
    done = blindai("telemetry", "show", **environment, **UNSWITCHED)
    assert done.stdout == MESSAGE + "\n"


def test_a_bad_endpoint_is_a_usage_error(blindai):
    """As it is for a server, and the credentials in it are not printed."""
    environment = {"BLINDAI_TELEMETRY_ENDPOINT": "https://user:secret@usage.example.org/"}
    done = blindai("telemetry", "show", **environment, **UNSWITCHED)
    assert done.returncode == 1
    assert "credentials" in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_a_config_that_is_not_there_is_a_usage_error(blindai, tmp_path):
    """Nothing else is shown instead."""
    done = blindai("telemetry", "show", "--config", str(tmp_path / "none.toml"), **UNSWITCHED)
    assert (done.returncode, done.stdout) == (1, "")
