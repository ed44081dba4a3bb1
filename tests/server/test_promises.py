"""What a keyset says of the server is what the server does."""

from __future__ import annotations

from typing import Any

import pytest

from blindai.server.promises import promises
from blindai.server.settings import JwtSettings, Settings
from tests import models
from tests.server.house import holder, house

ENDPOINT = "https://usage.example.org/blindai"
JWT = JwtSettings(jwks="/jwks.json", issuer="https://issuer.example.org")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({}, "open"),
        ({"open": True}, "open"),
        ({"callers": (holder("alice"),)}, "owners"),
        ({"jwt": JWT}, "owners"),
        ({"callers": (holder("alice"),), "jwt": JWT}, "owners"),
        ({"model_upload": False}, "off"),
        ({"model_upload": False, "callers": (holder("alice"),)}, "off"),
    ],
)
def test_who_uploads(given: dict[str, Any], word: str):
    """Nobody, those whom the server tells apart, or whoever connects."""
    stated = promises(Settings(simulation=True, **given), sealing="memory", environment={})
    assert stated["model_upload"] == word


@pytest.mark.parametrize("word", ["memory", "file", "gramine-mrsigner", "vtpm"])
def test_under_which_key_models_lie(word: str):
    """The name of the key's source, which policies list."""
    assert promises(Settings(), sealing=word, environment={})["sealing"] == (word,)


def test_who_is_told_of_its_use():
    """Where usage counters go; nowhere if the environment says no, whatever the settings say."""
    reporting = Settings(telemetry_endpoint=ENDPOINT)
    nothing = promises(Settings(), sealing="memory", environment={})["telemetry"]
    assert promises(reporting, sealing="memory", environment={})["telemetry"] != nothing
    for name in ("BLINDAI_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        assert promises(reporting, sealing="memory", environment={name: "1"})["telemetry"] == nothing


@pytest.mark.parametrize(
    ("given", "who", "status"),
    [
        ({}, None, 201),
        ({"callers": (holder("alice"),)}, None, 401),
        ({"callers": (holder("alice"),)}, "alice", 201),
        ({"callers": (holder("alice"),), "model_upload": False}, "alice", 403),
        ({"model_upload": False}, None, 403),
    ],
)
async def test_a_word_is_kept(given: dict[str, Any], who: str | None, status: int):
    """The routes do what the word says, for uploads, sharing and deletions."""
    with house(**given) as server:
        assert (await server.upload("m", models.identity(), who=who)).status == status
        if status == 403:
            for method, path in (("DELETE", ""), ("POST", "/sharing")):
                reply = await server.ask(method, f"/v2/repository/models/m{path}", who=who)
                assert reply.code == "upload-disabled"
