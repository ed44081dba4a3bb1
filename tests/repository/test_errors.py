from __future__ import annotations

import copy
import pickle

import pytest

from blindai.errors import BlindAIError, EvidenceRejected, Reason, RequestCode, RequestError, ServerRefused
from blindai.server.http.routing import MethodNotAllowed

ERRORS = [
    BlindAIError("what", hint="do"),
    EvidenceRejected(Reason.TCB_OUT_OF_DATE, "what", hint="do"),
    ServerRefused(404, "model-not-found", "what", hint="do"),
    RequestError(RequestCode.BUSY, "what"),
    MethodNotAllowed(["GET"]),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_travel_between_processes(error):
    """An error that a worker process raised arrives as what it was, with its fields and its hint."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
