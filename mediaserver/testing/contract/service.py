"""What every service must do, and how its checks are run."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeAlias, TypeVar
from unittest import SkipTest

import numpy as np

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat, Samples
from mediaserver.agents.services import Checked, ServiceError, WordMark
from mediaserver.call import Frame
from mediaserver.testing.tasks import standing


S = TypeVar("S")
T = TypeVar("T")

_MakesService: TypeAlias = Callable[[], AbstractAsyncContextManager[S]]

_SETTLES_WITHIN = 2.0


class ServiceContract(Generic[S]):
    """What holds for services of every kind. A test inherits from the class of one kind.

    Attributes:
        key: the key to make the service with. No error may show it.
        limit: seconds that a check may take, on the clock of its event loop.
        slack: seconds by which times of a service may be off.
        pace: seconds from one second of the caller's audio to the next: 1 is a call, and 0 is for
            servers that need no time.

    """

    key = "key-of-the-contract-7f3a"
    limit = 20.0
    slack = 0.25
    pace = 1.0

    def opened(self) -> AbstractAsyncContextManager[S]:
        """Return a context that makes the service, with a server that works.

        The service need not be closed in it. Each check enters one of its own.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must say how to make its service: override opened()"
        )

    def failing(self) -> AbstractAsyncContextManager[S]:
        """Return a context that makes the service with `key`, with a server that refuses it."""
        raise SkipTest("override failing() to have errors checked")

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of a check, such as a `VirtualTimeLoop`."""
        return asyncio.new_event_loop()

    def sound(self, seconds: float, rate: int) -> Samples:
        """Return what the caller says: int16 samples at `rate` Hz. By default it is a tone."""
        tone = 8000 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 300 / rate)
        return tone.astype(np.int16)

    async def use(self, service: S) -> None:
        """Use the service once, from the beginning to the end."""
        raise NotImplementedError

    def test_check_finds_nothing_wrong(self) -> None:
        """`check` passes for a service that works, if it has one."""

        async def check(service: S) -> None:
            if isinstance(service, Checked):
                await service.check()

        self.run(check)

    def test_close_may_be_called_twice(self) -> None:
        """Closing a service twice is as closing it once; a service need not have `close`."""

        async def check(service: S) -> None:
            await self.use(service)
            await _close(service)
            await _close(service)

        self.run(check)

    def test_an_error_is_a_service_error(self) -> None:
        """A server's refusal is raised as a `ServiceError`, at the latest when it is used."""
        self._refusal()

    def test_an_error_does_not_show_the_key(self) -> None:
        """Errors are logged, and no key belongs in a log."""
        error = self._refusal()
        assert self.key not in f"{error} {error!r}", f"an error shows the key: {str(error)[:300]!r}"

    def test_nothing_is_left_after_close(self) -> None:
        """No task and no connection is left when the service and its server are closed."""
        left: list[str] = []

        async def after() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=_SETTLES_WITHIN)
            left.extend(map(standing, tasks))

        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", ResourceWarning)
            self.run(self.use, after=after)
            gc.collect()
        assert not left, f"tasks are left: {'; '.join(sorted(left))}"
        unclosed = [str(each.message) for each in warned if each.category is ResourceWarning]
        assert not unclosed, f"connections are left: {'; '.join(unclosed)}"

    def run(
        self,
        check: Callable[[S], Awaitable[object]],
        make: _MakesService[S] | None = None,
        after: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Run a check in an event loop of its own, within `limit`."""
        __tracebackhide__ = True
        opened = make or self.opened

        async def checked() -> None:
            deadline = asyncio.timeout(self.limit)
            try:
                async with deadline, opened() as service:
                    try:
                        await check(service)
                    finally:
                        await _close(service)
            except TimeoutError:
                if not deadline.expired():
                    raise
                raise AssertionError(f"it was not over after {self.limit:g} s") from None
            if after is not None:
                await after()

        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            runner.run(checked())

    def _refusal(self) -> ServiceError:
        caught: list[ServiceError] = []

        async def check(service: S) -> None:
            try:
                await self.use(service)
            except ServiceError as error:
                caught.append(error)
            except Exception as error:
                raise AssertionError(
                    f"an error of a service is a ServiceError, not a {type(error).__name__}:"
                    f" {error}"
                ) from error
            else:
                raise AssertionError("the service was refused, and raised no error")

        self.run(check, self.failing)
        return caught[0]

    def frames(
        self, format: AudioFormat, seconds: float = 1.0, lengths: tuple[int, ...] = ()
    ) -> Iterator[Frame]:
        """Yield the caller's audio, 20 ms at a time, or in frames of `lengths` samples in turn."""
        payload = format.encode(self.sound(seconds, format.rate))
        lengths = lengths or (format.rate // 50,)
        start = count = 0
        while start < len(payload):
            size = lengths[count % len(lengths)] * format.sample_bytes
            yield Frame(payload[start : start + size], format)
            start, count = start + size, count + 1

    async def spoken(self, frames: Iterator[Frame]) -> AsyncIterator[Frame]:
        """Yield frames as a caller speaks them: each one comes when it has been said."""
        for frame in frames:
            await asyncio.sleep(frame.seconds * self.pace)
            yield frame

    async def in_time(self, awaited: Awaitable[T], seconds: float, what: str) -> T:
        """Wait for something for some seconds, and name it if it does not come."""
        try:
            return await asyncio.wait_for(awaited, seconds)
        except TimeoutError:
            raise AssertionError(f"{what} within {seconds:g} s") from None


class FollowedEvents(Generic[T]):
    """Takes the events of a session in a task of its own.

    Args:
        events: the events.
        take: called with each of them.
        over: called when they have ended.

    """

    def __init__(
        self, events: AsyncIterator[T], take: Callable[[T], object], over: Callable[[], object]
    ) -> None:
        async def follow() -> None:
            try:
                async for event in events:
                    take(event)
            finally:
                over()

        self._task = asyncio.create_task(follow(), name="events of a session")

    async def taken(self) -> None:
        """Wait until the events end, and raise what they raised."""
        await asyncio.wait([self._task])
        self._task.result()

    async def lost(self) -> None:
        """Wait until the events raise a `ServiceError`."""
        await asyncio.wait([self._task])
        error = self._task.exception()
        assert isinstance(error, ServiceError), (
            f"a lost connection is a ServiceError, and the events ended with {error!r}"
        )

    async def stop(self) -> None:
        """Take no more of them."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()


TELEPHONE_FORMATS: tuple[AudioFormat, ...] = (MULAW_8K, L16_8K, L16_16K)

ODD_LENGTHS = (1, 7, 160, 333, 4000)
"""Samples of frames, none of which a service may rely on."""


def assert_whole(frame: Frame) -> None:
    """Fail if a frame ends within a sample, or has no audio."""
    size = len(frame.payload)
    assert size, "a frame without audio came"
    assert size % frame.format.sample_bytes == 0, (
        f"a frame of {size} bytes ends within a sample of {frame.format.sample_bytes} bytes"
    )


def assert_marks(marks: list[WordMark], text: str, seconds: float, slack: float) -> None:
    """Fail if marks run backwards, or lie outside of a text or of its audio."""
    end, at = 0, 0.0
    for mark in marks:
        assert 0 <= mark.end <= len(text), f"{mark} is outside of a text of {len(text)} characters"
        assert 0 <= mark.seconds <= seconds + slack, (
            f"{mark} is outside of {seconds:.3f} s of audio"
        )
        assert mark.end >= end, f"{mark} goes back in the text, after {end} characters"
        assert mark.seconds >= at, f"{mark} goes back in time, after {at:.3f} s"
        end, at = mark.end, mark.seconds


async def close_iterator(iterator: AsyncIterator[Any]) -> None:
    """Close an iterator that is a generator, as an agent does that needs no more of it."""
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()


def _has_close(service: Any) -> bool:
    return inspect.iscoroutinefunction(getattr(service, "close", None))


async def _close(service: Any) -> None:
    if _has_close(service):
        await service.close()
