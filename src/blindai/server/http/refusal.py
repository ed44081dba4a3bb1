"""How errors go back: the one table from codes to HTTP status, and the one form of their bodies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import orjson

from blindai.errors import RequestCode, RequestError
from blindai.server.callers.rate import RateLimited
from blindai.server.http.exchange import JSON, Response

STATUS: Mapping[RequestCode, int] = MappingProxyType(
    {
        RequestCode.MALFORMED: 400,
        RequestCode.INPUT_MISSING: 400,
        RequestCode.INPUT_UNKNOWN: 400,
        RequestCode.INPUT_DUPLICATE: 400,
        RequestCode.INPUT_DTYPE: 400,
        RequestCode.INPUT_SHAPE: 400,
        RequestCode.INPUT_DATA: 400,
        RequestCode.OUTPUT_UNKNOWN: 400,
        RequestCode.OUTPUT_NOT_JSON: 400,
        RequestCode.NAME_INVALID: 400,
        RequestCode.MODEL_DIGEST: 400,
        RequestCode.UNAUTHENTICATED: 401,
        RequestCode.UPLOAD_DISABLED: 403,
        RequestCode.FORBIDDEN: 403,
        RequestCode.NAMESPACE_BOUND: 403,
        RequestCode.MODEL_NOT_FOUND: 404,
        RequestCode.NOT_FOUND: 404,
        RequestCode.METHOD_NOT_ALLOWED: 405,
        RequestCode.TIMEOUT: 408,
        RequestCode.MODEL_FIXED: 409,
        RequestCode.MODEL_NOT_ACCEPTED: 412,
        RequestCode.SEALING_NOT_ACCEPTED: 412,
        RequestCode.TOO_LARGE: 413,
        RequestCode.ENCODING_UNSUPPORTED: 415,
        RequestCode.MODEL_INVALID: 422,
        RequestCode.MODEL_FAILED: 422,
        RequestCode.BUSY: 429,
        RequestCode.RATE_LIMITED: 429,
        RequestCode.HEADERS_TOO_LARGE: 431,
        RequestCode.INTERNAL: 500,
        RequestCode.MODEL_DAMAGED: 500,
        RequestCode.STORAGE_UNAVAILABLE: 503,
        RequestCode.ATTESTATION_UNAVAILABLE: 503,
        RequestCode.STORAGE_FULL: 507,
        RequestCode.QUOTA_EXCEEDED: 507,
    }
)

_RETRY_AFTER_SECONDS: Mapping[RequestCode, int] = MappingProxyType(
    {RequestCode.BUSY: 1, RequestCode.ATTESTATION_UNAVAILABLE: 2, RequestCode.STORAGE_UNAVAILABLE: 10}
)


def error_body(code: RequestCode, message: str) -> bytes:
    return orjson.dumps({"error": message, "code": code.value})


def error_response(error: RequestError, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    """Return the response for `error`. Its message holds nothing of the request's contents."""
    seconds = (
        error.retry_after_seconds if isinstance(error, RateLimited) else _RETRY_AFTER_SECONDS.get(error.code)
    )
    if seconds is not None:
        headers = (*headers, (b"retry-after", str(seconds).encode("ascii")))
    if error.code == RequestCode.UNAUTHENTICATED:
        headers = (*headers, (b"www-authenticate", b"Bearer"))
    body = error_body(error.code, str(error))
    return Response(STATUS[error.code], JSON, (body,), headers, code=error.code.value)
