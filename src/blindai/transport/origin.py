"""The one server that a transport talks to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from blindai.errors import UsageError

DEFAULT_PORT = 9924


@dataclass(frozen=True)
class Origin:
    """An https origin. `host` is canonical: lower case, an IPv6 address without brackets."""

    host: str
    port: int

    @property
    def host_header(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.host_header}"


def parse_origin(address: str) -> Origin:
    """Read `host`, `host:port`, `[v6]:port` or an https URL without a path; the port defaults to 9924.

    Raises UsageError for anything else; an `http://` address is refused, never upgraded.
    """
    scheme, separator, rest = address.strip().partition("://")
    if not separator:
        rest = scheme
    elif scheme.lower() != "https":
        raise UsageError(
            f"only https is attested, not {scheme}://", hint="use host:port or https://host:port"
        )
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?", rest)
    if not match:
        raise UsageError("the address is not host, host:port or [IPv6]:port", hint="e.g. localhost:9924")
    port = int(match[2] or DEFAULT_PORT)
    if not 1 <= port <= 65535:
        raise UsageError(f"port {port} is not between 1 and 65535")
    return Origin(_canonical(match[1]), port)


def is_loopback(address: str) -> bool:
    """Return whether a connected peer's numeric address is this machine."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def _canonical(host: str) -> str:
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError as exc:
            raise UsageError("the address in brackets is not IPv6") from exc
    name = host.lower().rstrip(".")
    if not all(0 < len(label) <= 63 for label in name.split(".")):
        raise UsageError("the host has an empty label, or one of more than 63 characters")
    return name
