"""`python bench/challenges.py`: challenges answered per second by a server whose device takes 50 ms a quote.

From 1 to 4,096 clients, each on a connection of its own from many loopback addresses: all ask at once, and
each asks again as soon as it has its answer. Raw TLS clients, which verify nothing while the clock runs; some
answers of every size are verified afterwards, and what that costs is told apart. Not a timed test.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import resource
import secrets
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench.run import machine, pin  # noqa: E402
from blindai.attestation.policy import Policy  # noqa: E402
from blindai.attestation.trust import SimulationTrust  # noqa: E402
from blindai.attestation.types import Evidence  # noqa: E402
from blindai.channel import answer, handshake  # noqa: E402
from blindai.channel.bundle import Bundle, Peer  # noqa: E402
from blindai.channel.challenge import NONCE_BYTES  # noqa: E402
from blindai.server import lifecycle  # noqa: E402
from blindai.server.evidence.machine import Machine, this_machine  # noqa: E402
from blindai.server.settings import Settings  # noqa: E402
from blindai.tee.attester import Attester  # noqa: E402

QUOTE_SECONDS = 0.05
CLIENTS = (1, 4, 16, 64, 256, 1024, 4096)
SECONDS = 5.0
HANDSHAKES = 64  # at one time: opening is not what is measured
VERIFIED = 16
SERVER = "server"


class SlowDevice:
    """A device that answers one at a time, and takes as long for each."""

    def __init__(self, attester: Attester, seconds: float) -> None:
        self._attester = attester
        self._seconds = seconds
        self.tee = attester.tee
        self.simulated = attester.simulated

    def evidence(self, report_data: bytes) -> Evidence:
        time.sleep(self._seconds)
        return self._attester.evidence(report_data)


@dataclass
class Round:
    """What came of one number of clients."""

    waits: list[float] = field(default_factory=list)
    quotes: set[bytes] = field(default_factory=set)
    bundles: list[Bundle] = field(default_factory=list)
    elapsed: float = 0.0


def main() -> None:
    if sys.argv[1:2] == [SERVER]:
        serve()
    wanted = [int(text) for text in sys.argv[1:]] or CLIENTS
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    results = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "quote_ms": QUOTE_SECONDS * 1e3,
        "load_before": os.getloadavg(),
        "rounds": [],
    }
    with server() as ready:
        pin(1)
        for clients in wanted:
            row = told(clients, uvloop.run(storm(ready["port"], clients)), ready)
            results["rounds"].append(row)
            print(*(f"{name} {value:.4g}" for name, value in row.items()), sep="   ", flush=True)
    if wanted is CLIENTS:
        target = HERE / "results" / f"challenges-{results['when'][:10]}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(results, indent=1) + "\n")
        print(f"raw figures: {target.relative_to(HERE.parent)}")


def told(clients: int, result: Round, ready: dict[str, str]) -> dict[str, float]:
    waits = sorted(result.waits)
    return {
        "clients": clients,
        "answers": len(waits),
        "quotes": len(result.quotes),
        "per_second": len(waits) / result.elapsed,
        "quotes_per_second": len(result.quotes) / result.elapsed,
        "p50_ms": statistics.median(waits) * 1e3,
        "p99_ms": waits[int(len(waits) * 0.99)] * 1e3,
        "verify_ms": verification(result.bundles, ready),
    }


async def storm(port: int, clients: int) -> Round:
    """Let so many clients ask at once, and again, until the time is over."""
    gate, starting = asyncio.Semaphore(HANDSHAKES), asyncio.Event()
    result = Round()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    open_connections = await asyncio.gather(
        *(connect(port, number, context, gate) for number in range(clients))
    )
    began = time.perf_counter()
    asking = [
        asyncio.create_task(ask(*connection, starting, began + SECONDS, result))
        for connection in open_connections
    ]
    starting.set()
    await asyncio.gather(*asking)
    result.elapsed = time.perf_counter() - began
    for _, writer in open_connections:
        writer.close()
    await asyncio.gather(*(closed(writer) for _, writer in open_connections))
    return result


async def connect(
    port: int, number: int, context: ssl.SSLContext, gate: asyncio.Semaphore
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    source = f"127.{1 + number // 65025 % 250}.{1 + number // 255 % 255}.{1 + number % 254}"
    async with gate:
        return await asyncio.open_connection("127.0.0.1", port, ssl=context, local_addr=(source, 0))


async def ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    starting: asyncio.Event,
    until: float,
    result: Round,
) -> None:
    peer = Peer.from_certificate("localhost", writer.get_extra_info("ssl_object").getpeercert(True))
    await starting.wait()
    while time.perf_counter() < until:
        nonce = secrets.token_bytes(NONCE_BYTES)
        asked = time.perf_counter()
        writer.write(f"GET {answer.target(nonce)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        body = await response(reader)
        result.waits.append(time.perf_counter() - asked)
        result.quotes.add(hashlib.sha256(body[body.index(b'"evidence"') :]).digest())
        if len(result.bundles) < VERIFIED:
            result.bundles.append(Bundle(peer, nonce, body))


async def response(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status, _, headers = head.partition(b"\r\n")
    length = int(headers.partition(b"content-length:")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    if b" 200 " not in status:
        raise RuntimeError(f"refused: {status!r} {body[:200]!r}")
    return body


async def closed(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()


def verification(bundles: list[Bundle], ready: dict[str, str]) -> float:
    """Return what verifying one of the answers takes, in milliseconds of the processor's time."""
    policy, trust = Policy.from_toml(ready["policy"]), SimulationTrust([ready["root_sha256"]])
    times = []
    for bundle in bundles:
        began = time.thread_time()
        handshake.conclude(bundle, policy=policy, trust=trust, floors={}, now=int(time.time()))
        times.append((time.thread_time() - began) * 1e3)
    return statistics.median(times)


@contextlib.contextmanager
def server() -> Iterator[dict[str, str]]:
    command = [sys.executable, __file__, SERVER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def serve() -> None:
    """Be the server: a simulated machine behind a slow device."""
    pin(0)

    def slow_machine(settings: Settings, *, source_sha256: str, now: int) -> Machine:
        found = this_machine(settings, source_sha256=source_sha256, now=now)
        return dataclasses.replace(found, attester=SlowDevice(found.attester, QUOTE_SECONDS))

    settings = Settings(
        simulation=True, port=0, max_connections=2 * max(CLIENTS), max_waiting_attestations=max(CLIENTS)
    )
    sys.exit(
        lifecycle.run(
            settings,
            announce=lambda ready: print(json.dumps(dataclasses.asdict(ready)), flush=True),
            find_machine=slow_machine,
        )
    )


if __name__ == "__main__":
    main()
