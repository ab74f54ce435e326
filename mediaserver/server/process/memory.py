"""Gives memory back to the system after many connections at once.

The C library keeps freed memory for later. A TLS connection takes about 60 KB, in pieces that lie
between others, so what a flood of them has freed is not even used again for the next one.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from typing import Final


_WORTH_IT: Final = 500
"""Number of closed connections after which memory is given back."""

_INTERVAL: Final = 5.0
"""Seconds between two times; each takes some milliseconds."""


_YOUNG_OBJECTS: Final = 10_000
"""New objects after which the garbage collector looks at them, 700 by default. A call is freed at
its end without it, so it finds little, and while many calls begin it would look several times at
the objects of each."""


def settle_garbage_collection() -> None:
    """Have the garbage collector work less often. Call once all modules are imported."""
    # Imported modules stay alive, so they need not be scanned again.
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


def trim_memory() -> None:
    """Give free memory back to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryReturn:
    """Decides when to give memory back: some time after a flood of connections.

    Args:
        trim: Gives it back.

    """

    def __init__(self, trim: Callable[[], None] = trim_memory) -> None:
        self._trim = trim
        self._trimmed_at = float("-inf")
        self._closed_then = 0

    def check(self, now: float, closed: int) -> None:
        """Give memory back if it is worth it.

        Args:
            now: Monotonic seconds.
            closed: Number of connections that were closed until now without having become a stream.

        """
        if closed - self._closed_then >= _WORTH_IT and now - self._trimmed_at >= _INTERVAL:
            self._closed_then = closed
            self._trimmed_at = now
            self._trim()
