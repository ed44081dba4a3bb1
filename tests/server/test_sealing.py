"""Owners have to allow a sealing key that the next program of the same signer gets, too (design 8)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from blindai.store.keys.gramine import GramineKey
from blindai.store.store import Store
from blindai.testing.sealing import FakeGramineKeys
from tests import models
from tests.server.house import FOLDER, House, holder, house

MODEL = models.identity()


@contextmanager
def enclave(folder: Path, by: Literal["mrenclave", "mrsigner"]) -> Iterator[House]:
    """A server inside an enclave, whose store is sealed by what the processor knows of it."""
    source = GramineKey(by, FakeGramineKeys(folder / "keys").start())
    callers = tuple(holder(name) for name in ("alice", "bob"))
    with (
        Store.open(folder / "store", source.sealing_key()) as store,
        house(store, sealing=source.name, callers=callers) as made,
    ):
        yield made


@pytest.fixture
def lax(tmp_path: Path) -> Iterator[House]:
    """One whose key every program of its signer gets."""
    with enclave(tmp_path, "mrsigner") as made:
        yield made


ALLOWED = ("gramine-mrsigner", " gramine-mrsigner ", "vtpm,gramine-mrsigner", "vtpm , gramine-mrsigner,x")
NOT_ALLOWED = (
    None,
    "",
    "gramine",
    "gramine-mrenclave",
    "mrsigner",
    "gramine-mrsigner2",
    "Gramine-Mrsigner",
    "*",
)


@pytest.mark.parametrize("allowed", ALLOWED)
async def test_an_owner_allows_the_signers_key(lax: House, allowed: str):
    """By its name, among others that are allowed too."""
    assert (await lax.upload("m", MODEL, who="alice", blindai_allow_sealing=allowed)).status == 201


@pytest.mark.parametrize("allowed", NOT_ALLOWED)
async def test_nothing_else_allows_it(lax: House, allowed: str | None):
    """Neither silence nor another name: the model is not taken, and the owner is told what to say."""
    headers = {} if allowed is None else {"blindai_allow_sealing": allowed}
    reply = await lax.upload("m", MODEL, who="alice", **headers)
    assert (reply.status, reply.code) == (412, "sealing-not-accepted")
    assert "BlindAI-Allow-Sealing" in reply.json()["error"]
    assert await lax.names("alice") == []


@pytest.mark.parametrize("allowed", [*ALLOWED, *NOT_ALLOWED])
async def test_the_enclaves_own_key_needs_no_word(tmp_path: Path, allowed: str | None):
    """No other program gets that."""
    headers = {} if allowed is None else {"blindai_allow_sealing": allowed}
    with enclave(tmp_path, "mrenclave") as strict:
        assert (await strict.upload("m", MODEL, who="alice", **headers)).status == 201


async def test_it_is_refused_before_the_model_leaves(lax: House):
    """The owner's model is not read, let alone sealed, under a key that they did not allow."""
    headers = {"content-length": "1000000", "expect": "100-continue"}
    reply = await lax.ask("PUT", f"{FOLDER}m", b"", who="alice", headers=headers)
    assert reply.code == "sealing-not-accepted"
    assert lax.finished[-1].request_bytes == 0


async def test_each_upload_is_allowed_by_itself(lax: House):
    """That a model of this name was allowed before says nothing of the next one."""
    reply = await lax.upload("m", MODEL, who="alice", blindai_allow_sealing="gramine-mrsigner")
    assert reply.status == 201
    reply = await lax.upload("m", models.adder(), who="alice")
    assert reply.code == "sealing-not-accepted"
    assert (await lax.ask("GET", "/v2/models/m", who="alice")).json()["inputs"][0]["name"] == "x"


async def test_who_may_not_upload_learns_nothing_of_the_key(lax: House):
    """Rights come before conditions."""
    assert (await lax.upload("alice/m", MODEL, who="bob")).code == "forbidden"
    assert (await lax.upload("m", MODEL)).code == "unauthenticated"
