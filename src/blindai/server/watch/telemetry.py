"""Telemetry: nothing at all unless an endpoint is configured, and then the execution mode and five numbers.

No identifier of any kind is in the message; who receives it sees the address that it comes from.
`BLINDAI_DISABLE_TELEMETRY` and `DO_NOT_TRACK` win over every setting.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

import blindai
from blindai.errors import UsageError
from blindai.server.watch.crashes import described
from blindai.server.watch.finished import Finished

VERSION = 1
SWITCHES = ("BLINDAI_DISABLE_TELEMETRY", "DO_NOT_TRACK")
NONE = "none"
USAGE = "usage"
TIMEOUT_SECONDS = 10.0

_OFF = ("", "0", "false")  # values of a switch that switch nothing

_log = logging.getLogger("blindai.server")


@dataclass
class Usage:
    """What is counted: answered requests, inferences that succeeded, errors, models taken."""

    requests: int = 0
    inferences: int = 0
    failures: int = 0
    models_uploaded: int = 0

    def finished(self, request: Finished) -> None:
        self.requests += 1
        if not request.succeeded:
            self.failures += 1
        elif request.is_inference:
            self.inferences += 1
        elif request.is_upload:
            self.models_uploaded += 1


def execution_mode(tee: str, *, simulated: bool) -> str:
    """Return the one thing that telemetry says of how a server runs."""
    return "simulation" if simulated else tee


def message(usage: Usage, *, mode: str, uptime_seconds: float) -> bytes:
    """Return the exact body that is sent: these members, and never another."""
    return orjson.dumps(
        {
            "version": VERSION,
            "blindai": blindai.__version__,
            "execution_mode": mode,
            "uptime_seconds": int(uptime_seconds),
            "requests": usage.requests,
            "inferences": usage.inferences,
            "failures": usage.failures,
            "models_uploaded": usage.models_uploaded,
        }
    )


def disabled(environment: Mapping[str, str]) -> str | None:
    """Return the variable that switches telemetry off, None if neither does.

    Every value but "", "0" and "false" does: who sets it at all means it.
    """
    for variable in SWITCHES:
        if environment.get(variable, "").strip().lower() not in _OFF:
            return variable
    return None


def setting(endpoint: str | None, environment: Mapping[str, str]) -> str:
    """Return what the keyset tells clients: NONE or USAGE."""
    return USAGE if endpoint and disabled(environment) is None else NONE


def check_endpoint(endpoint: str) -> str:
    """Return `endpoint` if messages may go there. Raises UsageError, which does not quote it."""
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise UsageError(
            "the telemetry endpoint cannot be read", hint="e.g. https://usage.example.org/blindai"
        )
    if "@" in parts.netloc:
        raise UsageError("the telemetry endpoint has credentials in it: there are none to send")
    if "?" in endpoint or "#" in endpoint:
        raise UsageError(
            "the telemetry endpoint has a query or a fragment: they would tell more than is shown"
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise UsageError("the telemetry endpoint is not https", hint="plain http is for this machine only")
    return endpoint


class Telemetry:
    """Sends what `current` returns to `endpoint`, first after one interval, until `close`."""

    def __init__(self, endpoint: str, *, interval_seconds: float, current: Callable[[], bytes]) -> None:
        self._endpoint = check_endpoint(endpoint)
        self._interval_seconds = interval_seconds
        self._current = current
        self._said: set[str] = set()
        self._ended = threading.Event()
        # A daemon: an endpoint that does not answer must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="blindai-telemetry", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Send nothing more. Does not wait for a message that is on its way."""
        self._ended.set()

    def _work(self) -> None:
        while not self._ended.wait(self._interval_seconds):
            try:
                status = _send(self._endpoint, self._current())
            except Exception as exc:  # noqa: BLE001 - the boundary to a network that may fail in any way
                self._say_once(type(exc).__name__, described(exc))
            else:
                if not 200 <= status < 300:
                    self._say_once(str(status), f"the endpoint answered {status}")

    def _say_once(self, kind: str, what: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            _log.warning("telemetry was not taken: %s; not said again", what)


def _send(endpoint: str, body: bytes) -> int:
    """Send one message and return the status of the answer, of which nothing else is read.

    Over a bare transport: a client would log the URL, keep cookies and add headers about its machine.
    Redirects are not followed, and proxies of the environment not used: only the endpoint gets it.
    """
    import httpx2  # noqa: PLC0415 - a fifth of a second, for those who send

    context = httpx2.create_ssl_context(trust_env=False)
    request = httpx2.Request(
        "POST",
        endpoint,
        content=body,
        headers={"Content-Type": "application/json", "User-Agent": "blindai"},
        extensions={"timeout": httpx2.Timeout(TIMEOUT_SECONDS).as_dict()},
    )
    with httpx2.HTTPTransport(verify=context, trust_env=False) as transport:
        response = transport.handle_request(request)
        response.close()
        return response.status_code


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
