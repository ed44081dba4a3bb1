"""The table `[limits]`: what the server takes at most."""

from __future__ import annotations

from dataclasses import dataclass, field

from blindai.server.settings.key import GIB, KIB, MIB, about


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
        default=4096, metadata=about("requests", "how many wait for evidence")
    )
    min_body_bytes_per_second: int = field(
        default=16 * KIB,
        metadata=about(
            "bytes per second",
            "the pace of a body, which may fall behind it by `request_read_timeout_seconds` at most",
        ),
    )
