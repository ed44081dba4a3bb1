"""What is said of a failure: its type and its place in the code. Its text may quote a request or a model."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from pathlib import PurePath
from types import TracebackType
from typing import Any

_MAX_CAUSES = 4

_log = logging.getLogger("blindai.server")


def described(error: BaseException) -> str:
    """Return type and place of `error` and of what caused it: `KeyError at inputs.py:41`."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(parts) < _MAX_CAUSES:
        parts.append(type(current).__name__ + _place(current.__traceback__))
        context = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or context
    return " from ".join(parts)


def install_hooks() -> None:
    """Make whatever nobody catches print type and place only.

    Python's own hooks print the error's text, the source lines and, of an error in a destructor, the object.
    """
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def log_without_contents(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle what an event loop is left with: failed handshakes and broken connections.

    An exception's text may quote what was received, and asyncio's message a callback with its arguments.
    """
    error = context.get("exception")
    _log.debug("connection: %s", described(error) if error is not None else "lost")


def _place(trace: TracebackType | None) -> str:
    # By hand: the traceback module opens and reads the source files to quote their lines.
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f" at {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def _uncaught(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    _log.critical("not caught: %s", described(error))


def _uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is None or isinstance(arguments.exc_value, SystemExit):
        return
    _log.critical("not caught in a thread: %s", described(arguments.exc_value))


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    if unraisable.exc_value is not None:
        _log.error("not caught in a destructor or callback: %s", described(unraisable.exc_value))
