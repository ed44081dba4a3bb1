"""The numbers of this moment, and where they come from; without prometheus-client, which not all load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

Gauge = Callable[[], float | None]


@dataclass(frozen=True)
class Gauges:
    """Where the numbers of this moment come from; None is a number that there is not.

    Called on the thread of the metrics listener. A field is the name of its metric, after `blindai_`; one
    that ends in `_total` only grows.
    """

    evidence_age_seconds: Gauge
    evidence_failing: Gauge
    quotes_total: Gauge
    quote_failures_total: Gauge
    challenges_total: Gauge
    collateral_expires_timestamp_seconds: Gauge
    collateral_valid: Gauge
    collateral_problems: Gauge
    keyset_expires_timestamp_seconds: Gauge
    queue_waiting: Gauge
    connections: Gauge
    models_loaded: Gauge
    model_bytes: Gauge
    stored_bytes: Gauge


MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "evidence_age_seconds": "Age of the evidence that clients are shown.",
        "evidence_failing": "Whether the TEE gives no evidence at the moment (1) or does (0).",
        "quotes_total": "Pieces of evidence that the TEE made for clients.",
        "quote_failures_total": "Requests for evidence that the TEE did not fulfil.",
        "challenges_total": "Clients that were given evidence about a nonce of theirs.",
        "collateral_expires_timestamp_seconds": "When the vendor's collateral ends (Unix time).",
        "collateral_valid": "Whether there is collateral by which clients can judge the evidence now.",
        "collateral_problems": "Pieces of collateral that could not be fetched anew.",
        "keyset_expires_timestamp_seconds": "When the current keyset ends (Unix time).",
        "queue_waiting": "Inferences that wait for a thread.",
        "connections": "Open connections.",
        "models_loaded": "Models in memory.",
        "model_bytes": "Bytes of the models in memory.",
        "stored_bytes": "Bytes in the sealed store.",
    }
)
