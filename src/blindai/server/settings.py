"""Every limit and choice of the server, with its unit."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import socket
from dataclasses import dataclass

from blindai.attestation.types import MAX_KEYSET_LIFE_SECONDS
from blindai.channel import keyset
from blindai.errors import UsageError

KIB = 2**10
MIB = 2**20
GIB = 2**30

DEFAULT_PORT = 9924
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """What an operator may choose. The defaults are the safe choice.

    `names` are the host names and addresses that clients may dial; without any, they follow from `host`.
    `published_policy` is a policy file to show to whoever asks; no client adopts it.
    `max_buffered_*_bytes` bound the bodies held at one time, over all connections;
    one of the largest size always fits. A body may fall
    behind `min_body_bytes_per_second` by at most `request_read_timeout_seconds`.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    names: tuple[str, ...] = ()
    simulation: bool = False
    model_upload: bool = True
    published_policy: str | None = None

    engine_threads: int = 1  # operators of one inference
    inference_threads: int = dataclasses.field(default_factory=lambda: os.cpu_count() or 1)

    max_model_bytes: int = 2 * GIB
    max_models: int = 64
    max_total_model_bytes: int = 8 * GIB
    max_request_bytes: int = 64 * MIB
    max_buffered_request_bytes: int = 512 * MIB
    max_buffered_upload_bytes: int = 2 * GIB
    max_headers: int = 100
    max_header_bytes: int = 32 * KIB
    max_connections: int = 1024
    max_waiting_inferences: int = 256
    max_waiting_loads: int = 8
    max_waiting_attestations: int = 1024

    keep_alive_seconds: int = 75  # longer than clients keep theirs: else they race with our close
    tls_handshake_timeout_seconds: float = 10.0
    header_timeout_seconds: float = 30.0
    request_read_timeout_seconds: float = 30.0
    min_body_bytes_per_second: int = 16 * KIB
    attestation_timeout_seconds: float = 25.0
    tls_close_seconds: float = 2.0
    drain_seconds: float = 30.0
    keyset_life_seconds: int = keyset.DEFAULT_LIFE_SECONDS

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if field.name != "port" and is_number and value <= 0:
                raise UsageError(f"{field.name} must be more than zero")
        if not 0 <= self.port <= 65535:
            raise UsageError("port must be between 0 and 65535 (0: any free one)")
        if self.keyset_life_seconds > MAX_KEYSET_LIFE_SECONDS:
            raise UsageError(f"keyset_life_seconds is at most {MAX_KEYSET_LIFE_SECONDS}")

    def dialled_names(self) -> tuple[str, ...]:
        """Return what clients may dial, canonical: lower case, addresses in their shortest form."""
        if self.names:
            return tuple(dict.fromkeys(_canonical(name) for name in self.names))
        host = _canonical(self.host)
        if host in _LOOPBACK_NAMES:
            return _LOOPBACK_NAMES
        if host in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not bound to
            return tuple(dict.fromkeys((*_LOOPBACK_NAMES, _canonical(socket.gethostname()))))
        return (host,)


def _canonical(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        lower = name.lower()
    if not lower.isascii() or not lower or any(c in "*/:[]@ \t\r\n" for c in lower):
        raise UsageError(
            "a name that clients dial is a host name or an IP address, without port and wildcard",
            hint="for example --name inference.example.org",
        )
    return lower
