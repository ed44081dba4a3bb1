"""What callers are told who cannot do a thing: nothing more than they must know."""

from __future__ import annotations

from blindai.errors import RequestCode, RequestError


def not_found() -> RequestError:
    """Return what everybody is told of a model that is not there, and strangers of one that is."""
    return RequestError(
        RequestCode.MODEL_NOT_FOUND,
        "there is no such model or version; POST /v2/repository/index lists the models",
    )


def forbidden(message: str) -> RequestError:
    """Return what callers are told who may know of a thing, and not do this with it."""
    return RequestError(RequestCode.FORBIDDEN, message)


def fixed(message: str) -> RequestError:
    """Return what callers are told who could do this, if the model were another."""
    return RequestError(RequestCode.MODEL_FIXED, message)
