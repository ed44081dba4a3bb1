"""What must not be in the environment of a process that holds TLS keys.

In a TEE these variables come from the host, outside the measured image: they would make OpenSSL or the
loader run foreign code, or write down the session keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from blindai.errors import UsageError

FORBIDDEN: Mapping[str, str] = MappingProxyType(
    {
        "SSLKEYLOGFILE": "it makes TLS libraries write down the keys of every connection",
        "OPENSSL_CONF": "it makes OpenSSL read settings, and load modules, from outside the measured image",
        "OPENSSL_MODULES": "it makes OpenSSL load code from outside the measured image",
        "OPENSSL_ENGINES": "it makes OpenSSL load code from outside the measured image",
        "LD_PRELOAD": "it loads code from outside the measured image into this process",
        "LD_AUDIT": "it loads code from outside the measured image into this process",
    }
)


def check(environment: Mapping[str, str]) -> None:
    """Raise UsageError if a variable is set that could leak keys or load foreign code."""
    for variable, why in FORBIDDEN.items():
        if environment.get(variable):
            raise UsageError(
                f"{variable} is set: {why}. The server does not start with it",
                hint=f"start it without: env -u {variable} blindai serve ...",
            )
