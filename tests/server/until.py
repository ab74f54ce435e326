"""Waiting for something to become true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], *, within: float = 30.0) -> None:
    """Return as soon as `condition()` is true; fail after `within` seconds of the loop's clock."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.001)
