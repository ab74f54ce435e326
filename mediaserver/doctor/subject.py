"""What is examined: a server's settings, its handlers and its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from mediaserver.plivo.numbers import digits
from mediaserver.routes import Routes
from mediaserver.settings import Settings


@dataclass
class Subject:
    """One server, as its settings describe it."""

    settings: Settings
    numbers: tuple[str, ...] = ()
    """Phone numbers whose configuration at Plivo is looked at."""
    routes: Routes | None = None
    """The handlers, once a check has loaded them."""

    @property
    def calls_per_process(self) -> int:
        """The most calls that one process can have, if workers share them evenly."""
        return -(-self.settings.max_calls // max(1, self.settings.workers))

    @classmethod
    def of(cls, settings: Settings, numbers: tuple[str, ...] = ()) -> Subject:
        """Return a server with the numbers that are named, or else those of its routes."""
        routed = (spec.rpartition("=")[0] for spec in settings.handler)
        return cls(settings, numbers or tuple(filter(digits, routed)))
