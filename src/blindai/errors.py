"""Every error that BlindAI raises, and the reason codes they carry.

::

    BlindAIError
    ├── UsageError                 the caller asked for something that cannot be (also a ValueError)
    │   └── PolicyError            a policy text that does not load
    ├── UnreachableError           no connection, or it broke, or it took too long
    ├── AttestationError           the peer was not shown to be what the policy demands; not one byte
    │   │                          of the request was sent to it
    │   ├── EvidenceMalformed      what it sent is not evidence
    │   ├── EvidenceForged         a signature, a binding or a challenge does not hold
    │   └── EvidenceRejected       well-formed and signed, but not acceptable: policy, debug, dates, TCB
    ├── ResponseError              an attested server answered in a way HTTP or the protocol forbids
    ├── ServerRefused              an attested server answered with an error: `status`, `code`
    ├── StoreError                 the sealed store cannot be opened, or a part of it is not what it was
    ├── TeeError                   the hardware, or what leads to it, gave no evidence
    └── RequestError               raised by the server's own code: a request that cannot be served

Blame decides the branch. None of them is an httpx2 or httpcore2 error: those are retried by clients
built on them, and a peer that failed attestation must not be retried.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from blindai.reasons import Reason as Reason

if TYPE_CHECKING:
    from blindai.attestation.verdict import Verdict


class BlindAIError(Exception):
    """Base class. `hint` says what to do next, when there is something to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # shown under the message in a traceback

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their message alone, which ours do not take; one that cannot be rebuilt
        # breaks a whole concurrent.futures.ProcessPoolExecutor.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[BlindAIError], args: tuple[Any, ...], state: dict[str, Any]) -> BlindAIError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UsageError(BlindAIError, ValueError):
    """The caller asked for something that cannot be done as asked."""


class PolicyError(UsageError):
    """A policy text does not load: unknown key, wrong type, missing code identity."""


class UnreachableError(BlindAIError):
    """The server could not be reached, the connection broke, or a deadline passed."""


class AttestationError(BlindAIError):
    """The peer was not shown to be what the policy demands. No request byte was sent to it.

    Or a receipt or a proof does not hold: then the request had been answered.
    """

    def __init__(
        self, reason: Reason, message: str, *, hint: str = "", verdict: Verdict | None = None
    ) -> None:
        super().__init__(f"{message} [{reason}]", hint=hint)
        self.reason = reason
        self.verdict = verdict


class EvidenceMalformed(AttestationError):
    """What the peer sent cannot be read as evidence."""


class EvidenceForged(AttestationError):
    """A signature, a chain, a binding or a challenge does not hold."""


class EvidenceRejected(AttestationError):
    """Well-formed and signed, yet not acceptable. `verdict`, where there is one, lists every claim."""


class ResponseError(BlindAIError):
    """An attested server broke HTTP framing or the inference protocol."""


class ServerRefused(BlindAIError):
    """An attested server answered with an error.

    `status` is the HTTP status, `code` the stable word for it (see `RequestError.code`). `receipt` is the
    server's signed word for this refusal, if one was asked for.
    """

    receipt: Any = None

    def __init__(self, status: int, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code


class RequestError(BlindAIError):
    """A request that the server cannot serve. `code` is stable; one table at the edge maps it to a status."""

    def __init__(self, code: RequestCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class StoreError(BlindAIError):
    """The sealed store, or one file in it, cannot be used. `fault` is stable."""

    def __init__(self, fault: StoreFault, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} [{fault}]", hint=hint)
        self.fault = fault


class StoreFault(StrEnum):
    """Stable words for what is wrong with a sealed store."""

    WRONG_KEY = "wrong-key"  # the sealing key does not open this store
    FOREIGN = "foreign"  # a file that was sealed by another store
    SWAPPED = "swapped"  # a file of this store in the place of another
    TRUNCATED = "truncated"
    REORDERED = "reordered"
    DAMAGED = "damaged"  # sealed bytes were changed
    MALFORMED = "malformed"  # not a sealed file at all
    MISSING = "missing"  # a record without its blob
    IN_USE = "in-use"  # another process holds the store
    READ_ONLY = "read-only"
    FULL = "full"
    UNAVAILABLE = "unavailable"  # the disk failed in another way


class TeeError(BlindAIError):
    """The TEE, or an interface on the way to it, gave no evidence. `fault` is stable, `what` a sentence."""

    def __init__(self, fault: TeeFault, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} [{fault}]", hint=hint)
        self.fault = fault
        self.what = message


class TeeFault(StrEnum):
    """Stable words for why there is no evidence."""

    ABSENT = "absent"  # there is no such interface on this machine
    NOT_CONFIGURED = "not-configured"  # it is there, and switched off or without a provider
    NOT_ALLOWED = "not-allowed"  # this process may not use it
    BUSY = "busy"  # throttled by the host, or used by others: asking again later may work
    TIMEOUT = "timeout"  # the host's quoting service did not answer in time
    RACED = "raced"  # another writer came between, each time
    TOO_LARGE = "too-large"
    UNSUPPORTED = "unsupported"  # evidence of a kind that no verifier of ours reads
    REFUSED = "refused"  # the interface said no to a request that it should take
    MALFORMED = "malformed"  # its answer is not evidence
    FAILED = "failed"  # it broke in another way


class RequestCode(StrEnum):
    """Stable words for what was wrong with a request; sent as `code` in the server's error bodies."""

    MALFORMED = "malformed"  # not JSON, not the protocol, a length that lies
    INPUT_MISSING = "input-missing"
    INPUT_UNKNOWN = "input-unknown"
    INPUT_DUPLICATE = "input-duplicate"
    INPUT_DTYPE = "input-dtype"
    INPUT_SHAPE = "input-shape"
    INPUT_DATA = "input-data"  # the data do not fill, or overflow, the declared shape and dtype
    OUTPUT_UNKNOWN = "output-unknown"
    OUTPUT_NOT_JSON = "output-not-json"  # JSON cannot hold this output: ask for it as binary data
    NAME_INVALID = "name-invalid"
    MODEL_NOT_FOUND = "model-not-found"
    MODEL_INVALID = "model-invalid"  # the upload is not a model that the engine can load
    MODEL_DIGEST = "model-digest"  # the upload differs from its Content-Digest
    MODEL_NOT_ACCEPTED = "model-not-accepted"  # not among the models that the caller's policy accepts
    MODEL_FIXED = "model-fixed"  # it was given at the start, or is nowhere but in memory
    MODEL_FAILED = "model-failed"  # the engine refused or failed at run time
    TOO_LARGE = "too-large"
    HEADERS_TOO_LARGE = "headers-too-large"
    ENCODING_UNSUPPORTED = "encoding-unsupported"  # a Content-Encoding: bodies are taken as they are
    UPLOAD_DISABLED = "upload-disabled"
    UNAUTHENTICATED = "unauthenticated"  # no key or token, or not one that this server knows
    FORBIDDEN = "forbidden"  # known, and not meant to do this
    NAMESPACE_BOUND = "namespace-bound"  # the namespace belongs to another key than the caller's
    QUOTA_EXCEEDED = "quota-exceeded"  # the caller's own models or bytes, not the server's
    RATE_LIMITED = "rate-limited"
    SEALING_NOT_ACCEPTED = "sealing-not-accepted"  # the owner did not allow this kind of sealing key
    STORAGE_UNAVAILABLE = "storage-unavailable"
    MODEL_DAMAGED = "model-damaged"  # what lies in the store is not what was put there
    BUSY = "busy"
    STORAGE_FULL = "storage-full"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    TIMEOUT = "timeout"
    ATTESTATION_UNAVAILABLE = "attestation-unavailable"
    INTERNAL = "internal"
