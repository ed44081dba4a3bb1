"""The command line never shows an API key, whatever was typed, and no input when something fails."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from blindai.wire.api_key import new_key
from tests.canaries import Canaries

# Where people put a key by mistake. Other users may have seen it, but no log of a build should keep it.
MISTAKES = [
    ["predict", "{host}", "adder", "--simulation", "--input", "a=1", "--token", "{key}"],
    ["predict", "{host}", "adder", "--simulation", "--input", "a=1", "--api-key", "{key}"],
    ["predict", "{host}", "adder", "--simulation", "--input", "a=1", "--api-key={key}"],
    ["predict", "{host}", "adder", "--simulation", "--input", "a=1", "--api_key={key}"],
    ["predict", "{host}", "adder", "--simulation", "--input", "a=1", "--api-key-file", "{key}"],
    ["predict", "{host}", "adder", "--simulation", "--input", "a=1", "{key}"],
    ["predict", "{host}", "adder", "--simulation", "--input", "a=1", "--timeout", "{key}"],
    ["models", "list", "{host}", "{key}"],
    ["models", "{key}"],
    ["keys", "show", "{host}", "--key", "{key}"],
    ["keys", "add", "{host}", "{key}", "--simulation"],
    ["keys", "{key}"],
    ["verify", "{key}@{host}", "--simulation"],
    ["verify", "https://alice:{key}@{host}", "--simulation"],
    ["{key}"],
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=" ".join)
@pytest.mark.parametrize("kind", ["API key", "token"])
def test_a_key_in_the_wrong_place_is_not_repeated(blindai, server, mistake, kind):
    """Usage errors say what is wrong without the word that may be a secret."""
    planted = Canaries()
    key = planted.known(kind, new_key(secrets.token_bytes))
    if kind == "token":
        key = "eyJhbGciOiJFZERTQSJ9." + ".".join(
            planted.text(f"{part} of a token") for part in ("body", "mac")
        )
    done = blindai(*(word.format(host=server.address, key=key) for word in mistake))
    assert done.returncode != 0
    assert planted.found_in((done.stdout + done.stderr).encode()) == set()


def test_a_key_in_the_environment_is_never_shown(blindai, server, tmp_path: Path):
    """Refused, malformed or from a file that others may read: the key itself is not shown."""
    planted = Canaries()
    for key in ("blindai_" + planted.text("key"), planted.text("key") + " " + planted.accented("key")):
        file = tmp_path / "key"
        file.write_text(key)
        file.chmod(0o644)
        for chosen in ({"BLINDAI_API_KEY": key}, {}):
            given = [] if chosen else ["--api-key-file", str(file)]
            done = blindai("models", "list", server.address, "--simulation", *given, **chosen)
            assert done.returncode != 0
            assert planted.found_in((done.stdout + done.stderr).encode()) == set()


def test_a_failed_prediction_shows_no_input(blindai, server, tmp_path: Path):
    """Values on the command line and in files, wrong here or refused by the server."""
    planted = Canaries()
    file = tmp_path / "values.json"
    file.write_text(json.dumps([planted.text("text in a file")]))
    for values in (
        [f"a={planted.text('not JSON')}"],
        [f"a=[{planted.number('number')}]"],
        [f'a=["{planted.text("text")}"]', "b=[1]"],
        [f"a=[{planted.integer('integer')}0000000000000000000000000000000000000000]", "b=[1]"],
        [f"a=@{file}", "b=[1]"],
        [planted.accented("not JSON")],
    ):
        inputs = [word for value in values for word in ("--input", value)]
        done = blindai("predict", server.address, "adder", "--simulation", *inputs)
        assert done.returncode != 0
        assert planted.found_in((done.stdout + done.stderr).encode()) == set()


def test_the_search_sees(blindai, server):
    """It is not blind: what a model answers is printed, and found."""
    planted = Canaries()
    text = json.dumps([planted.text("text")])
    done = blindai("predict", server.address, "echo", "--simulation", "--input", text)
    assert done.returncode == 0
    assert planted.found_in(done.stdout.encode()) != set()
