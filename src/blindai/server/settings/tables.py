"""Every table of `blindai.toml` that has one value a key, with each key's unit, default and meaning.

`Settings` is all of them in one. A field is called after its key; where its name begins with the table's,
the key is the rest: `store_path` is `path` in `[store]`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import MappingProxyType

from blindai.server.settings.key import Key, about, keys
from blindai.server.settings.limits import Limits
from blindai.server.settings.timeouts import Timeouts

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
    simulated_tee: str = field(
        default="tdx", metadata=about("", "which TEE a simulation simulates", choices=("tdx", "sev-snp"))
    )
    tls_dir: str | None = field(
        default=None,
        metadata=about(
            "folder",
            "where `host_server.pem` and `host_server.key` are, the operator's certificate and key: they "
            "issue the certificates of this server, which clients can demand",
            is_path=True,
            default="none: the server vouches for its certificates itself",
        ),
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
class Collateral:
    """Where the certificates, CRLs and TCB data come from that clients need to judge the evidence offline.

    They are signed by the hardware's vendor and judged by each client. A simulation fetches nothing.
    """

    collateral_path: str | None = field(
        default=None,
        metadata=about(
            "folder",
            "what was fetched is kept here, for the next start; in clear, for all of it is public",
            is_path=True,
            default="`blindai/collateral` in the user's cache folder",
        ),
    )
    collateral_intel_url: str | None = field(
        default=None,
        metadata=about("URL", "a PCS or PCCS to ask", default="Intel's PCS"),
    )
    collateral_intel_api_key_file: str | None = field(
        default=None,
        metadata=about(
            "file", "the key for `intel_url`, if it asks for one", is_path=True, default="no key is sent"
        ),
    )
    collateral_amd_url: str | None = field(
        default=None,
        metadata=about(
            "URL",
            "a KDS to ask for what the host did not hand over; `azure-thim` asks an Azure machine's host",
            default="AMD's KDS",
        ),
    )
    collateral_tls_ca: str | None = field(
        default=None,
        metadata=about(
            "file",
            "certificates (PEM) to trust for TLS with these services",
            is_path=True,
            default="the system's",
        ),
    )
    collateral_refresh_seconds: int = field(
        default=6 * 3600,
        metadata=about("seconds", "how old it gets before it is fetched anew; sooner if it ends soon"),
    )
    collateral_timeout_seconds: float = field(
        default=60.0, metadata=about("seconds", "how long one refresh may take")
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
        "collateral": Collateral,
        "metrics": Metrics,
        "log": Log,
        "telemetry": Telemetry,
    }
)
KEYS: tuple[Key, ...] = tuple(key for table, of in TABLES.items() for key in keys(table, of))
