"""Logs: one stream of events on stderr, for people or for machines.

Messages of libraries (uvicorn, websockets, asyncio) have the same form. Use
`structlog.contextvars.bind_contextvars` or `structlog.get_logger().bind` to add a call's ids to
messages. Audio and secrets are never logged, and tokens in URLs are redacted.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["console", "json"]

# At level info these repeat what the server logs, or say what its operator does not need.
_QUIETER: Final[Mapping[str, int]] = {
    "uvicorn.error": logging.WARNING,
    "websockets": logging.WARNING,
    "httpx": logging.WARNING,
    "asyncio": logging.WARNING,
}

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
                structlog.processors.format_exc_info,
                redact_tokens,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        )


def configure_logs(
    level: LogLevel = "info", form: LogFormat = "console", stream: TextIO | None = None
) -> None:
    """Send every log message of the process to one stream.

    Args:
        level: Lowest severity to log.
        form: ``console`` for people, ``json`` for one JSON object per line.
        stream: Where to write; by default standard error.

    """
    stream = sys.stderr if stream is None else stream
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact_tokens,
    ]
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
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if form == "json":
        last += [structlog.processors.format_exc_info, redact_tokens]
        last += [structlog.processors.JSONRenderer(default=str)]
    else:
        # Show no local variables: they may be audio and secrets.
        last.append(
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name, least in _QUIETER.items():
        logging.getLogger(name).setLevel(max(least, threshold))


def redact_tokens(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the token of every stream URL in a log event."""
    for key, value in event.items():
        if isinstance(value, str) and "token=" in value:
            event[key] = _TOKEN.sub("…", value)
    return event
