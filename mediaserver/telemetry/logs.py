"""Logs: one stream of events on stderr, for people or for machines.

Messages of libraries (uvicorn, websockets, asyncio) have the same form. Use
`structlog.contextvars.bind_contextvars` or `structlog.get_logger().bind` to add a call's ids to
messages. Audio and secrets are never logged, and tokens in URLs are redacted.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Mapping
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from mediaserver.telemetry.line_formatting import LineFormatter, render_plain
from mediaserver.telemetry.log_writer import LogWriter
from mediaserver.telemetry.tracebacks import render_traceback


LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["console", "json"]

# At level info these repeat what the server logs, or say what its operator does not need.
_QUIETER: Final[Mapping[str, int]] = {
    "uvicorn.error": logging.WARNING,
    "websockets": logging.WARNING,
    "httpx": logging.WARNING,
    "asyncio": logging.WARNING,
}

AUDIT: Final = "mediaserver.audit"
"""The logger of what operators did, whose lines are written at any level that is set."""

MAX_VALUE: Final = 2_000
"""Characters of one value of a log line; what is longer is cut, and the line says so."""

_MAX_TRACEBACK: Final = 20_000
"""The same for tracebacks and stacks."""

_TRACEBACKS: Final = ("exception", "stack")

# Shows no local variables: they may be audio and secrets.
_render_exceptions: Final = structlog.processors.ExceptionRenderer(render_traceback)

_TOKEN: Final = re.compile(r"(?<=[?&]token=)[^&\s\"'#]+")


def default_logs() -> None:
    """Pass messages to the standard library's logging, unless the application configured structlog.

    By default structlog prints to standard output and shows the local variables of tracebacks,
    which may be audio and secrets.
    """
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.contextvars.merge_contextvars,
                _render_exceptions,
                redact_tokens,
                cut_values,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        )


def configure_logs(
    level: LogLevel = "info",
    form: LogFormat = "console",
    stream: TextIO | None = None,
    *,
    worker: str | None = None,
) -> None:
    """Send every log message of the process to one stream, warnings of Python included.

    A stream with a file descriptor is written by a thread, so that a reader who has stopped blocks
    nothing; what waits is written at the end of the process, for as long as somebody reads it.

    Args:
        level: Lowest severity to log.
        form: ``console`` for people, ``json`` for one JSON object per line.
        stream: Where to write; by default standard error.
        worker: Which of several processes logs; each line has it.

    """
    stream = sys.stderr if stream is None else stream
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact_tokens,
    ]
    if worker is not None:
        shared.append(_name_worker(worker))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: list[Processor] = [
        _render_exceptions,
        redact_tokens,
        cut_values,
    ]
    if form == "json":
        last.append(structlog.processors.JSONRenderer(default=str))
    # https://no-color.org
    elif stream.isatty() and not os.environ.get("NO_COLOR"):
        last.append(
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        )
    else:
        last.append(render_plain)
    handler = _handler_of(stream)
    handler.setFormatter(LineFormatter(shared, last))
    root = logging.getLogger()
    for former in root.handlers:
        if isinstance(former, LogWriter):
            former.flush()
            former.close()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name, least in _QUIETER.items():
        logging.getLogger(name).setLevel(max(least, threshold))
    logging.getLogger(AUDIT).setLevel(min(logging.INFO, threshold))
    warnings.showwarning = _log_warning
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread


def dropped_lines() -> int:
    """Return how many log lines of this process were dropped because nobody read them in time."""
    handlers = logging.getLogger().handlers
    return sum(each.dropped for each in handlers if isinstance(each, LogWriter))


def redact_tokens(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the token of every stream URL in a log event."""
    for key, value in event.items():
        if isinstance(value, str) and "token=" in value:
            event[key] = _TOKEN.sub("…", value)
    return event


def cut_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut every long text in a log event: much of it comes from whoever connects."""
    for key, value in event.items():
        if isinstance(value, str) and len(value) > MAX_VALUE:
            most = _MAX_TRACEBACK if key in _TRACEBACKS else MAX_VALUE
            if len(value) > most:
                event[key] = f"{value[:most]}… ({len(value)} characters)"
    return event


def _name_worker(worker: str) -> Processor:
    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["worker"] = worker
        return event

    return name


def _handler_of(stream: TextIO) -> logging.Handler:
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):
        # In memory, where writing does not block.
        return logging.StreamHandler(stream)
    return LogWriter(descriptor)


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log a warning of Python's, such as that a coroutine was never awaited."""
    where = f"{filename}:{lineno}"
    structlog.get_logger("py.warnings").warning(str(message), kind=category.__name__, where=where)


def _log_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Log an exception that cannot be raised, for instance in a finaliser."""
    structlog.get_logger("py.exceptions").error(
        unraisable.err_msg or "an exception was ignored",
        by=f"{unraisable.object!r:.200}",
        exc_info=unraisable.exc_value,
    )


def _log_thread(failure: threading.ExceptHookArgs) -> None:
    """Log an exception that ended a thread."""
    structlog.get_logger("py.exceptions").error(
        "a thread failed",
        thread=failure.thread.name if failure.thread else None,
        exc_info=failure.exc_value,
    )
