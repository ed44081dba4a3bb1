"""Server processes for benchmarks, what they have used, and connections to them that are kept alive."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blindai.wire.dtypes import FP32
from blindai.wire.inference import HEADER_LENGTH_HEADER, InferenceRequest, encode_request
from blindai.wire.tensors import Tensor

_PINNED = "import os, sys; os.sched_setaffinity(0, {0}); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True)
class Server:
    """A server that has announced itself."""

    process: subprocess.Popen[str]
    ready: Mapping[str, Any]

    @property
    def address(self) -> str:
        return f"localhost:{self.ready['port']}"

    @property
    def peak_bytes(self) -> int:
        return peak_bytes(self.process.pid)

    def cpu_seconds(self) -> float:
        """Return the processor time of all its threads so far: other programs run beside it."""
        return time.clock_gettime(_cpu_clock(self.process.pid))

    def connection(self) -> http.client.HTTPSConnection:
        """A connection that attests nothing: what is compared comes after that."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("localhost", self.ready["port"], context=context)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, pinned: bool = False) -> Iterator[Server]:
    """Run `blindai serve` with these arguments, its log in `folder`; on core 0 if `pinned`."""
    command = [sys.executable, "-m", "blindai", "serve", "--simulation", "--port", "0", "--json", *arguments]
    if pinned and hasattr(os, "sched_setaffinity"):
        command = [sys.executable, "-c", _PINNED, *command]
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            announced = process.stdout.readline()
            if not announced:
                raise RuntimeError(f"the server did not start: {(folder / 'server.log').read_text()[-500:]}")
            yield Server(process, json.loads(announced))
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


@dataclass(frozen=True)
class Inference:
    """One inference as it goes over the wire."""

    path: str
    body: bytes
    headers: Mapping[str, str]

    @classmethod
    def of(cls, model: str, name: str, array: np.ndarray) -> Inference:
        parts, length = encode_request(InferenceRequest((Tensor(name, FP32, array),)))
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH_HEADER: str(length)}
        return cls(f"/v2/models/{model}/infer", b"".join(parts), headers)

    def send(self, connection: http.client.HTTPSConnection, **more: str) -> bytes:
        """Return the answer, or raise RuntimeError if it is not one."""
        connection.request("POST", self.path, self.body, {**self.headers, **more})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {body[:200]!r}")
        return body


def upload(connection: http.client.HTTPSConnection, name: str, model: bytes) -> None:
    connection.request("PUT", f"/v2/repository/models/{name}", model)
    response = connection.getresponse()
    if response.read() and response.status not in (200, 201):
        raise RuntimeError(f"the upload was refused with status {response.status}")


def _cpu_clock(pid: int) -> int:
    return (~pid << 3) | 2  # Linux's number of that clock of another process (CPUCLOCK_SCHED)


def peak_bytes(pid: int | str = "self") -> int:
    """Return the most memory that a process held at one time. (getrusage tells a child its parent's.)"""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def read_from_disk_bytes(pid: int | str = "self") -> int:
    """Return what a process has made the disk read so far: nothing, where files were in the page cache."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes:")).split()[1])


def forget(*paths: Path) -> None:
    """Drop files from the page cache, and nothing of anybody else's."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
