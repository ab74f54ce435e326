"""Collects the keys that a caller presses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


KEYS_PAUSE = 1.5
"""Seconds without another key after which the caller has finished."""


class Keys:
    """Collects keys until ``#``, or until no other key follows.

    Args:
        entered: called with the keys, without the ``#`` at their end; with ``#`` if it came alone.

    """

    def __init__(self, entered: Callable[[str], object]) -> None:
        self._entered = entered
        self._keys = ""
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        """Return whether more keys may follow."""
        return bool(self._keys)

    def press(self, digit: str) -> None:
        """Take a key."""
        self._stop_waiting()
        if digit == "#":
            self._enter()
        else:
            self._keys += digit
            self._timer = asyncio.get_running_loop().call_later(KEYS_PAUSE, self._enter)

    def forget(self) -> None:
        """Forget the keys so far."""
        self._stop_waiting()
        self._keys = ""

    def _enter(self) -> None:
        keys, self._keys = self._keys, ""
        self._timer = None
        self._entered(keys or "#")

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
