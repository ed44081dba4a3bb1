"""The edge to httpx2: its errors become ours, in one place."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import httpx2

from blindai.client.exchange import Reply
from blindai.errors import ResponseError, UnreachableError, UsageError
from blindai.transport.origin import Origin

if TYPE_CHECKING:
    from blindai.client.answer_receipt import AnswerReceipt

CONNECT_TIMEOUT_SECONDS = 10.0
MAX_TIMEOUT_SECONDS = 7 * 24 * 3600.0
_VISIBLE = re.compile("[!-~]+")

ApiKey = str | Callable[[], str]
"""A key or a token; or a function that gives the one of the moment, for tokens that end."""


def authorization(key: str | None) -> dict[str, str]:
    """Return the header of a bearer token, or raise UsageError for what no header can hold.

    Checked here: the HTTP library would quote the key in its own error.
    """
    if key is None:
        return {}
    if not isinstance(key, str):
        raise UsageError(
            "api_key is a text, or a plain function that returns one; async functions are not called"
        )
    if not _VISIBLE.fullmatch(key):
        raise UsageError(
            "the API key is empty, or has a space, a line break or a character outside ASCII",
            hint="was it read from a file with a line break at its end?",
        )
    return {"Authorization": f"Bearer {key}"}


def timeout(seconds: float) -> httpx2.Timeout:
    """`seconds` bounds each wait for the server; connecting has its own, shorter bound.

    Raises UsageError for what is no time: zero, negative, infinite, not a number.
    """
    if not 0 < seconds <= MAX_TIMEOUT_SECONDS:
        raise UsageError(f"a timeout is more than 0 and at most {MAX_TIMEOUT_SECONDS:.0f} seconds")
    return httpx2.Timeout(seconds, connect=connect_seconds(seconds))


def connect_seconds(seconds: float) -> float:
    """Return how long connecting may take where each wait for the server may take `seconds`."""
    return min(seconds, CONNECT_TIMEOUT_SECONDS)


def reply(response: httpx2.Response, receipt: AnswerReceipt | None) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, response.content, receipt)


@contextmanager
def translated(origin: Origin) -> Iterator[None]:
    """Raise UnreachableError or ResponseError for whatever httpx2 raises about the network."""
    try:
        yield
    except httpx2.ConnectTimeout as exc:
        raise UnreachableError(f"{origin.url} did not accept the connection in time") from exc
    except httpx2.TimeoutException as exc:
        raise UnreachableError(
            f"{origin.url} did not answer in time", hint="raise timeout_seconds if the model is this slow"
        ) from exc
    except httpx2.LocalProtocolError:
        # Not chained and not quoted: the library's text holds the header that it refused.
        raise UsageError("the request cannot be sent: HTTP does not allow it as it is") from None
    except httpx2.InvalidURL as exc:
        raise UsageError("the request cannot be sent: a name in it is too long") from exc
    except (httpx2.RemoteProtocolError, httpx2.DecodingError) as exc:
        raise ResponseError(f"{origin.url} broke off its response or sent none") from exc
    except httpx2.ConnectError as exc:
        if _was_closed(exc):
            raise UnreachableError(
                f"{origin.url} closed the connection before TLS began",
                hint="a balancer without a healthy server behind it does that",
            ) from exc
        if "SSL" in str(exc) or "TLS" in str(exc):
            raise UnreachableError(
                f"{origin.url} does not speak TLS 1.3", hint="is it a BlindAI server, and is that its port?"
            ) from exc
        raise _unreachable(origin, exc) from exc
    except httpx2.TransportError as exc:
        raise _unreachable(origin, exc) from exc
    except RuntimeError as exc:
        if "closed" not in str(exc):
            raise
        raise UsageError(
            "this client is closed", hint="connect again, or stay within the `with` block"
        ) from exc


_CLOSED = (ssl.SSLEOFError, ConnectionResetError, anyio.EndOfStream, anyio.BrokenResourceError)


def _was_closed(error: BaseException) -> bool:
    """Whether somebody took the connection and dropped it: httpx2 says so by what it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _CLOSED):
            return True
        cause = cause.__cause__
    return False


def _unreachable(origin: Origin, exc: Exception) -> UnreachableError:
    return UnreachableError(
        f"cannot reach {origin.url}: {exc}", hint="is the server running there? blindai serve --help"
    )
