"""How many models may arrive at one time, and what an upload that fails leaves behind: nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from blindai.store.catalogue import MODEL_SUFFIX
from blindai.store.sealed_file import NEW_SUFFIX
from blindai.store.store import Store
from tests import models
from tests.server.house import FOLDER, Arriving, House, holder, house, until

MODEL = models.identity()
KEY = b"k" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def sealed(path: Path) -> Iterator[House]:
    """A server with a store, and places for three uploads, two of one caller."""
    callers = tuple(holder(name) for name in ("alice", "bob", "carol"))
    with (
        Store.open(path, KEY) as store,
        house(store, callers=callers, max_uploads=3, caller_max_uploads=2, max_model_bytes=4 * 2**20) as made,
    ):
        yield made


class Slow:
    """An upload that has begun, and ends when it is told to."""

    def __init__(self, server: House, who: str, name: str = "slow") -> None:
        self.pieces = Arriving()
        self.pieces.put_nowait(MODEL[:10])
        self._task = asyncio.ensure_future(server.ask("PUT", FOLDER + name, self.pieces, who=who))

    async def begun(self) -> Slow:
        await until(self.pieces.empty)
        return self

    async def end(self) -> int:
        self.pieces.put_nowait(MODEL[10:])
        self.pieces.put_nowait(None)
        return (await self._task).status


def blobs(path: Path) -> int:
    """How many files of models lie in the store, finished or not."""
    return sum(1 for file in path.iterdir() if file.name.endswith((MODEL_SUFFIX, NEW_SUFFIX)))


async def test_places_of_one_caller_and_of_all(sealed: House):
    """Two of one caller, three of all; whoever ends frees their place, and nobody else's."""
    first = [await Slow(sealed, "alice", name).begun() for name in ("a", "b")]
    reply = await sealed.upload("c", MODEL, who="alice")
    assert (reply.status, reply.code) == (429, "busy")
    assert "of yours" in reply.json()["error"]
    assert int(reply.headers["retry-after"]) > 0
    third = await Slow(sealed, "bob").begun()
    for who in ("bob", "carol"):
        reply = await sealed.upload("c", MODEL, who=who)
        assert (reply.status, reply.code) == (429, "busy")
        assert "of yours" not in reply.json()["error"]
    assert await third.end() == 201
    assert (await sealed.upload("c", MODEL, who="carol")).status == 201
    reply = await sealed.upload("c", MODEL, who="alice")
    assert reply.code == "busy"
    assert [await slow.end() for slow in first] == [201, 201]
    assert (await sealed.upload("c", MODEL, who="alice")).status == 201


async def test_a_place_that_is_given_back_is_one_place(sealed: House):
    """However many come and go, no more than the limits are there at one time, of a caller and of all."""

    async def begin(who: str, name: str) -> Slow:
        return await Slow(sealed, who, name).begun()

    async def refused(who: str) -> bool:
        return (await sealed.upload("over", MODEL, who=who)).code == "busy"

    first, second = await begin("alice", "a"), await begin("alice", "b")
    for _ in range(2):
        assert await first.end() in (200, 201)
        first = await begin("alice", "a")
        assert await refused("alice")
    other = await begin("bob", "a")
    for _ in range(2):
        assert await other.end() in (200, 201)
        other = await begin("bob", "a")
        assert await refused("carol")
    assert [await slow.end() for slow in (first, second, other)] == [200, 201, 200]
    for who in ("alice", "bob", "carol"):
        assert (await sealed.upload("last", MODEL, who=who)).status == 201


@pytest.mark.parametrize("model", [b"no model", b"x" * 2**20 * 5], ids=["invalid", "too large"])
async def test_an_upload_that_fails_frees_its_place(sealed: House, model: bytes):
    """Places are not used up by failures."""
    for _ in range(4):
        body = Arriving()
        for piece in (model, None):
            body.put_nowait(piece)
        reply = await sealed.ask("PUT", f"{FOLDER}m", body, who="alice")
        assert reply.code in ("model-invalid", "too-large")
    assert (await sealed.upload("m", MODEL, who="alice")).status == 201


@pytest.mark.parametrize("how", ["invalid", "too large", "digest"])
async def test_an_upload_that_fails_leaves_no_file(path: Path, sealed: House, how: str):
    """What was sealed while it arrived is removed at once, not at the next start."""
    body = Arriving()
    for piece in (b"x" * 2**21, b"x" * 2**21, b"x" * 2**20 if how == "too large" else b""):
        body.put_nowait(piece)
    body.put_nowait(None)
    digest = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
    headers = {"content-digest": digest} if how == "digest" else {}
    reply = await sealed.ask("PUT", f"{FOLDER}m", body, who="alice", headers=headers)
    assert reply.status in (400, 413, 422)
    assert blobs(path) == 0
    assert (await sealed.upload("m", MODEL, who="alice")).status == 201
    assert blobs(path) == 1


async def test_a_replaced_and_a_deleted_model_leave_no_file(path: Path, sealed: House):
    """The disk holds what the catalogue lists."""
    for model in (MODEL, models.adder(), models.mlp()):
        await sealed.upload("m", model, who="alice")
        assert blobs(path) == 1
    assert (await sealed.ask("DELETE", f"{FOLDER}m", who="alice")).status == 200
    assert blobs(path) == 0


async def test_who_loses_a_namespace_while_a_model_arrives_puts_nothing_there(path: Path):
    """The last word is at the end of an upload: a key that was removed meanwhile adds no model."""
    laptop = holder("laptop", namespace="alice")
    with Store.open(path, KEY) as store, house(store, callers=(holder("alice"), laptop)) as server:
        await server.upload("m", MODEL, who="alice")
        for who in ("alice", "laptop"):
            reply = await server.ask("PUT", f"/v2/caller/keys/{laptop.key_sha256}", who=who)
            assert reply.status == 200
        slow = await Slow(server, "laptop").begun()
        reply = await server.ask("DELETE", f"/v2/caller/keys/{laptop.key_sha256}", who="alice")
        assert reply.status == 200
        assert await slow.end() == 403
        assert await server.names("alice") == ["alice/m"]
        assert blobs(path) == 1


async def test_bytes_that_arrive_count_before_they_are_there(path: Path):
    """Bodies without a length cannot fill the disk beyond the limit together, as long as none has ended."""
    callers = tuple(holder(name) for name in ("alice", "bob"))
    with Store.open(path, KEY) as store, house(store, callers=callers, max_stored_bytes=3 * 2**20) as server:
        first, second = Arriving(), Arriving()
        for piece in (b"x" * 2**20, b"x" * 2**20):
            first.put_nowait(piece)
        slow = asyncio.ensure_future(server.ask("PUT", f"{FOLDER}m", first, who="alice"))
        await until(lambda: first.empty() and blobs(path) == 1)
        for piece in (b"x" * 2**20, b"x" * 2**20, b"x" * 2**20, None):
            second.put_nowait(piece)
        reply = await server.ask("PUT", f"{FOLDER}m", second, who="bob")
        assert (reply.status, reply.code) == (507, "storage-full")
        assert blobs(path) == 1
        first.put_nowait(None)
        assert (await slow).code == "model-invalid"
        # What did not become a model does not count any longer.
        for who in ("alice", "bob"):
            assert (await server.upload("m", MODEL, who=who)).status == 201


async def test_bytes_that_arrive_count_for_their_caller(path: Path):
    """A quota is not exceeded by uploads that run beside each other, nor by one that says no length."""
    callers = (holder("alice", max_model_bytes=3 * 2**20), holder("bob"))
    with Store.open(path, KEY) as store, house(store, callers=callers) as server:
        first, second = Arriving(), Arriving()
        for piece in (b"x" * 2**20, b"x" * 2**20):
            first.put_nowait(piece)
        slow = asyncio.ensure_future(server.ask("PUT", f"{FOLDER}a", first, who="alice"))
        await until(lambda: first.empty() and blobs(path) == 1)
        for piece in (b"x" * 2**20, b"x" * 2**20, None):
            second.put_nowait(piece)
        reply = await server.ask("PUT", f"{FOLDER}b", second, who="alice")
        assert (reply.status, reply.code) == (507, "quota-exceeded")
        assert (await server.upload("m", MODEL, who="bob")).status == 201
        first.put_nowait(None)
        assert (await slow).code == "model-invalid"
