"""Every table of `blindai.toml` that has one value a key, with each key's unit, default and meaning.

`Settings` is all of them in one. A field is called after its key; where its name begins with the table's,
the key is the rest: `store_path` is `path` in `[store]`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import MappingProxyType

from blindai.attestation.types import MAX_KEYSET_LIFE_SECONDS
from blindai.channel import keyset
from blindai.server.settings.key import GIB, KIB, MIB, Key, about, keys

DEFAULT_PORT = 9924


@dataclass(frozen=True)
class Server:
    """Where the server listens, and to whom."""

    host: str = field(default="127.0.0.1", metadata=about("address", "what the server listens on"))
    port: int = field(
        default=DEFAULT_PORT,
        metadata=about("port", "where it listens; 0 is any free one", least=0, most=65535),
    )
    names: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "host names or addresses",
            "what clients may dial, without port and wildcard",
            default="they follow from `host`",
        ),
    )
    simulation: bool = field(
        default=False, metadata=about("", "simulate a TEE, which protects nothing: for trying and testing")
    )
    open: bool = field(
        default=False,
        metadata=about(
            "",
            "serve whoever connects, though no caller is configured; a simulation on a loopback address "
            "does so anyway",
        ),
    )
    model_upload: bool = field(
        default=True, metadata=about("", "let callers upload, replace and delete models")
    )
    published_policy: str | None = field(
        default=None,
        metadata=about(
            "file",
            "a policy to show to whoever asks; it demands nothing of this server, and no client adopts it",
            is_path=True,
        ),
    )


@dataclass(frozen=True)
class Limits:
    """What the server takes at most: of one request, of one caller, of one model, and of all together."""

    max_model_bytes: int = field(default=2 * GIB, metadata=about("bytes", "the largest model"))
    max_models: int = field(default=64, metadata=about("models", "how many models the server has"))
    max_total_model_bytes: int = field(
        default=8 * GIB, metadata=about("bytes", "the models that are loaded at one time")
    )
    max_stored_bytes: int = field(
        default=64 * GIB, metadata=about("bytes", "the models in the sealed store, all owners together")
    )
    caller_max_models: int = field(
        default=0, metadata=about("models", "how many models one caller may have; 0 is no limit", least=0)
    )
    caller_max_model_bytes: int = field(
        default=0, metadata=about("bytes", "the models of one caller together; 0 is no limit", least=0)
    )
    caller_requests_per_minute: int = field(
        default=0,
        metadata=about("requests per minute", "what one caller may ask for; 0 is no limit", least=0),
    )
    model_requests_per_minute: int = field(
        default=0,
        metadata=about("requests per minute", "what one model is asked for; 0 is no limit", least=0),
    )
    model_max_waiting: int = field(
        default=0,
        metadata=about(
            "requests", "how many wait for one model; 0 is no limit beside `max_waiting_inferences`", least=0
        ),
    )
    max_request_bytes: int = field(default=64 * MIB, metadata=about("bytes", "the largest request's body"))
    max_buffered_request_bytes: int = field(
        default=512 * MIB,
        metadata=about(
            "bytes", "the bodies of requests held at one time, over all connections; one always fits"
        ),
    )
    max_buffered_upload_bytes: int = field(
        default=2 * GIB,
        metadata=about(
            "bytes", "the bodies of uploads held at one time, over all connections; one always fits"
        ),
    )
    max_uploads: int = field(default=16, metadata=about("models", "how many are uploaded at one time"))
    caller_max_uploads: int = field(
        default=4, metadata=about("models", "how many of them one caller uploads at one time")
    )
    max_headers: int = field(default=100, metadata=about("lines", "the headers of one request"))
    max_header_bytes: int = field(
        default=32 * KIB, metadata=about("bytes", "the headers of one request, with its first line")
    )
    max_connections: int = field(default=1024, metadata=about("connections", "how many are open at one time"))
    max_waiting_inferences: int = field(
        default=256, metadata=about("requests", "how many wait for the engine, over all models")
    )
    max_waiting_loads: int = field(default=8, metadata=about("models", "how many wait to be loaded"))
    max_waiting_attestations: int = field(
        default=1024, metadata=about("requests", "how many wait for evidence")
    )
    min_body_bytes_per_second: int = field(
        default=16 * KIB,
        metadata=about(
            "bytes per second",
            "the pace of a body, which may fall behind it by `request_read_timeout_seconds` at most",
        ),
    )


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
    tls_close_seconds: float = field(
        default=2.0, metadata=about("seconds", "how long the server waits for the other side's close")
    )
    drain_seconds: float = field(
        default=30.0, metadata=about("seconds", "how long running requests may take when the server ends")
    )
    keyset_life_seconds: int = field(
        default=keyset.DEFAULT_LIFE_SECONDS,
        metadata=about(
            "seconds",
            "how long the server's keys are valid; new ones follow before they end",
            most=MAX_KEYSET_LIFE_SECONDS,
        ),
    )


@dataclass(frozen=True)
class Engine:
    """How models are run."""

    engine_threads: int = field(default=1, metadata=about("threads", "the operators of one inference"))
    inference_threads: int = field(
        default_factory=lambda: os.cpu_count() or 1,
        metadata=about("threads", "the inferences at one time", default="the number of processors"),
    )


@dataclass(frozen=True)
class Store:
    """Where uploaded models are kept, sealed. Without a path they stay in memory and end with the process."""

    store_path: str | None = field(
        default=None,
        metadata=about("folder", "the sealed store", is_path=True, default="none: in memory"),
    )
    store_key: str | None = field(
        default=None,
        metadata=about(
            "key source",
            "where the sealing key comes from, required with `path`: `file:/path` (simulation only), "
            "`gramine`, `gramine-mrsigner`, `snp`, `vtpm:/path`, or `memory`: a store for more models than "
            "memory holds, which ends with the server",
        ),
    )
    delete_unused_days: int = field(
        default=0,
        metadata=about(
            "days", "delete a stored model that nobody used for so long; 0 is never", least=0, most=36500
        ),
    )
    preload: bool = field(
        default=False,
        metadata=about("", "load every stored model at the start, and not when it is first asked for"),
    )


@dataclass(frozen=True)
class Metrics:
    """Numbers for Prometheus, without names of callers and without contents."""

    metrics_address: str | None = field(
        default=None,
        metadata=about(
            "address:port",
            "where `/metrics` is served, in clear and to whoever connects, e.g. `127.0.0.1:9925`",
            default="not served",
        ),
    )


@dataclass(frozen=True)
class Log:
    """What the server writes to its standard error. There are no contents in it."""

    log_format: str = field(
        default="text",
        metadata=about("", "lines for people or one JSON object a line", choices=("text", "json")),
    )
    log_level: str = field(
        default="info",
        metadata=about("", "the least that is written", choices=("debug", "info", "warning", "error")),
    )


@dataclass(frozen=True)
class Telemetry:
    """What the server reports to somebody else: nothing, unless an endpoint is given."""

    telemetry_endpoint: str | None = field(
        default=None,
        metadata=about(
            "URL",
            "where execution mode and usage counters are sent; `blindai telemetry show` prints the message, "
            "`BLINDAI_DISABLE_TELEMETRY=1` and `DO_NOT_TRACK=1` always win",
            default="nothing is sent",
        ),
    )
    telemetry_interval_seconds: int = field(
        default=3600, metadata=about("seconds", "how often a report is sent")
    )


TABLES = MappingProxyType(
    {
        "server": Server,
        "limits": Limits,
        "timeouts": Timeouts,
        "engine": Engine,
        "store": Store,
        "metrics": Metrics,
        "log": Log,
        "telemetry": Telemetry,
    }
)
KEYS: tuple[Key, ...] = tuple(key for table, of in TABLES.items() for key in keys(table, of))
