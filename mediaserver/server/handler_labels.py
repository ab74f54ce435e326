"""The values that the label ``handler`` of metrics may have: a bounded number of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final


MOST_HANDLERS: Final = 50
"""Handlers with a label of their own. A metric has a series for each value of its labels, and those
of turns more than a hundred."""

OTHER: Final = "other"
"""The label that all further handlers share."""


class HandlerLabels:
    """Gives each handler its label.

    Args:
        names: the handlers that are known from the start; their metrics begin with 0, so that an
            increase from nothing can be seen.

    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.known: set[str] = set()
        """The labels given so far."""
        for name in names:
            self.of(name)

    def of(self, name: str) -> str:
        """Return the label of a handler: its name while there is room, and else `OTHER`."""
        if name in self.known:
            return name
        label = name if len(self.known) < MOST_HANDLERS else OTHER
        self.known.add(label)
        return label
