"""Whose a namespace is: its first key's, and those keys' that are invited and come."""

from __future__ import annotations

import asyncio
import json

import pytest

from blindai.errors import RequestCode, RequestError
from blindai.server.callers.caller import NO_QUOTA, Caller, Role
from blindai.server.catalogue.namespaces import check_may_upload
from blindai.store.catalogue import MAX_BOUND_KEYS, UNBOUND, Binding
from blindai.store.store import Store
from blindai.wire.model_name import ModelName
from tests import models
from tests.server.house import House, holder, house, until
from tests.server.owners import CALLERS, KEY_IDS, expel, infer, invite, share, told
from tests.serving import tensor

MODEL, OTHER = models.identity(), models.adder()
BOB = KEY_IDS["bob"]


async def test_a_key_is_invited_and_comes(owned: House):
    """Neither alone is enough; nobody removes themselves, and whoever is removed is out at once."""
    await owned.upload("m", MODEL, who="alice")
    bound = (403, "namespace-bound")
    assert await invite(owned, "laptop", "laptop") == bound
    for _ in range(2):
        assert await invite(owned, "laptop", "alice") == (200, "")
    assert told(await owned.upload("n", MODEL, who="laptop")) == bound
    assert await infer(owned, "m", "laptop") == (404, "model-not-found")
    for _ in range(2):
        assert await invite(owned, "laptop", "laptop") == (200, "")
    assert (await owned.upload("n", MODEL, who="laptop")).status == 201
    assert await expel(owned, "laptop", "laptop") == (403, "forbidden")
    assert await expel(owned, "laptop", "alice") == (200, "")
    assert await infer(owned, "alice/m", "laptop") == (404, "model-not-found")
    assert await invite(owned, "laptop", "laptop") == bound
    assert await infer(owned, "m") == (200, "")


async def test_an_invitation_is_taken_back(owned: House):
    """Whoever was invited and has not come stays out."""
    await owned.upload("m", MODEL, who="alice")
    await invite(owned, "laptop", "alice")
    assert await expel(owned, "laptop", "alice") == (200, "")
    assert await invite(owned, "laptop", "laptop") == (403, "namespace-bound")


async def test_an_invited_key_invites_nobody(owned: House):
    """Before it came, it has no more say than others."""
    await owned.upload("m", MODEL, who="alice")
    await invite(owned, "laptop", "alice")
    assert await invite(owned, "bob", "laptop") == (403, "namespace-bound")
    assert await expel(owned, "alice", "laptop") == (403, "namespace-bound")
    assert await infer(owned, "m") == (200, "")


async def test_who_is_invited_somewhere_is_not_taken_there_unasked(owned: House):
    """Whoever binds a namespace first cannot have its real owner upload into what is theirs."""
    assert await invite(owned, "alice", "laptop") == (200, "")
    reply = await owned.upload("m", MODEL, who="alice")
    assert told(reply) == (403, "namespace-bound")
    assert "invited" in reply.json()["error"]
    assert "invited" not in (await owned.upload("laptop/m", MODEL, who="bob")).json()["error"]


async def test_a_namespace_that_nobody_uploaded_to_is_bound_by_its_first_key(owned: House):
    """Whoever invites somebody into it first, who is then a member of it."""
    assert await invite(owned, "bob", "alice") == (200, "")
    assert told(await owned.upload("m", MODEL, who="laptop")) == (403, "namespace-bound")
    assert (await owned.upload("m", MODEL, who="alice")).status == 201


async def test_an_upload_that_fails_binds_nothing(store: Store):
    """Neither one that is no model, nor one for which there was no room at that moment."""
    slow = models.slow()
    with house(store, callers=CALLERS, max_total_model_bytes=len(slow)) as server:
        assert (await server.upload("slow", slow, who="bob")).status == 201
        body = json.dumps({"inputs": [tensor("iterations", "INT64", [1], [1500])]}).encode()
        asked = asyncio.ensure_future(server.ask("POST", "/v2/models/slow/infer", body, who="bob"))
        await until(lambda: server.services.running)
        assert told(await server.upload("m", MODEL, who="laptop")) == (507, "storage-full")
        assert told(await server.upload("m", b"no model", who="laptop")) == (422, "model-invalid")
        assert (await asked).status == 200
        assert (await server.upload("m", MODEL, who="alice")).status == 201


async def test_a_key_that_is_no_member_is_removed_without_a_word(owned: House):
    """Removing is about the end, not about the way; the last key stays."""
    await owned.upload("m", MODEL, who="alice")
    own = CALLERS[0].key_sha256
    assert (await owned.ask("DELETE", f"/v2/caller/keys/{BOB}", who="alice")).status == 200
    assert told(await owned.ask("DELETE", f"/v2/caller/keys/{own}", who="alice")) == (403, "forbidden")
    assert await infer(owned, "alice/m") == (200, "")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_who_has_no_namespace_to_let_others_into(owned: House, method: str):
    """Users do not own theirs, and nobody in particular owns that of a server that knows nobody."""
    target = f"/v2/caller/keys/{BOB}"
    assert told(await owned.ask(method, target, who="carol")) == (403, "forbidden")
    with house() as opened:
        assert told(await opened.ask(method, target)) == (403, "forbidden")


@pytest.mark.parametrize("key", ["bob", BOB.upper(), BOB[1:], "%20" + BOB])
async def test_what_is_no_key_id(owned: House, key: str):
    """A key in the place of its id is refused, and not quoted."""
    reply = await owned.ask("PUT", f"/v2/caller/keys/{key}", who="alice")
    assert told(reply) == (400, "malformed")
    assert BOB[1:] not in reply.json()["error"]


async def test_an_upload_binds_the_namespace_of_its_caller(sealed: House, store: Store):
    """To the key that uploaded, once; the server's own shelf too, to its first admin."""
    for who, namespace in (("alice", "alice"), ("root", "")):
        (key,) = (caller.key_sha256 for caller in CALLERS if caller.name == who)
        assert store.binding(namespace).keys == ()
        for _ in range(2):
            await sealed.upload("m", MODEL, who=who)
            assert store.binding(namespace).keys == (key,)
    assert store.binding("laptop").keys == ()


async def test_how_many_keys_a_namespace_has(sealed: House, store: Store):
    """So many that hold it or are invited, together; one that is there is no further one."""
    await sealed.upload("m", MODEL, who="alice")
    others = tuple(f"{number:064x}" for number in range(MAX_BOUND_KEYS - 2))
    store.bind("alice", (KEY_IDS["alice"],), others)
    for who in ("alice", "laptop", "alice"):
        assert await invite(sealed, "laptop", who) == (200, "")
    assert len(store.binding("alice").keys) == 2
    assert await invite(sealed, "bob", "alice") == (403, "forbidden")
    assert (await sealed.ask("DELETE", f"/v2/caller/keys/{others[0]}", who="alice")).status == 200
    assert await invite(sealed, "bob", "alice") == (200, "")


NAMES = [
    ("bob", "alice/x", "forbidden"),
    ("root", "alice/x", "forbidden"),
    ("carol", "x", "forbidden"),
    ("carol", "alice/x", "forbidden"),
    ("bob", "free/x", "forbidden"),
    ("root", "free/x", "forbidden"),
    ("laptop", "x", "namespace-bound"),
    ("laptop", "alice/m", "namespace-bound"),
    ("laptop", "bob/x", "forbidden"),
]


@pytest.mark.parametrize(("who", "name", "code"), NAMES)
async def test_whose_names_one_may_not_give(owned: House, who: str, name: str, code: str):
    """Others' and free ones to nobody; one's own not either, where another key holds it."""
    await owned.upload("m", MODEL, who="alice")
    assert told(await owned.upload(name, OTHER, who=who)) == (403, code)
    assert await owned.names("root") == ["alice/m"]


async def test_the_servers_shelf_is_its_first_admins(store: Store):
    """The host cannot write itself into the settings as another admin, and replace what all use."""
    callers = (*CALLERS, holder("second", "admin"))
    with house(store, callers=callers) as server:
        await server.upload("house", MODEL, who="root", blindai_visibility="public")
        assert told(await server.upload("house", OTHER, who="second")) == (403, "namespace-bound")
        assert told(await share(server, "house", who="second", visibility="private")) == (403, "forbidden")


def test_the_servers_shelf_is_no_owners():
    """An owner whose token names no namespace has none: not even one that another key could hold."""
    nowhere = Caller("frank", Role.OWNER, "", BOB, NO_QUOTA)
    for binding in (UNBOUND, Binding((KEY_IDS["root"],)), Binding((BOB,))):
        with pytest.raises(RequestError) as caught:
            check_may_upload(nowhere, ModelName("", "m"), binding)
        assert caught.value.code is RequestCode.FORBIDDEN
