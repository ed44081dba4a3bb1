"""What attestation adds to a connection: a new server, a known key, and a connection that is kept alive.

Every comparison is of the same inference of a tiny model on the same server, sides in turns. The plain sides
check no certificate and nothing else: what they leave out is what is measured.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2
import numpy as np

import blindai
from bench.processes import Inference
from bench.turns import in_turns, spread
from blindai.attestation import chain
from blindai.attestation.intel import requoted, vetted
from blindai.client import calls
from tests.models import mlp

MODEL = "tiny"
ARRAY = np.zeros((1, 4), np.float32)
INPUT = "x"
CONNECTS, PREDICTIONS = 10, 100
LIMITS = {"connect": 2.0, "known": 1.1, "steady": 1.02}
Sides = Mapping[str, Callable[[], object]]


def measure(address: str, port: int, demands: Mapping[str, Any], rounds: int = 25) -> list[dict[str, Any]]:
    """Return one row for each comparison. The server is a simulated one; `demands` are `connect`'s."""
    with blindai.connect(address, **demands) as client:
        client.upload_model(mlp(), name=MODEL)
        inference = Inference.of(MODEL, INPUT, ARRAY)
        base = f"https://localhost:{port}"
        return [
            _row("connect, verify and infer", _first(address, port, demands, inference), CONNECTS, rounds),
            _known(client, base, port, inference, rounds),
            _steady(client, base, rounds),
        ]


def _first(address: str, port: int, demands: Mapping[str, Any], inference: Inference) -> Sides:
    context = _context()

    def plain() -> None:
        with contextlib.closing(_plain_connection(port, context)) as connection:
            inference.send(connection)

    def plain_httpx2() -> None:
        with httpx2.Client(base_url=f"https://localhost:{port}", verify=context, trust_env=False) as client:
            _post(client, inference)

    def attested() -> None:
        with blindai.connect(address, **demands) as client:
            client.predict(MODEL, {INPUT: ARRAY})

    def attested_first() -> None:
        _forget()
        attested()

    return {
        "http.client": plain,
        "httpx2": plain_httpx2,
        "attested": attested,
        "attested, first in process": attested_first,
    }


def _known(client: blindai.Client, base: str, port: int, inference: Inference, rounds: int) -> dict[str, Any]:
    """New connections to a key that this client has attested."""
    context = _context()
    closing = {**inference.headers, "Connection": "close"}
    call = calls.Call("POST", inference.path, lambda _: None, closing, inference.body)

    def plain() -> None:
        with contextlib.closing(_plain_connection(port, context)) as connection:
            inference.send(connection, Connection="close")

    with _over_plain(client, base) as same, _plain_client(base) as plain_client:
        sides = {
            "httpx2": lambda: _post(plain_client, inference, Connection="close"),
            "http.client": plain,
            "this client, not attested": lambda: same._send(call),  # noqa: SLF001  no public call closes
            "attested": lambda: client._send(call),  # noqa: SLF001
        }
        return _row("a new connection to a known key", sides, CONNECTS, rounds)


def _steady(client: blindai.Client, base: str, rounds: int) -> dict[str, Any]:
    """Inferences on a connection that stays open."""
    with _over_plain(client, base) as same:
        sides = {
            "this client, not attested": lambda: same.predict(MODEL, {INPUT: ARRAY}),
            "attested": lambda: client.predict(MODEL, {INPUT: ARRAY}),
        }
        return _row("an open connection", sides, PREDICTIONS, rounds)


def _row(what: str, sides: Sides, repeats: int, rounds: int) -> dict[str, Any]:
    """Milliseconds by side: the median of a round's calls, and the median of those."""
    for call in sides.values():
        call()
    samples = in_turns({name: _timed(call, repeats) for name, call in sides.items()}, rounds)
    base = next(iter(sides))
    pairs = {side: zip(values, samples[base], strict=True) for side, values in samples.items()}
    return {
        "what": what,
        "p50_ms": {side: statistics.median(values) for side, values in samples.items()},
        # Of the sides of one round: a machine that is slow for a minute slows both.
        "ratio": {side: spread([one / other for one, other in both])[0] for side, both in pairs.items()},
        "rounds_ms": samples,
    }


def _timed(call: Callable[[], object], repeats: int) -> Callable[[], float]:
    def measure() -> float:
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            call()
            times.append((time.perf_counter() - began) * 1e3)
        return statistics.median(times)

    return measure


def _forget() -> None:
    """As if this process had met no vendor before."""
    chain._issued_by.cache_clear()  # noqa: SLF001
    vetted.forget()
    requoted.forget()


def _context() -> ssl.SSLContext:
    """As the attested transport's: TLS 1.3 to whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _plain_connection(port: int, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("localhost", port, context=context)


def _plain_client(base: str) -> httpx2.Client:
    return httpx2.Client(base_url=base, verify=_context(), trust_env=False)


@contextlib.contextmanager
def _over_plain(client: blindai.Client, base: str) -> Iterator[blindai.Client]:
    """The same client over a transport that attests nothing."""
    same = blindai.Client.__new__(blindai.Client)
    vars(same).update(vars(client))
    with _plain_client(base) as plain:
        same._http = plain  # noqa: SLF001  the client has no such setting, and must have none
        yield same


def _post(client: httpx2.Client, inference: Inference, **more: str) -> None:
    response = client.post(inference.path, content=inference.body, headers={**inference.headers, **more})
    if response.status_code != 200:
        raise RuntimeError(f"status {response.status_code}")
