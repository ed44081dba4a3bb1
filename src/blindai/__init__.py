"""Confidential AI inference: verify the hardware, then send the data.

    import blindai

    with blindai.connect("inference.example.org:9924", policy="policy.toml") as client:
        print(client.verdict)
        answer = client.predict("sentiment", {"text": ["I loved it"]})

Everything public is named here; see `blindai.errors` for what can be raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blindai.errors import AttestationError as AttestationError
from blindai.errors import BlindAIError as BlindAIError
from blindai.errors import PolicyError as PolicyError
from blindai.errors import Reason as Reason
from blindai.errors import ResponseError as ResponseError
from blindai.errors import ServerRefused as ServerRefused
from blindai.errors import UnreachableError as UnreachableError
from blindai.errors import UsageError as UsageError

if TYPE_CHECKING:
    from blindai.attestation.policy import Policy as Policy
    from blindai.attestation.verdict import Verdict as Verdict
    from blindai.channel.bundle import Bundle as Bundle
    from blindai.channel.proof import Proof as Proof
    from blindai.channel.proven import Proven as Proven
    from blindai.channel.receipt import Receipt as Receipt
    from blindai.client.aio import AsyncClient as AsyncClient
    from blindai.client.aio import aconnect as aconnect
    from blindai.client.answer_receipt import AnswerReceipt as AnswerReceipt
    from blindai.client.floors import FloorsWarning as FloorsWarning
    from blindai.client.prediction import Prediction as Prediction
    from blindai.client.prediction import UploadedModel as UploadedModel
    from blindai.client.receipts import verify_receipt as verify_receipt
    from blindai.client.sync import Client as Client
    from blindai.client.sync import connect as connect
    from blindai.client.transports import async_attested_transport as async_attested_transport
    from blindai.client.transports import attested_transport as attested_transport
    from blindai.client.verification import verify as verify
    from blindai.transport.refused import RefusedReplica as RefusedReplica
    from blindai.transport.refused import ReplicaRefusedWarning as ReplicaRefusedWarning
    from blindai.transport.session import SimulationWarning as SimulationWarning
    from blindai.wire.access import CallerInfo as CallerInfo
    from blindai.wire.access import Visibility as Visibility
    from blindai.wire.metadata import ModelEntry as ModelEntry

__version__ = "0.1.0"

# Resolved on first use: `import blindai` stays fast, and the command line starts fast.
_LAZY = {
    "AnswerReceipt": "blindai.client.answer_receipt",
    "AsyncClient": "blindai.client.aio",
    "Bundle": "blindai.channel.bundle",
    "CallerInfo": "blindai.wire.access",
    "Client": "blindai.client.sync",
    "FloorsWarning": "blindai.client.floors",
    "ModelEntry": "blindai.wire.metadata",
    "Policy": "blindai.attestation.policy",
    "Prediction": "blindai.client.prediction",
    "Proof": "blindai.channel.proof",
    "Proven": "blindai.channel.proven",
    "Receipt": "blindai.channel.receipt",
    "RefusedReplica": "blindai.transport.refused",
    "ReplicaRefusedWarning": "blindai.transport.refused",
    "SimulationWarning": "blindai.transport.session",
    "UploadedModel": "blindai.client.prediction",
    "Verdict": "blindai.attestation.verdict",
    "Visibility": "blindai.wire.access",
    "aconnect": "blindai.client.aio",
    "async_attested_transport": "blindai.client.transports",
    "attested_transport": "blindai.client.transports",
    "connect": "blindai.client.sync",
    "verify": "blindai.client.verification",
    "verify_receipt": "blindai.client.receipts",
}


__all__ = [
    "AnswerReceipt",
    "AsyncClient",
    "AttestationError",
    "BlindAIError",
    "Bundle",
    "CallerInfo",
    "Client",
    "FloorsWarning",
    "ModelEntry",
    "Policy",
    "PolicyError",
    "Prediction",
    "Proof",
    "Proven",
    "Reason",
    "Receipt",
    "RefusedReplica",
    "ReplicaRefusedWarning",
    "ResponseError",
    "ServerRefused",
    "SimulationWarning",
    "UnreachableError",
    "UploadedModel",
    "UsageError",
    "Verdict",
    "Visibility",
    "aconnect",
    "async_attested_transport",
    "attested_transport",
    "connect",
    "verify",
    "verify_receipt",
]


if not TYPE_CHECKING:  # a type checker that saw it would take any misspelt name for Any

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module 'blindai' has no attribute {name!r}")
        import importlib  # noqa: PLC0415

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
