"""A store's faults as errors of a request: what they say of files is for the log, not for callers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from blindai.errors import RequestCode, RequestError, StoreError, StoreFault

_CODES = {
    StoreFault.FULL: (RequestCode.STORAGE_FULL, "the server's disk is full; nothing was changed"),
    StoreFault.READ_ONLY: (RequestCode.STORAGE_UNAVAILABLE, "the server's store cannot be written now"),
    StoreFault.UNAVAILABLE: (RequestCode.STORAGE_UNAVAILABLE, "the server's store does not answer now"),
}


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Make every StoreError of the block a RequestError."""
    try:
        yield
    except StoreError as exc:
        code, message = _CODES.get(
            exc.fault,
            (RequestCode.MODEL_DAMAGED, "what lies in the server's store is not what was put there"),
        )
        raise RequestError(code, f"{message} ({exc.fault})") from exc
