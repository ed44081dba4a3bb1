"""Whom a model is for: by its upload, by its owner's later word, and never by a slip."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests import models
from tests.server.house import FOLDER, Arriving, House, house, until
from tests.server.owners import INPUT, KEY_IDS, entry, expel, infer, invite, share, told

MODEL, OTHER = models.identity(), models.adder()
BOB = KEY_IDS["bob"]


async def test_a_model_is_its_owners_alone_unless_they_say_otherwise(owned: House):
    """What is uploaded without a word is private; on a server that knows nobody, it is everybody's."""
    await owned.upload("m", MODEL, who="alice")
    assert (await entry(owned, "alice/m"))["visibility"] == "private"
    with house() as opened:
        assert (await opened.upload("m", MODEL)).json()["visibility"] == "public"


@pytest.mark.parametrize(
    ("headers", "visibility", "shared_with"),
    [
        ({"blindai_visibility": "public"}, "public", []),
        ({"blindai_visibility": "private"}, "private", []),
        ({"blindai_visibility": "shared", "blindai_share_with": BOB}, "shared", [BOB]),
        ({"blindai_share_with": f"{BOB}, {'0' * 64},"}, "shared", [BOB, "0" * 64]),
    ],
)
async def test_an_upload_says_whom_it_is_for(
    owned: House, headers: dict[str, str], visibility: str, shared_with: list[str]
):
    """By its headers; naming keys is sharing."""
    reply = await owned.upload("m", MODEL, who="alice", **headers)
    assert (reply.json()["visibility"], reply.json()["shared_with"]) == (visibility, shared_with)
    assert (await infer(owned, "alice/m", "bob"))[0] == (404 if visibility == "private" else 200)


@pytest.mark.parametrize(
    "headers",
    [
        {"blindai_visibility": "everybody"},
        {"blindai_visibility": "shared"},
        {"blindai_visibility": "private", "blindai_share_with": BOB},
        {"blindai_visibility": "public", "blindai_share_with": BOB},
        {"blindai_share_with": "bob"},
        {"blindai_share_with": ","},
        {"blindai_visibility": ""},
    ],
)
async def test_an_upload_whose_words_make_no_sense(owned: House, headers: dict[str, str]):
    """Refused before it is read: a slip must not make a model visible to others than were meant."""
    reply = await owned.ask(
        "PUT",
        f"{FOLDER}m",
        b"",
        who="alice",
        headers={
            **{name.replace("_", "-"): value for name, value in headers.items()},
            "content-length": "9",
            "expect": "100-continue",
        },
    )
    assert told(reply) == (400, "malformed")
    assert owned.finished[-1].request_bytes == 0


async def test_a_new_version_is_for_those_whom_the_old_one_was_for(owned: House):
    """Unless its upload says otherwise; but nobody's bytes become public without a word of theirs."""
    await owned.upload("m", MODEL, who="alice", blindai_share_with=BOB)
    reply = await owned.upload("m", OTHER, who="alice")
    assert (reply.json()["visibility"], reply.json()["shared_with"]) == ("shared", [BOB])
    for said, visibility in (({"blindai_visibility": "public"}, "public"), ({}, "private")):
        reply = await owned.upload("m", MODEL, who="alice", **said)
        assert (reply.json()["visibility"], reply.json()["shared_with"]) == (visibility, [])
    assert await infer(owned, "alice/m", "bob") == (404, "model-not-found")


async def test_whom_else_a_model_is_for_is_its_owners_to_know(owned: House):
    """Others see that it is shared with them, not with whom else, nor when it was used."""
    other = "0" * 64
    await owned.upload("m", MODEL, who="alice", blindai_share_with=f"{BOB},{other}")
    assert await infer(owned, "m") == (200, "")
    mine = await entry(owned, "alice/m")
    assert mine["shared_with"] == [BOB, other]
    for who in ("bob", "root"):
        assert await entry(owned, "alice/m", who) == {**mine, "shared_with": [], "last_used": 0}
    deleted = await owned.ask("DELETE", f"{FOLDER}alice%2Fm", who="root")
    assert (deleted.json()["shared_with"], deleted.json()["last_used"]) == ([], 0)


async def test_sharing_changes_whom_a_model_is_for_and_nothing_else(owned: House):
    """The model stays the one it was, and stays loaded."""
    await owned.upload("m", MODEL, who="alice")
    before = await entry(owned, "alice/m")
    reply = await share(owned, "m", visibility="shared", shared_with=[BOB, BOB])
    assert reply.json() == {**before, "visibility": "shared", "shared_with": [BOB]}
    assert await entry(owned, "alice/m") == reply.json()
    assert [(await infer(owned, "alice/m", who))[0] for who in ("bob", "carol")] == [200, 404]
    assert (await share(owned, "m", visibility="public")).status == 200
    assert [(await infer(owned, "alice/m", who))[0] for who in ("bob", "carol")] == [200, 200]
    assert (await share(owned, "m", visibility="private")).status == 200
    assert [(await infer(owned, "alice/m", who))[0] for who in ("bob", "carol")] == [404, 404]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"no", b"[]", b"{}", b'{"visibility": "everybody"}', b'{"visibility": "shared"}',
        b'{"visibility": "shared", "shared_with": "bob"}',
        b'{"visibility": "shared", "shared_with": ["bob"]}',
        b'{"visibility": "shared", "shared_with": {}}', b'{"visibility": ["public"]}',
        b'{"visibility": "shared", "shared_with": [[]]}', b'{"visibility": "shared", "shared_with": [{}, 1]}',
        json.dumps({"visibility": "public", "shared_with": [BOB]}).encode(),
    ],
)  # fmt: skip
async def test_a_sharing_that_makes_no_sense(owned: House, body: bytes):
    """It changes nothing."""
    await owned.upload("m", MODEL, who="alice", blindai_share_with=BOB)
    before = await entry(owned, "alice/m")
    reply = await owned.ask("POST", f"{FOLDER}m/sharing", body, who="alice")
    assert told(reply) == (400, "malformed")
    assert await entry(owned, "alice/m") == before


async def test_a_model_that_was_unshared_while_a_request_arrived(owned: House):
    """A right that is lost before the body is there is lost for this request."""
    await owned.upload("m", MODEL, who="alice", blindai_share_with=BOB)
    body = Arriving()
    body.put_nowait(INPUT[:5])
    asked = asyncio.ensure_future(owned.ask("POST", "/v2/models/alice%2Fm/infer", body, who="bob"))
    await until(body.empty)
    assert (await share(owned, "m", visibility="private")).status == 200
    body.put_nowait(INPUT[5:])
    body.put_nowait(None)
    assert told(await asked) == (404, "model-not-found")


async def test_a_key_that_was_removed_while_its_request_arrived_shares_nothing(owned: House):
    """Whoever was put out of a namespace does not make its models public with a body that dawdled."""
    await owned.upload("m", MODEL, who="alice")
    for who in ("alice", "laptop"):
        await invite(owned, "laptop", who)
    body = Arriving()
    body.put_nowait(b'{"visibility":')
    asked = asyncio.ensure_future(owned.ask("POST", f"{FOLDER}m/sharing", body, who="laptop"))
    await until(body.empty)
    assert await expel(owned, "laptop", "alice") == (200, "")
    body.put_nowait(b' "public"}')
    body.put_nowait(None)
    assert told(await asked) == (404, "model-not-found")
    assert (await entry(owned, "alice/m"))["visibility"] == "private"
