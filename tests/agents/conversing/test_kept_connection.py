import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.kept_connection import KeptConnection
from mediaserver.agents.services import ServiceError
from mediaserver.call import StreamEndedError


BUSY = ServiceError("ears", "busy", status=429)
REFUSED = ServiceError("ears", "wrong key", status=401)


class Session:
    def __init__(self, *events: Any) -> None:
        self.events = events
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1

    async def told(self) -> AsyncIterator[Any]:
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event


class Call:
    """Keeps what a `KeptConnection` tells; each attempt takes the next of `outcomes`."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.ended = False
        self.ends = False  # during the next attempt
        self.opened: list[Session] = []
        self.lost: list[str] = []
        self.taken: list[Any] = []
        self.kept = KeptConnection[Session](
            "ears",
            self.connect,
            opened=self.opened.append,
            lost=lambda error: self.lost.append(str(error)),
            ended=lambda: self.ended,
        )

    async def connect(self) -> Session:
        outcome = self.outcomes.pop(0) if self.outcomes else Session()
        self.ended = self.ends
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def take(self, event: Any) -> None:
        self.taken.append(event)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            self.kept.tasks = CallTasks(group, "call", plainly)
            yield


async def plainly(work: Coroutine[Any, Any, None]) -> None:
    await work


async def test_one_session_is_opened_for_all_who_ask() -> None:
    call = Call()
    first, second = await asyncio.gather(call.kept.ready(), call.kept.ready())
    assert first is second is call.kept.current
    assert call.opened == [first]


async def test_three_attempts_are_made() -> None:
    call = Call(BUSY, BUSY)
    began = asyncio.get_running_loop().time()
    assert await call.kept.ready() is call.kept.current
    assert asyncio.get_running_loop().time() - began == pytest.approx(1.25)
    with pytest.raises(ServiceError, match="busy"):
        await Call(BUSY, BUSY, BUSY).kept.ready()


async def test_a_refusal_for_good_is_not_tried_again() -> None:
    call = Call(REFUSED)
    with pytest.raises(ServiceError, match="wrong key"):
        await call.kept.ready()
    assert call.opened == []


async def test_a_renewed_session_is_open_before_the_old_one_is_closed() -> None:
    old, new = Session(), Session()
    call = Call(old, new)
    async with call.started():
        await call.kept.ready()
        await call.kept.renew()
        assert (call.kept.current, old.closed) == (new, 0)
    assert old.closed == 1
    assert call.lost == []


async def test_a_session_that_cannot_be_renewed_is_kept() -> None:
    old = Session()
    call = Call(old, REFUSED)
    async with call.started():
        await call.kept.ready()
        with pytest.raises(ServiceError):
            await call.kept.renew()
    assert (call.kept.current, old.closed) == (old, 0)


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        (["a"], "ears: the session has ended"),
        (["a", ServiceError("ears", "gone")], "ears: gone"),
        (["a", KeyError("text")], "ears: KeyError: 'text'"),
    ],
)
async def test_the_end_of_the_events_is_the_loss_of_the_session(
    events: list[Any], lost: str
) -> None:
    call = Call(Session(*events))
    async with call.started():
        session = await call.kept.ready()
        await call.kept.follow(session, session.told(), call.take)
    assert (call.taken, call.lost, call.kept.current) == (["a"], [lost], None)
    assert session.closed == 1


async def test_a_session_that_fails_at_something_is_lost_once() -> None:
    async def fail() -> None:
        raise KeyError("frame")

    call = Call()
    async with call.started():
        session = await call.kept.ready()
        await call.kept.do(session, fail())
        await call.kept.do(session, fail())
    assert call.lost == ["ears: KeyError: 'frame'"]


async def test_a_session_that_opens_after_the_end_is_closed() -> None:
    session = Session()
    call = Call(session)
    call.ends = True
    with pytest.raises(StreamEndedError):
        await call.kept.ready()
    assert (session.closed, call.opened) == (1, [])
    await call.kept.close()


async def test_what_a_replaced_session_still_tells_is_not_taken() -> None:
    call = Call(Session("before", "after"))

    async def take(event: Any) -> None:
        await call.take(event)
        await call.kept.renew()

    async with call.started():
        first = await call.kept.ready()
        await call.kept.follow(first, first.told(), take)
    assert call.taken == ["before"]
    assert call.lost == []
