"""Everything that an operator may choose, in one frozen value."""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from dataclasses import dataclass

from blindai.errors import UsageError
from blindai.server.settings.addresses import parse_address
from blindai.server.settings.entries import CallerSettings, JwtSettings, ModelSettings
from blindai.server.settings.key import check_all
from blindai.server.settings.limits import Limits
from blindai.server.settings.tables import (
    KEYS,
    Collateral,
    Engine,
    Log,
    Metrics,
    Server,
    Store,
    Telemetry,
)
from blindai.server.settings.timeouts import Timeouts
from blindai.server.watch.telemetry import check_endpoint

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings(Server, Limits, Timeouts, Engine, Store, Collateral, Metrics, Log, Telemetry):
    """What an operator may choose. The defaults are the safe choice.

    Each field, with its unit and meaning, is in `tables.py` and beside it; all of them are described in
    docs/configuration.md. Raises UsageError, by the keys' names in the file, for what makes no sense.
    """

    callers: tuple[CallerSettings, ...] = ()
    models: tuple[ModelSettings, ...] = ()
    jwt: JwtSettings | None = None

    def __post_init__(self) -> None:
        check_all(KEYS, self)
        self._check_addresses()
        self._check_store()
        self._check_models()

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

    def _check_addresses(self) -> None:
        try:
            if self.telemetry_endpoint is not None:
                check_endpoint(self.telemetry_endpoint)
        except UsageError as exc:
            raise UsageError(f"[telemetry] endpoint: {exc}", hint=exc.hint) from exc
        try:
            metrics = parse_address(self.metrics_address) if self.metrics_address is not None else None
        except UsageError as exc:
            raise UsageError(f"[metrics] address {exc}", hint=exc.hint) from exc
        if metrics == (self.host, self.port) and self.port != 0:
            raise UsageError("[metrics] address is the server's own: metrics have a port of their own")

    def _check_store(self) -> None:
        if self.store_path is not None and self.store_key is None:
            raise UsageError(
                "[store] path needs [store] key: where the sealing key comes from",
                hint="for example snp, gramine, vtpm:/path, or file:/path in a simulation",
            )
        if self.store_path is None and self.store_key not in (None, "memory"):
            raise UsageError("[store] key needs [store] path: the folder of what it seals")

    def _check_models(self) -> None:
        names = Counter(model.name for model in self.models)
        twice = next((name for name, times in names.items() if times > 1), None)
        if twice is not None:
            raise UsageError(
                f"two models would be called {twice!r}",
                hint="rename one of the files, or give it a name in [[models]]",
            )
        for model in self.models:
            if model.max_request_bytes > self.max_request_bytes:
                raise UsageError(
                    f"[models] max_request_bytes of {model.name} is over [limits] max_request_bytes"
                )


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
