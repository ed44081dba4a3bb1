"""The log: lines that programs can read, and nothing in them that a client or a library put there."""

from __future__ import annotations

import datetime
import io
import json
import logging
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest

from blindai.errors import RequestCode, RequestError, UsageError
from blindai.server.watch.logs import AccessLog, configure
from tests.server.watch.answered import CANARY, INFER, MODEL, ROUTES, hostile, request

Lines = Callable[[], list[str]]
_log = logging.getLogger("blindai.server")


@pytest.fixture
def logged(monkeypatch) -> Iterator[Callable[..., Lines]]:
    """Configure the log and return what gives its lines; afterwards logging is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("blindai")
    level_before, shown_before = ours.level, warnings.showwarning
    stream = io.StringIO()

    def begin(form: str = "json", level: str = "info") -> Lines:
        root.handlers[:] = []  # pytest adds its own to every phase; they raise for records that do not fit
        monkeypatch.setattr(sys, "stderr", stream)
        configure(form, level)
        return lambda: stream.getvalue().splitlines()

    yield begin
    root.handlers[:] = [
        handler for handler in root.handlers if type(handler).__module__ != configure.__module__
    ]
    warnings.showwarning = shown_before
    ours.setLevel(level_before)


def only(lines: Lines) -> dict[str, object]:
    """The one line, as JSON."""
    (line,) = lines()
    return json.loads(line)


def failing(error: BaseException) -> BaseException:
    """`error`, raised here."""
    try:
        raise error
    except type(error) as exc:
        return exc


def test_a_request_is_one_line_of_json(logged):
    """The line has what there is to know of a request, and the time in UTC and milliseconds."""
    lines = logged()
    AccessLog("json", ROUTES).finished(request(code=RequestCode.BUSY, status=429))
    line = only(lines)
    moment = datetime.datetime.strptime(line.pop("time"), "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs(datetime.datetime.now(datetime.UTC) - moment) < datetime.timedelta(minutes=1)
    assert line == {
        "level": "info",
        "event": "request",
        "request_id": "0123456789abcdef",
        "method": "POST",
        "route": INFER,
        "status": 429,
        "code": "busy",
        "seconds": 0.004,
        "queue_seconds": 0.0004,
        "request_bytes": 600,
        "response_bytes": 40,
        "model": MODEL,
        "role": "owner",
    }


@pytest.mark.parametrize(("level", "count"), [("debug", 1), ("info", 0), ("error", 0)])
def test_text_tells_requests_to_those_who_debug(logged, level, count):
    """People who read the log are not shown every request."""
    lines = logged("text", level)
    AccessLog("text", ROUTES).finished(request())
    assert len(lines()) == count
    assert all(f"DEBUG request request_id=0123456789abcdef method=POST route={INFER}" in x for x in lines())


def test_json_is_quiet_if_asked(logged):
    """From `warning` on, requests are not told."""
    lines = logged("json", "warning")
    AccessLog("json", ROUTES).finished(request())
    assert lines() == []


@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_that_a_client_chose_is_told_of_a_request(logged, form):
    """Even if we mistook a path for a pattern, a header for a method, a name for an id."""
    lines = logged(form, "debug")
    AccessLog(form, ROUTES).finished(hostile())
    (line,) = lines()
    assert CANARY not in line
    assert line.count("other") == 6


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "log",
    [
        lambda exc: _log.error("failed: %s", exc),
        lambda exc: _log.error("failed: %r", exc),
        _log.error,
        lambda exc: _log.error("failed", exc_info=exc),
        lambda exc: _log.error("failed", exc_info=exc, stack_info=True),
        lambda exc: _log.error("failed: %(why)s", {"why": exc}),
        lambda exc: _log.error("failed: %s", [exc]),
        lambda exc: _log.error("failed: %s", pathlib.Path("/models") / CANARY),
        lambda exc: _log.error("failed: %s", f"{CANARY}".encode()),
        lambda exc: _log.error("failed: %d", exc),
        lambda exc: _log.error("failed: %s %s", exc),
        lambda exc: _log.error("failed", extra={"event": "x", "fields": {"why": exc}}),
    ],
)
@pytest.mark.parametrize(
    "error", [ValueError(CANARY), RequestError(RequestCode.MALFORMED, CANARY), KeyError({CANARY: 1})]
)
def test_an_errors_text_is_never_told(logged, form, log, error):
    """However an exception, a path or a header comes into a record, its text stays out of the line."""
    lines = logged(form)
    log(failing(error))
    (line,) = lines()
    assert CANARY not in line


def test_an_error_is_told_by_type_and_place(logged):
    """With the errors that it came from, as far as there are any."""
    lines = logged()
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as exc:
            raise RequestError(RequestCode.MALFORMED, CANARY) from exc
    except RequestError as exc:
        _log.error("failed: %s", exc)  # noqa: TRY400
    message = only(lines)["message"]
    assert message.startswith("failed: RequestError at test_logs.py:")
    assert " from KeyError at test_logs.py:" in message


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "name", ["uvicorn.error", "asyncio", "httpx2", "httpcore2.http11", "somebody", "root"]
)
def test_of_libraries_only_who_and_where_is_told(logged, form, name):
    """Their formats, arguments, errors and stacks may all quote what was received."""
    lines = logged(form, "debug")
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    disabled, logger.disabled = logger.disabled, False
    try:
        logger.info(f"GET https://example.org/{CANARY}")  # noqa: G004
        logger.debug("header %s", CANARY)
        logger.warning(f"{CANARY}", exc_info=failing(ValueError(CANARY)), stack_info=True)  # noqa: G004
    finally:
        logger.disabled = disabled
        logger.setLevel(logging.NOTSET if name != "root" else logging.WARNING)
    (line,) = lines()  # what is less than a warning is not told at all
    assert CANARY not in line
    assert "test_logs.py:" in line
    assert "ValueError at test_logs.py:" in line
    assert name in line


def test_a_warning_is_told_by_type_and_place(logged):
    """Python's own way prints its text and the line of source code."""
    lines = logged()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(CANARY, UserWarning, stacklevel=1)
    line = only(lines)
    assert line["message"].startswith("UserWarning at test_logs.py:")
    assert line["level"] == "warning"


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("text", ["a\nb", "a\x1b[2Jb", "a\rb", "a\x00b", "a\u2028b", "a\ud800b", "a\u202eb"])
def test_a_text_stays_on_its_line(logged, form, text):
    """What ends a line, steers a terminal or cannot be encoded is shown as a question mark."""
    lines = logged(form)
    _log.warning("name %s", text)
    (line,) = lines()
    assert "a?" in line
    assert line.isprintable()


def test_a_line_is_not_endless(logged):
    """A text of a megabyte is cut."""
    lines = logged()
    _log.warning("name %s", "x" * 2**20)
    assert len(lines()[0]) < 4096


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_json_cannot_hold_is_told_by_its_type(logged, form):
    """A field of a strange type costs no line."""
    lines = logged(form)
    _log.warning("x", extra={"fields": {"a": object(), "b": float("nan"), "c": 2**70}})
    assert len(lines()) == 1


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_log_that_is_gone_harms_nobody(logged, monkeypatch, capfd, form):
    """If stderr is closed, lines are lost in silence: logging's own way prints their arguments."""
    lines = logged(form, "debug")
    sys.stderr.close()
    AccessLog(form, ROUTES).finished(request())
    _log.error("failed: %s", CANARY)
    assert capfd.readouterr().err == ""
    del lines


def test_configuring_again_replaces(logged):
    """A line is written once, in the form that was chosen last."""
    logged("text")
    lines = logged("json")
    _log.info("hello %d", 1)
    assert only(lines)["message"] == "hello 1"


@pytest.mark.parametrize(("form", "level"), [("xml", "info"), ("json", "loud"), ("", "")])
def test_an_unknown_form_or_level_is_refused(form, level):
    """Nothing is configured then."""
    with pytest.raises(UsageError, match="text or json"):
        configure(form, level)
