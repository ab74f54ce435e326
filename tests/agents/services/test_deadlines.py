import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.deadlines import require_seconds, within
from mediaserver.testing import run_virtual


class Source:
    """Yields a number after each of some delays; knows whether it was closed."""

    def __init__(self, *delays: Any) -> None:
        self.delays = delays
        self.closed = False

    async def pieces(self) -> AsyncIterator[Any]:
        try:
            for number, delay in enumerate(self.delays):
                await asyncio.sleep(delay)
                yield number
        finally:
            self.closed = True

    def within(self, first: float = 2.0, then: float = 1.0) -> AsyncGenerator[Any, None]:
        return within(self.pieces(), first=first, next=then, service="test")


def test_pieces_in_time_are_passed_on() -> None:
    async def main() -> None:
        source = Source(1.9, 0.9, 0.9)
        assert [piece async for piece in source.within()] == [0, 1, 2]
        assert source.closed

    run_virtual(main())


@pytest.mark.parametrize(
    ("delays", "after", "reason"),
    [((2.1,), 2.0, "no answer within 2 s"), ((0.5, 1.1), 1.5, "did not go on within 1 s")],
)
def test_a_slow_service_is_given_up(
    delays: tuple[float, float] | tuple[float], after: float, reason: str
) -> None:
    async def main() -> None:
        source = Source(*delays)
        begun = asyncio.get_running_loop().time()
        with pytest.raises(ServiceError, match=reason) as caught:
            async for _ in source.within():
                pass
        assert asyncio.get_running_loop().time() - begun == pytest.approx(after)
        assert caught.value.service == "test"
        assert source.closed

    run_virtual(main())


def test_equal_deadlines_still_say_whether_anything_came() -> None:
    async def main() -> None:
        with pytest.raises(ServiceError, match="did not go on"):
            async for _ in Source(0.5, 9.0).within(1.0, 1.0):
                pass

    run_virtual(main())


def test_what_the_consumer_does_with_a_piece_does_not_count() -> None:
    async def main() -> None:
        async for _ in Source(1.0, 0.5).within():
            await asyncio.sleep(60)

    run_virtual(main())


def test_closing_closes_the_source() -> None:
    async def main() -> None:
        source = Source(0.0, 0.0)
        pieces = source.within()
        await anext(pieces)
        await pieces.aclose()
        assert source.closed

    run_virtual(main())


def test_cancelling_closes_the_source() -> None:
    async def main() -> None:
        source = Source(0.0, 0.9)

        async def consume() -> None:
            async for _ in source.within():
                pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert source.closed

    run_virtual(main())


def test_a_time_out_of_the_source_itself_is_its_own() -> None:
    async def pieces(first: str) -> AsyncIterator[str]:
        if first:
            raise TimeoutError(first)
        yield first

    async def main() -> None:
        with pytest.raises(TimeoutError, match="mine"):
            await anext(within(pieces("mine"), first=1.0, next=1.0, service="test"))

    run_virtual(main())


def test_any_iterator_will_do() -> None:
    class Two:
        left = 2

        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> int:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return self.left

    async def main() -> None:
        pieces = within(Two(), first=1.0, next=1.0, service="test")
        assert [piece async for piece in pieces] == [1, 0]

    run_virtual(main())


@pytest.mark.parametrize("wrong", [0, -1.0, float("inf"), float("nan"), "1", None, True])
def test_settings_must_be_seconds(wrong: Any) -> None:
    with pytest.raises(ValueError, match="first_timeout must be a number of seconds above 0"):
        require_seconds(first_timeout=wrong)
