import asyncio
from contextvars import ContextVar

from mediaserver.server.slices import Slices


class Reader:
    """A connection with some slices left."""

    def __init__(self, slices: Slices, name: str, left: int, read: list[str]) -> None:
        self.slices, self.name, self.left, self.read = slices, name, left, read
        slices.leave(self.read_on)

    def read_on(self) -> None:
        self.read.append(self.name)
        self.left -= 1
        if self.left:
            self.slices.leave(self.read_on)


async def test_one_connection_reads_on_in_each_turn_and_all_of_them_in_order() -> None:
    slices, read = Slices(), list[str]()
    for name, left in (("a", 3), ("b", 1), ("c", 2)):
        Reader(slices, name, left, read)
    for turn in range(8):
        assert len(read) == min(turn, 6)
        await asyncio.sleep(0)
    assert read == ["a", "b", "c", "a", "c", "a"]


async def test_a_connection_that_comes_later_is_served_too() -> None:
    slices, read = Slices(), list[str]()
    Reader(slices, "a", 1, read)
    await asyncio.sleep(0)
    Reader(slices, "b", 1, read)
    await asyncio.sleep(0)
    assert read == ["a", "b"]


async def test_a_connection_that_fails_does_not_hold_up_the_others() -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(context["exception"])
    )
    slices, read, failure = Slices(), list[str](), ValueError("on purpose")

    def fail() -> None:
        raise failure

    slices.leave(fail)
    Reader(slices, "b", 1, read)
    for _ in range(2):
        await asyncio.sleep(0)
    assert read == ["b"]
    assert failures == [failure]


whose: ContextVar[str] = ContextVar("whose")


async def test_each_connection_reads_on_in_its_own_context() -> None:
    slices, seen = Slices(), list[str]()
    for name in ("a", "b"):
        whose.set(name)
        slices.leave(lambda: seen.append(whose.get()))
    for _ in range(2):
        await asyncio.sleep(0)
    assert seen == ["a", "b"]
