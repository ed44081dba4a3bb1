"""The numbers of this moment, and where they come from; without prometheus-client, which not all load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

Gauge = Callable[[], float | None]


@dataclass(frozen=True)
class Gauges:
    """Where the numbers of this moment come from; None is a number that there is not.

    Called on the thread of the metrics listener. A field is the name of its metric, after `blindai_`.
    """

    evidence_age_seconds: Gauge
    collateral_expires_timestamp_seconds: Gauge
    keyset_expires_timestamp_seconds: Gauge
    queue_waiting: Gauge
    connections: Gauge
    models_loaded: Gauge
    model_bytes: Gauge
    stored_bytes: Gauge


MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "evidence_age_seconds": "Age of the evidence that clients are shown.",
        "collateral_expires_timestamp_seconds": "When the vendor's collateral ends (Unix time).",
        "keyset_expires_timestamp_seconds": "When the current keyset ends (Unix time).",
        "queue_waiting": "Inferences that wait for a thread.",
        "connections": "Open connections.",
        "models_loaded": "Models in memory.",
        "model_bytes": "Bytes of the models in memory.",
        "stored_bytes": "Bytes in the sealed store.",
    }
)
