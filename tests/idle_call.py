"""A call whose handler leaves the stream to the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from audiocodecs import Samples
from mediaserver import Stream
from mediaserver.testing import joined, run_virtual


def tone(seconds: float, rate: int = 8000) -> Samples:
    times = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


async def listen(stream: Stream) -> None:
    async for _ in stream.audio():
        pass


@asynccontextmanager
async def idle_call(**phone: Any) -> AsyncIterator[Any]:
    """A call whose handler leaves everything to the test."""
    over = asyncio.Event()

    async def idle(stream: Stream) -> None:
        await over.wait()

    async with joined(idle, **phone) as line:
        try:
            yield line
        finally:
            over.set()


def now() -> float:
    return asyncio.get_running_loop().time()


def called(
    test: Callable[..., Any], handler: Callable[..., Any] | None = None, **phone: Any
) -> Any:
    """Run `test` on the stream and the phone of a call."""

    async def main() -> Any:
        async with joined(handler, **phone) if handler else idle_call(**phone) as line:
            return await test(line.stream, line.phone)

    return run_virtual(main())
