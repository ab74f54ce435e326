"""The log of requests that got nothing: who asked for what, and why not.

Anyone who reaches the port can cause such lines, so their number is limited.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog


log = structlog.get_logger(__name__)

LINES_EACH: Final = 20
"""Number of lines that are logged in a period."""
PERIOD: Final = 10.0
"""Length of a period, in seconds."""

_LONGEST: Final = 200
"""Number of characters that are logged of each text of a request."""


class RefusalLog:
    """Logs refused requests: at most `LINES_EACH` in each period of `PERIOD` seconds.

    The first line of a later period says how many were left out before it.

    Args:
        clock: Monotonic seconds.
        log: Where the lines go, if not into the log of this module.

    """

    def __init__(self, clock: Callable[[], float], log: Any = log) -> None:
        self._clock = clock
        self._log = log
        self._since = -PERIOD
        self._lines = 0
        self._left_out = 0

    def note(self, event: str, **details: object) -> None:
        """Log one refusal as a warning; long texts are cut."""
        now = self._clock()
        if now - self._since >= PERIOD:
            self._since = now
            self._lines = 0
        if self._lines >= LINES_EACH:
            self._left_out += 1
            return
        self._lines += 1
        if self._left_out:
            details["left_out"] = self._left_out
            self._left_out = 0
        self._log.warning(event, **{name: _cut(value) for name, value in details.items()})


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}…"
    return value
