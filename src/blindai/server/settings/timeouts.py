"""The table `[timeouts]`: how long the server waits, and how long its keys live."""

from __future__ import annotations

from dataclasses import dataclass, field

from blindai.attestation.types import MAX_KEYSET_LIFE_SECONDS
from blindai.channel import keyset
from blindai.server.settings.key import about


@dataclass(frozen=True)
class Timeouts:
    """How long the server waits."""

    keep_alive_seconds: int = field(
        default=75,  # longer than clients keep theirs: else they race with our close
        metadata=about("seconds", "how long an idle connection stays open"),
    )
    tls_handshake_timeout_seconds: float = field(
        default=10.0, metadata=about("seconds", "the longest TLS handshake")
    )
    header_timeout_seconds: float = field(
        default=30.0, metadata=about("seconds", "how long the headers of a request may take")
    )
    request_read_timeout_seconds: float = field(
        default=30.0, metadata=about("seconds", "how long a body may stand still, or fall behind its pace")
    )
    attestation_timeout_seconds: float = field(
        default=25.0, metadata=about("seconds", "how long a client waits for evidence")
    )
    quote_interval_seconds: float = field(
        default=0.0,
        metadata=about(
            "seconds",
            "the least time from one request to the TEE for evidence to the next; each answers all clients "
            "that wait. 0 is as fast as the TEE answers, one at a time",
            least=0,
        ),
    )
    tls_close_seconds: float = field(
        default=2.0, metadata=about("seconds", "how long the server waits for the other side's close")
    )
    drain_seconds: float = field(
        default=30.0, metadata=about("seconds", "how long running requests may take when the server ends")
    )
    farewell_seconds: float = field(
        default=1.0,
        metadata=about(
            "seconds",
            "how long idle connections may still bring a request when the server ends; it is their last",
            least=0,
        ),
    )
    keyset_life_seconds: int = field(
        default=keyset.DEFAULT_LIFE_SECONDS,
        metadata=about(
            "seconds",
            "how long the server's keys are valid; new ones follow before they end",
            most=MAX_KEYSET_LIFE_SECONDS,
        ),
    )
    keyset_rotation_seconds: int = field(
        default=0,
        metadata=about(
            "seconds",
            "how old keys get before new ones take over for new connections; 0: three quarters of their life",
            least=0,
            most=MAX_KEYSET_LIFE_SECONDS,
        ),
    )
