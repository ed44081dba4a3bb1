"""The server's log on stderr, as text or as lines of JSON: what happened and where, never contents.

Lines of our own loggers ("blindai...") keep their words. Of other libraries only who spoke and from where
is told: their texts quote URLs, headers and whatever they could not parse.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
import warnings
from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import Any, TextIO

import orjson

from blindai.errors import UsageError
from blindai.server.watch.crashes import described
from blindai.server.watch.crashes import install_hooks as install_hooks
from blindai.server.watch.finished import CODES, METHODS, OTHER, REQUEST_ID, ROLES, Finished, model_label

FORMATS = ("text", "json")
LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_MAX_TEXT = 2048
_OURS = "blindai"
_JSON_BITS = 63  # of an integer that every reader of JSON takes
_PLAIN = (str, int, float, bool, type(None))

_root = logging.getLogger()
_access = logging.getLogger("blindai.access")
_warnings = logging.getLogger("blindai.warnings")


def configure(form: str, level: str) -> None:
    """Log to stderr in one of `FORMATS` from one of `LEVELS` on; what was configured before is replaced."""
    if form not in FORMATS or level not in LEVELS:
        raise UsageError(
            f"a log is {' or '.join(FORMATS)}, from {', '.join(LEVELS)} on",
            hint='for example log_format = "json" and log_level = "info"',
        )
    handler = _Handler(sys.stderr, _JsonLines() if form == "json" else _Text())
    for old in [old for old in _root.handlers if isinstance(old, _Handler)]:
        _root.removeHandler(old)
    _root.addHandler(handler)
    set_level(level)
    warnings.showwarning = _show_warning


def set_level(level: str) -> None:
    """Log from another of `LEVELS` on."""
    logging.getLogger(_OURS).setLevel(LEVELS[level])


class AccessLog:
    """One line a request: at INFO where programs read the log, at DEBUG where people do.

    `routes` are the patterns of the router; nothing else is told as a route.
    """

    def __init__(self, form: str, routes: Collection[str]) -> None:
        self._level = logging.INFO if form == "json" else logging.DEBUG
        self._routes = frozenset(routes)

    def finished(self, request: Finished) -> None:
        if not _access.isEnabledFor(self._level):
            return
        fields = {
            "request_id": request.request_id if REQUEST_ID.fullmatch(request.request_id) else OTHER,
            "method": request.method if request.method in METHODS else OTHER,
            "route": request.route if request.route in self._routes else OTHER,
            "status": request.status,
            "code": request.code if request.code in CODES else OTHER,
            "seconds": round(request.seconds, 6),
            "queue_seconds": round(request.queue_seconds, 6),
            "request_bytes": request.request_bytes,
            "response_bytes": request.response_bytes,
            "model": model_label(request.model) if request.model is not None else None,
            "role": request.role if request.role in ROLES else OTHER,
        }
        # Not by way of a record: making, filtering and formatting one takes longer than all the rest.
        for handler in _root.handlers:
            if isinstance(handler, _Handler):
                handler.tell(self._level, fields)


class _Handler(logging.StreamHandler[TextIO]):
    def __init__(self, stream: TextIO, style: _Style) -> None:
        super().__init__(stream)
        self.setFormatter(style)
        self._style = style

    def filter(self, record: logging.LogRecord) -> bool:
        # Also where a library has set its own logger to talk more.
        return _is_ours(record) or record.levelno >= logging.WARNING

    def tell(self, level: int, fields: dict[str, Any]) -> None:
        """Write the line of a request."""
        line = self._style.line(time.time(), logging.getLevelName(level), "request", fields)
        self.acquire()
        try:
            self.stream.write(line + "\n")
            self.stream.flush()
        except (OSError, ValueError):  # stderr is closed or its reader gone
            return
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: logging's own way prints the record with its arguments, and the stack."""


class _Style(logging.Formatter):
    """One way to write a line."""

    def format(self, record: logging.LogRecord) -> str:
        event, fields = _content(record)
        for key, value in fields.items():
            if isinstance(value, str):
                fields[key] = clean(value)
        return self.line(record.created, record.levelname, event, fields)

    def line(self, created: float, level: str, event: str, fields: dict[str, Any]) -> str:
        raise NotImplementedError


class _Text(_Style):
    def line(self, created: float, level: str, event: str, fields: dict[str, Any]) -> str:
        words = [fields.pop("message", event)]
        words += [f"{key}={value}" for key, value in fields.items() if value not in (None, "")]
        return clean(f"{_time(created)} {level} {' '.join(words)}")


class _JsonLines(_Style):
    def line(self, created: float, level: str, event: str, fields: dict[str, Any]) -> str:
        line = {"time": _time(created), "level": level.lower(), "event": event, **fields}
        return orjson.dumps(line).decode()


def clean(text: str) -> str:
    """Return `text` without what steers a terminal, ends a line or cannot be encoded; not over-long."""
    text = text[:_MAX_TEXT]
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _content(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """Return what happened, in one word, and what is told of it."""
    if not _is_ours(record):
        fields = {"logger": record.name, "place": f"{PurePath(record.pathname).name}:{record.lineno}"}
        return "library", _with_error(fields, record)
    told: Mapping[str, object] = getattr(record, "fields", {})
    ours = {key: _safe(value) for key, value in told.items()}
    event = str(getattr(record, "event", "message"))
    if record.msg:
        ours = {"message": _text(record), **ours}
    return event, _with_error(ours, record)


def _with_error(fields: dict[str, Any], record: logging.LogRecord) -> dict[str, Any]:
    if record.exc_info and record.exc_info[1] is not None:
        fields["error"] = described(record.exc_info[1])
    return fields


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name == _OURS or record.name.startswith(_OURS + ".")


def _text(record: logging.LogRecord) -> str:
    text, arguments = record.msg, record.args
    if not isinstance(text, str):
        return str(_safe(text))
    if not arguments:
        return text
    try:
        if isinstance(arguments, Mapping):
            return text % {key: _safe(value) for key, value in arguments.items()}
        return text % tuple(_safe(value) for value in arguments)
    except (TypeError, ValueError, KeyError, OverflowError):
        return text


def _safe(value: object) -> object:
    """A value for a line. Objects are told by their type: `str` of a path, an array, an error is contents."""
    if isinstance(value, BaseException):
        return described(value)
    if not isinstance(value, _PLAIN) or (isinstance(value, int) and value.bit_length() > _JSON_BITS):
        return f"<{type(value).__name__}>"
    return value


def _time(seconds: float) -> str:
    """ISO 8601, UTC, in milliseconds."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@functools.lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _show_warning(  # noqa: PLR0913 - the warnings module's signature
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del message, file, line  # the text may quote a value; the line is source code
    _warnings.warning("%s at %s:%d", category.__name__, PurePath(filename).name, lineno)
