"""Logs: one stream of events on stderr, for people or for machines.

The libraries' own messages (uvicorn, websockets, asyncio) come out in the same form. Ids of a call
are bound with `structlog.contextvars.bind_contextvars` or `structlog.get_logger().bind`. Audio and
secrets are never logged, and a token that gets into a message by way of a URL is blotted out.
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

# What these say at info is either said better by the server or of no use to who runs it.
_QUIETER: Final[Mapping[str, int]] = {
    "uvicorn.error": logging.WARNING,
    "websockets": logging.WARNING,
    "httpx": logging.WARNING,
    "asyncio": logging.WARNING,
}

_TOKEN: Final = re.compile(r"(?<=[?&]token=)[^&\s\"'#]+")


def default_logs() -> None:
    """Hand messages to the standard library's logging, unless the application has its own wishes.

    structlog by itself prints to standard output, local variables of tracebacks included, which may
    be audio and secrets.
    """
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.contextvars.merge_contextvars,
                structlog.processors.format_exc_info,
                blot_out_tokens,
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
        level: Least severe messages to log.
        form: ``console`` for people, ``json`` for one JSON object a line.
        stream: Where to; by default standard error.

    """
    stream = sys.stderr if stream is None else stream
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        blot_out_tokens,
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
        last += [structlog.processors.format_exc_info, blot_out_tokens]
        last += [structlog.processors.JSONRenderer(default=str)]
    else:
        # Without local variables, which may be audio and secrets.
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


def blot_out_tokens(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the token of every stream URL in a log event."""
    for key, value in event.items():
        if isinstance(value, str) and "token=" in value:
            event[key] = _TOKEN.sub("…", value)
    return event
