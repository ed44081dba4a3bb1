"""What a receipt costs at 600 KB, beyond hashing what it is about: in this process, and over a server."""

from __future__ import annotations

import asyncio
import functools
import hmac
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import blindai
from bench.processes import Inference, serving, upload
from bench.turns import Limit, Section, in_turns, spread
from blindai.channel.keyset import Software
from blindai.channel.receipt import SALT_HEADER
from blindai.server.http.body import Body, Budget, Pace
from blindai.server.http.exchange import BINARY, ModelNote, Notes, Response
from blindai.server.http.receipts import Witness
from blindai.server.keys.identity import Identity, new_identity
from blindai.wire import base64url
from tests.models import dynamic_shapes

LIMIT = 0.3
IMAGE = np.zeros((1, 3, 224, 224), np.float32)
_PIECE_BYTES = 240 * 1024  # what mostly comes of a TLS connection on this machine at one time
_CALLS = 10


def measure(folder: Path, rounds: int) -> list[Section]:
    return [_in_process(rounds), *_over_a_server(folder, rounds)]


def _in_process(rounds: int) -> Section:
    """Reading a body with a witness and signing, without one, and the bare HMAC of the same bytes."""
    inference = Inference.of("m", "image", IMAGE)
    pieces = [inference.body[at : at + _PIECE_BYTES] for at in range(0, len(inference.body), _PIECE_BYTES)]
    response = Response(200, BINARY, (bytes(120),))
    notes = Notes(model=ModelNote("m", "ab" * 32))
    identity = _identity()
    salt = secrets.token_bytes(32)
    headers = [(b"content-length", str(len(inference.body)).encode())]
    asking = [*headers, (SALT_HEADER.lower().encode(), base64url.encode(salt).encode())]

    async def read(*, receipt: bool) -> None:
        body = Body(_receiving(pieces), headers, Pace(30, 16384))
        given = asking if receipt else headers
        witness = Witness.of("POST", inference.path.encode(), given, body)
        await body.read(max_bytes=2**26, budget=Budget(2**30))
        if witness is not None:
            await witness.sign(response, notes, identity, engine="onnxruntime")

    async def sign() -> None:
        witness = Witness.of("POST", inference.path.encode(), asking, Body(_receiving([]), [], Pace(30, 1)))
        assert witness is not None
        await witness.sign(response, notes, identity, engine="onnxruntime")

    async def hashing() -> None:
        hmac.digest(salt, inference.body, "sha256")
        hmac.digest(salt, response.parts[0], "sha256")

    with asyncio.Runner() as runner:

        def side(call: Callable[[], Any]) -> Callable[[], float]:
            async def repeated() -> float:
                began = time.thread_time()
                for _ in range(_CALLS):
                    await call()
                return (time.thread_time() - began) / _CALLS * 1e3

            return lambda: runner.run(repeated())

        sides = {
            "read the body": side(lambda: read(receipt=False)),
            "read the body, give a receipt": side(lambda: read(receipt=True)),
            "hash the same bytes": side(hashing),
            "a receipt about no bytes": side(sign),
        }
        samples = in_turns(sides, 2 * rounds)
    section = Section(f"a receipt for {len(inference.body)} bytes, in-process", "ms", samples)
    beyond = section.difference("read the body, give a receipt", "read the body", "hash the same bytes")
    section.more["beyond hashing, ms"] = beyond
    section.limits.append(Limit("beyond hashing, in-process", beyond[0], LIMIT, "ms"))
    return section


def _over_a_server(folder: Path, rounds: int) -> list[Section]:
    inference = Inference.of("mean", "image", IMAGE)
    small = Inference.of("mean", "image", np.zeros((1, 3, 4, 4), np.float32))
    salt = secrets.token_bytes(32)
    asking = {SALT_HEADER: base64url.encode(salt)}
    served: dict[str, list[float]] = {}
    called: dict[str, list[float]] = {}
    with serving(folder, pinned=True) as server:
        connection = server.connection()
        upload(connection, "mean", dynamic_shapes())
        root = folder / "root.pem"
        root.write_text(server.ready["root_pem"])
        with blindai.connect(server.address, simulation=root) as client:
            calls: dict[str, Callable[[], Any]] = {
                "bare": lambda: inference.send(connection),
                "bare, receipt asked for": lambda: inference.send(connection, **asking),
                "bare, small": lambda: small.send(connection),
                "bare, small, receipt asked for": lambda: small.send(connection, **asking),
                "client": lambda: client.predict("mean", IMAGE),
                "client, receipt verified": lambda: client.predict("mean", IMAGE, receipt=True),
            }

            def measured(name: str) -> float:
                used, own, began = server.cpu_seconds(), time.thread_time(), time.perf_counter()
                for _ in range(_CALLS):
                    calls[name]()
                wall = (time.perf_counter() - began) / _CALLS * 1e3
                called.setdefault(name, []).append((time.thread_time() - own) / _CALLS * 1e3)
                served.setdefault(name, []).append((server.cpu_seconds() - used) / _CALLS * 1e3)
                return wall

            for call in calls.values():
                call()
            walls = in_turns({name: functools.partial(measured, name) for name in calls}, rounds)
        connection.close()
    what = f"predict {IMAGE.nbytes} bytes over a server"
    wall = Section(f"{what}: time", "ms", walls)
    server_time = Section(f"{what}: processor time of the server", "ms", served)
    client_time = Section(f"{what}: processor time of the client", "ms", called)
    hashing = _hashing_ms(salt, inference.body)
    for section in (wall, server_time):
        section.more["the server's receipt, ms"] = section.difference("bare, receipt asked for", "bare")
        section.more["of it hashing, ms"] = hashing
        section.more["the server's receipt of a small request, ms"] = section.difference(
            "bare, small, receipt asked for", "bare, small"
        )
    for section in (wall, client_time):
        section.more["receipt and its verification, ms"] = section.difference(
            "client, receipt verified", "client"
        )
    beyond = server_time.difference("bare, receipt asked for", "bare")[0] - hashing
    server_time.limits.append(Limit("beyond hashing, in the server", beyond, LIMIT, "ms"))
    return [wall, server_time, client_time]


def _hashing_ms(salt: bytes, body: bytes) -> float:
    times = []
    for _ in range(100):
        began = time.thread_time()
        hmac.digest(salt, body, "sha256")
        times.append((time.thread_time() - began) * 1e3)
    return spread(times)[0]


def _identity() -> Identity:
    return new_identity(
        ("localhost",),
        now=int(time.time()),
        life_seconds=86400,
        software=Software(blindai.__version__, bytes(32).hex()),
        settings={},
        simulated=True,
    )


def _receiving(pieces: list[bytes]) -> Callable[[], Any]:
    left = iter(pieces)
    count = len(pieces)

    async def receive() -> dict[str, Any]:
        nonlocal count
        count -= 1
        return {"type": "http.request", "body": next(left), "more_body": count > 0}

    return receive
