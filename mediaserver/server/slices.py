"""Shares the turns of the event loop among connections that have more to read than a slice."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context


class Slices:
    """Reads on with one connection in each turn of the loop, one after the other.

    So the length of a turn does not depend on how many connections are flooded.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Context, Callable[[], object]]] = deque()
        self._is_next = False

    def leave(self, read_on: Callable[[], object]) -> None:
        """Call `read_on` in a later turn of the loop, in the current context."""
        self._waiting.append((copy_context(), read_on))
        if not self._is_next:
            self._schedule()

    def _schedule(self) -> None:
        self._is_next = bool(self._waiting)
        if self._is_next:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        context, read_on = self._waiting.popleft()
        try:
            context.run(read_on)
        finally:
            self._schedule()
