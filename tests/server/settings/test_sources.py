"""Defaults, file, environment, flags: which one wins, and how each spells a value."""

from __future__ import annotations

import json

import pytest

from blindai.server.settings import Settings, load_settings
from blindai.server.settings.key import Key, Kind
from blindai.server.settings.tables import KEYS

BY_NAME = {key.dotted: key for key in KEYS}
# What follows from no default. A path without a key to it would be refused, and so would a key by itself.
SPECIAL = {
    "server.host": ("10.0.0.1", "10.0.0.2", "10.0.0.3"),
    "server.names": (["a.example"], ["b.example", "c.example"], ["d.example"]),
    "server.published_policy": ("/a.toml", "/b.toml", "/c.toml"),
    "store.path": ("/a", "/b", "/c"),
    "store.key": ("snp", "gramine", "vtpm:/blob"),
    "server.tls_dir": ("/a", "/b", "/c"),
    "collateral.path": ("/a", "/b", "/c"),
    "collateral.intel_url": ("https://a.example", "https://b.example", "https://c.example"),
    "collateral.intel_api_key_file": ("/a", "/b", "/c"),
    "collateral.amd_url": ("https://a.example", "azure-thim", "https://c.example"),
    "collateral.tls_ca": ("/a", "/b", "/c"),
    "metrics.address": ("127.0.0.1:1", "127.0.0.1:2", "[::1]:3"),
    "telemetry.endpoint": ("https://a.example/", "https://b.example/", "https://c.example/"),
}
COMPANIONS = {"store.path": {"store.key": "snp"}, "store.key": {"store.path": "/store"}}


def three_values(key: Key) -> tuple[object, object, object]:
    """Three values of a key, none of them like the one before it; the first is not the default."""
    if key.dotted in SPECIAL:
        return SPECIAL[key.dotted]
    if key.about.choices:
        others = [choice for choice in key.about.choices if choice != key.default]
        return others[0], key.default, others[-1]
    if key.kind is Kind.BOOLEAN:
        return not key.default, key.default, not key.default
    step = 0.5 if key.kind is Kind.NUMBER else 1
    return key.default + step, key.default + 2 * step, key.default + 3 * step


def as_text(value: object) -> str:
    return (
        ",".join(value)
        if isinstance(value, list)
        else str(value).lower()
        if value in (True, False)
        else str(value)
    )


def as_set(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.dotted)
def test_the_later_source_wins_for_every_key(load, key):
    """Default, file, environment, command line: each over the one before it, and the origin says which."""
    first, second, third = three_values(key)
    text = f"[{key.table}]\n{key.name} = {json.dumps(first)}\n"
    companions = COMPANIONS.get(key.dotted, {})
    steps = [
        ("", {}, {}, key.default, "default"),
        (text, {}, {}, first, "blindai.toml line 2"),
        (text, {key.variable: as_text(second)}, {}, second, key.variable),
        (text, {key.variable: as_text(second)}, {key.dotted: as_text(third)}, third, "command line"),
    ]
    for file, environment, flags, expected, origin in steps:
        if not file and companions:
            continue
        loaded = load(file, environment, {**companions, **flags})
        assert getattr(loaded.settings, key.field) == as_set(expected)
        assert type(getattr(loaded.settings, key.field)) is type(as_set(expected))
        assert loaded.origin[key.dotted] == origin


def test_sources_are_merged_key_by_key(load):
    """A source that sets one key of a table leaves the others to those before it."""
    loaded = load("[limits]\nmax_models = 3\nmax_headers = 5\n", {"BLINDAI_LIMITS_MAX_MODELS": "4"})
    assert (loaded.settings.max_models, loaded.settings.max_headers) == (4, 5)


def test_without_any_source_there_are_the_defaults():
    """No file, no variable and no flag make the settings of `Settings()`, each of them a default."""
    loaded = load_settings(None, {"PATH": "/bin"}, {})
    assert loaded.settings == Settings()
    assert set(loaded.origin.values()) == {"default"}


def test_no_file_is_read_unasked(tmp_path, monkeypatch):
    """A blindai.toml in the current folder, which anybody may have put there, changes nothing."""
    (tmp_path / "blindai.toml").write_text("[server]\nopen = true\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}, {}).settings == Settings()


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("server.open", "true", True),
        ("server.open", "1", True),
        ("server.model_upload", "false", False),
        ("server.model_upload", "0", False),
        ("limits.max_models", "2_000", 2000),
        ("limits.caller_max_models", "0", 0),
        ("timeouts.drain_seconds", "1.5", 1.5),
        ("timeouts.drain_seconds", "2", 2.0),
        ("server.names", "a.example", ("a.example",)),
        ("server.names", "a.example, b.example", ("a.example", "b.example")),
        ("log.level", "debug", "debug"),
    ],
)
def test_how_the_environment_spells_values(key, text, value):
    """Numbers, truth and lists are read strictly, in the environment and after --set alike."""
    field = BY_NAME[key].field
    assert getattr(load_settings(None, {BY_NAME[key].variable: text}, {}).settings, field) == value
    assert getattr(load_settings(None, {}, {key: text}).settings, field) == value


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("server.open", "yes", "must be true or false"),
        ("server.open", "True", "must be true or false"),
        ("server.open", "", "must be true or false"),
        ("limits.max_models", "", "must be an integer"),
        ("limits.max_models", "3.0", "must be an integer"),
        ("limits.max_models", "1e3", "must be an integer"),
        ("limits.max_models", " 3", "must be an integer"),
        ("limits.max_models", "٣", "must be an integer"),
        ("limits.max_models", "2GiB", "must be an integer"),
        ("limits.max_models", "9" * 5000, "must be an integer"),
        ("limits.max_models", "9" * 30, "must be at least 1"),
        ("limits.max_models", "-1", "must be at least 1"),
        ("limits.max_models", "0", "must be at least 1"),
        ("limits.caller_max_models", "-1", "must be at least 0"),
        ("server.port", "65536", "must be between 0 and 65535"),
        ("timeouts.drain_seconds", "nan", "must be a number"),
        ("timeouts.drain_seconds", "inf", "must be a number"),
        ("timeouts.drain_seconds", "0", "must be between"),
        ("timeouts.drain_seconds", "9" * 12, "must be between"),
        ("server.names", "", "must be a list of at least one string"),
        ("server.names", "a.example,,b.example", "must be a list of at least one string"),
        ("store.path", "", "must be a string, printable and not empty"),
        ("server.host", "127.0.0.1\n", "must be a string, printable and not empty"),
        ("log.format", "xml", 'must be "text" or "json"'),
    ],
)
def test_texts_that_stand_for_no_value(refusal, key, text, said):
    """What is no value of the kind, or out of bounds, is refused by the variable's or the flag's name."""
    variable = BY_NAME[key].variable
    assert f"{variable} {said}" in refusal(environment={variable: text})
    assert f"{key} {said}" in refusal(flags={key: text})


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.dotted)
def test_a_value_that_is_refused_is_not_quoted(refusal, key):
    """Whatever was put in the wrong place, a key or a password, stays out of the message."""
    said = refusal(environment={key.variable: "canary\n"})
    assert key.variable in said
    assert "canary" not in said


@pytest.mark.parametrize("value", [True, 3.0, None, [1], "x"])
def test_flags_of_a_wrong_type(refusal, value):
    """A flag with a value of its own type is held to the same kinds."""
    assert "limits.max_models must be an integer" in refusal(flags={"limits.max_models": value})


def test_models_of_the_command_line_are_added(load):
    """They come after those of the file, which they may not be called like."""
    loaded = load("[[models]]\npath = '/m/a.onnx'\n", models=["b.onnx", "/x/C.onnx"])
    assert [(model.name, model.path) for model in loaded.settings.models] == [
        ("a", "/m/a.onnx"),
        ("b", "b.onnx"),
        ("c", "/x/C.onnx"),
    ]
    assert loaded.origin["models[0]"] == "blindai.toml line 1"
    assert loaded.origin["models[2]"] == "command line"


def test_two_models_of_one_name(refusal):
    """A model of the command line does not silently replace one of the file."""
    said = refusal("[[models]]\npath = '/m/a.onnx'\n", models=["other/A.onnx"])
    assert "two models would be called 'a'" in said
