"""A name with a typo in it is refused, wherever it stands, with the one that was meant."""

from __future__ import annotations

import pytest

from blindai.server.settings.entries import CALLER_KEYS, ENTRIES, JWT_KEYS, MODEL_KEYS
from blindai.server.settings.tables import KEYS, TABLES
from tests.server.settings.conftest import KEY_ID

ALL_TABLES = (*TABLES, *ENTRIES)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.dotted)
def test_every_key_is_suggested_for_a_typo(refusal, key):
    """The last letter is missing: the file names the line, the environment the variable, --set the key."""
    name = key.name[:-1]
    assert refusal(f"\n[{key.table}]\n\n{name} = 1\n").startswith(
        f'blindai.toml line 4: [{key.table}] "{name}" is not a known key; did you mean {key.name}?'
    )
    assert f'"{key.variable[:-1]}" sets nothing; did you mean {key.variable}?' in refusal(
        environment={key.variable[:-1]: "1"}
    )
    assert f'"{key.dotted[:-1]}" is not a known key; did you mean {key.dotted}?' in refusal(
        flags={key.dotted[:-1]: "1"}
    )


@pytest.mark.parametrize("key", [*CALLER_KEYS, *MODEL_KEYS, *JWT_KEYS], ids=lambda key: key.dotted)
def test_every_key_of_an_entry_is_suggested(refusal, key):
    """The same in callers, models and jwt."""
    header = f"[{key.table}]" if key.table == "jwt" else f"[[{key.table}]]"
    name = f"{key.name}x"
    assert f'[{key.table}] "{name}" is not a known key; did you mean {key.name}?' in refusal(
        f"{header}\n{name} = 1\n"
    )


@pytest.mark.parametrize("table", ALL_TABLES)
def test_every_table_is_suggested(refusal, table):
    """A table with a typo in its name is not passed over."""
    said = refusal(f"# settings\n[{table}x]\n")
    assert said.startswith(f'blindai.toml line 2: "{table}x" is not a known table; did you mean [{table}]?')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 1", "did you mean port in [server]?"),
        ("[server]\nmax_models = 1", "did you mean max_models in [limits]?"),
        ("[engine]\nengine_threads = 1", "did you mean threads in [engine]?"),
        ("[server]\nstore_path = '/s'", "did you mean path in [store]?"),
        ("[log]\ncolour = true", "known: format, level"),
        ("[zzzzzz]", "known: server, limits, timeouts"),
        (f'[log]\n"{"é" * 9000}" = 1', "is not a known key"),
    ],
)
def test_a_key_in_the_wrong_table(refusal, text, said):
    """The table that it belongs to is named; where nothing is near, what there is."""
    assert said in refusal(text)
    assert len(refusal(text)) < 500


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("BLINDAI_MAX_MODELS", "did you mean BLINDAI_LIMITS_MAX_MODELS?"),
        ("BLINDAI_LIMIT_MAX_MODELS", "did you mean BLINDAI_LIMITS_MAX_MODELS?"),
        ("BLINDAI_LIMITS_MAX_MODLES", "did you mean BLINDAI_LIMITS_MAX_MODELS?"),
        ("BLINDAI_PORT", "did you mean BLINDAI_SERVER_PORT?"),
        ("BLINDAI_CALLERS_NAME", "[callers] stands in the file only"),
        ("BLINDAI_MODELS_PATH", "[models] stands in the file only"),
        ("BLINDAI_JWT_JWKS", "[jwt] stands in the file only"),
        ("BLINDAI_STORE_ZZZZZZZZZZZZZZZZZZ", "sets nothing"),
        ("BLINDAI_SERVER_SERVICE_HOST", "enableServiceLinks"),
        ("BLINDAI_SERVER_PORT_9924_TCP_ADDR", "sets nothing"),
    ],
)
def test_variables_that_set_nothing(refusal, variable, said):
    """One of a table of ours, or one that is nearly ours, would otherwise be a limit that is not set."""
    assert said in refusal(environment={variable: "7"})


def test_a_port_from_kubernetes(refusal):
    """A service called blindai-server puts a URL where the port stands; the hint says how to keep it out."""
    said = refusal(environment={"BLINDAI_SERVER_PORT": "tcp://10.0.0.1:9924"})
    assert "BLINDAI_SERVER_PORT must be an integer" in said
    assert "enableServiceLinks" in said


@pytest.mark.parametrize(
    "variable",
    [
        "BLINDAI_API_KEY",
        "BLINDAI_DISABLE_TELEMETRY",
        "BLINDAI_SOAK",
        "BLINDAI_SERVICE_HOST",
        "BLINDAI_SERVICE_PORT",
        "BLINDAI_SERVICE_PORT_HTTPS",
        "BLINDAI_PORT_9924_TCP_ADDR",
        "blindai_limits_max_models",
        "MY_BLINDAI_LIMITS_MAX_MODELS",
    ],
)
def test_variables_of_others_are_left_alone(load, variable):
    """Those of the client, and those of a Kubernetes service called blindai, are none of ours."""
    load(environment={variable: "1", "BLINDAI_PORT": "tcp://10.0.0.1:9924"})


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("models", "stands in the file only: [models]"),
        ("callers.name", "stands in the file only: [callers]"),
        ("jwt.jwks", "stands in the file only: [jwt]"),
        ("limit.max_models", "did you mean limits.max_models?"),
        ("max_models", "did you mean limits.max_models?"),
        ("log.zzzzzz", "known: format, level"),
        ("zzzzzz", "is not a known table"),
        ("", "is not a known table"),
    ],
)
def test_flags_that_set_nothing(refusal, key, said):
    """--set knows the keys that have one value each."""
    assert said in refusal(flags={key: "1"})


def test_the_key_itself_is_never_quoted(refusal):
    """Whoever puts the key where its hash belongs does not find it in a log."""
    said = refusal("[[callers]]\nname = 'alice'\nrole = 'owner'\nkey_sha256 = 'blindai_canary'\n")
    assert "blindai.toml line 1" in said
    assert "hexadecimal" in said
    assert "canary" not in said
    assert KEY_ID not in said
