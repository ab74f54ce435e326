import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.conversation import Conversation
from mediaserver.agents.conversing.kept_session import KeptSession
from mediaserver.agents.services import RealtimeEvent, RealtimeSession, ServiceError, Text, ToolSpec
from mediaserver.call import StreamEndedError
from mediaserver.testing.realtime import ScriptedRealtime


BUSY = ServiceError("scripted", "busy", status=429)
REFUSED = ServiceError("scripted", "wrong key", status=401)


class Call:
    """Keeps what a `KeptSession` tells."""

    def __init__(self, model: ScriptedRealtime) -> None:
        self.model = model
        self.prompt = "Be kind."
        self.ended = False
        self.taken: list[RealtimeEvent] = []
        self.lost: list[ServiceError] = []
        self.attempts = 0
        self.conversation = Conversation()
        self.kept = KeptSession(
            model,
            self.conversation,
            self.instructions,
            take=self.take,
            lost=self.lost.append,
            connecting=self.connecting,
            ended=lambda: self.ended,
        )

    def instructions(self) -> tuple[str, tuple[ToolSpec, ...]]:
        return self.prompt, ()

    async def take(self, event: RealtimeEvent) -> None:
        self.taken.append(event)

    def connecting(self) -> None:
        self.attempts += 1

    @asynccontextmanager
    async def opened(self, format: AudioFormat = MULAW_8K) -> AsyncIterator[RealtimeSession]:
        """Open a session on a stream, and close it."""
        async with asyncio.TaskGroup() as group:
            tasks = CallTasks(group, "call", plainly)
            await self.kept.open(tasks, format)
            yield await self.kept.ready()
            self.ended = True
            await self.kept.close()
            await tasks.cancel()


async def plainly(work: Coroutine[Any, Any, None]) -> None:
    await work


async def test_a_session_that_was_prepared_is_used() -> None:
    call = Call(ScriptedRealtime())
    await call.kept.prepare(MULAW_8K)
    async with call.opened() as session:
        assert session is call.model.session
        assert call.model.attempts == 1
    assert call.model.session.closed


async def test_a_session_that_was_prepared_for_another_format_is_replaced() -> None:
    call = Call(ScriptedRealtime())
    await call.kept.prepare(MULAW_8K)
    async with call.opened(L16_16K):
        first, second = call.model.sessions
        await asyncio.sleep(0)
        assert (first.closed, second.format) == (True, L16_16K)


async def test_a_session_is_told_the_prompt_of_now_or_replaced() -> None:
    call = Call(ScriptedRealtime())
    await call.kept.prepare(MULAW_8K)
    call.prompt = "Be brief."
    async with call.opened():
        assert call.model.session.prompt == "Be brief."


async def test_connecting_is_tried_three_times() -> None:
    call = Call(ScriptedRealtime(refusals=[BUSY] * 3))
    with pytest.raises(ServiceError, match="busy"):
        await call.kept.prepare(MULAW_8K)
    assert call.attempts == call.model.attempts == 3
    await call.kept.prepare(MULAW_8K)
    assert call.kept.current is call.model.session


async def test_a_refusal_for_good_is_not_tried_again() -> None:
    call = Call(ScriptedRealtime(refusals=[REFUSED]))
    with pytest.raises(ServiceError, match="wrong key"):
        await call.kept.prepare(MULAW_8K)
    assert call.attempts == 1


async def test_who_waited_for_the_attempts_of_another_makes_none() -> None:
    call = Call(ScriptedRealtime(refusals=[BUSY] * 3))
    both = [call.kept.prepare(MULAW_8K) for _ in range(2)]
    errors = await asyncio.gather(*both, return_exceptions=True)
    assert [str(error) for error in errors] == ["scripted: busy"] * 2
    assert call.attempts == 3


async def test_any_exception_of_the_model_is_a_service_error() -> None:
    call = Call(ScriptedRealtime(refusals=[KeyError("choices")] * 3))
    with pytest.raises(ServiceError, match="KeyError: 'choices'"):
        await call.kept.prepare(MULAW_8K)


async def test_a_lost_session_is_told_and_the_next_hears_the_conversation() -> None:
    call = Call(ScriptedRealtime())
    call.conversation.hear("Hello?")
    async with call.opened():
        call.model.session.lose()
        await asyncio.sleep(0.1)
        assert call.kept.current is None
        assert len(call.lost) == 1
        await call.kept.ready()
        assert call.model.session.conversation == [Text("user", "Hello?")]
        assert call.model.sessions[0].closed


async def test_a_session_that_fails_at_something_is_lost() -> None:
    async def fail() -> None:
        raise KeyError("item")

    call = Call(ScriptedRealtime())
    async with call.opened() as session:
        await call.kept.do(session, fail())
        assert [str(error) for error in call.lost] == ["realtime_model: KeyError: 'item'"]
        await call.kept.do(session, fail())
        assert len(call.lost) == 1  # it is not the current one any more


async def test_after_the_end_no_session_is_opened() -> None:
    call = Call(ScriptedRealtime())
    call.ended = True
    with pytest.raises(StreamEndedError):
        await call.kept.prepare(MULAW_8K)
    assert call.attempts == 0


async def test_the_model_says_who_takes_the_turns() -> None:
    call = Call(ScriptedRealtime())
    async with call.opened() as session:
        assert call.kept.takes_turns is session.takes_turns
