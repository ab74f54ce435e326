import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
    RealtimeEvent,
    ResponseDone,
    ServiceError,
    Speech,
    SpokenText,
    Text,
    Tokens,
    ToolCall,
    Transcribing,
)
from mediaserver.call import Frame
from mediaserver.testing import run_virtual
from mediaserver.testing.realtime import PIECE, ScriptedRealtime, ScriptedSession, Truncation
from mediaserver.testing.services import WORD_SECONDS, Fault


SECOND = Frame(MULAW_8K.encode(np.zeros(8000, np.int16)), MULAW_8K)
TOOL = ToolCall("call_1", "weather", "{}")


def events_of(
    model: ScriptedRealtime, use: Callable[[ScriptedSession], Awaitable[Any]], seconds: float = 5.0
) -> list[RealtimeEvent]:
    """Return what a session tells while `use` uses it, and for some seconds after."""

    async def main() -> list[RealtimeEvent]:
        session = await model.connect(prompt="Be brief.", tools=(), format=MULAW_8K)
        told: list[RealtimeEvent] = []

        async def collect() -> None:
            told.extend([event async for event in session.events()])

        collecting = asyncio.create_task(collect())
        await use(session)
        await asyncio.sleep(seconds)
        await session.close()
        await collecting
        return told

    return run_virtual(main())


def test_a_turn_is_answered_by_the_next_line_of_the_script() -> None:
    async def use(session: ScriptedSession) -> None:
        await session.hear(SECOND)
        await session.end_turn()
        assert session.turns == [1.0]

    told = events_of(ScriptedRealtime(["One two three."], transcripts=["hello"]), use)
    assert [event.text for event in told if isinstance(event, CallerText)] == ["hello"]
    assert "".join(e.text for e in told if isinstance(e, SpokenText)) == "One two three."
    audio = sum(event.frame.seconds for event in told if isinstance(event, Speech))
    assert audio == pytest.approx(3 * WORD_SECONDS, abs=PIECE)
    assert ResponseDone(Tokens(100, 20, 50)) in told


def test_an_answer_may_call_a_tool_and_a_used_up_script_says_nothing() -> None:
    async def use(session: ScriptedSession) -> None:
        await session.respond()
        await session.respond()
        assert session.responses == 2

    told = events_of(ScriptedRealtime([["Let me see.", TOOL]]), use)
    assert TOOL in told
    assert len([event for event in told if isinstance(event, ResponseDone)]) == 2


def test_it_says_what_it_is_asked_to_say() -> None:
    told = events_of(ScriptedRealtime(), lambda session: session.say("Hello there."))
    assert "".join(e.text for e in told if isinstance(e, SpokenText)) == "Hello there."


def test_a_cancelled_response_is_done_at_once_and_what_waits_is_forgotten() -> None:
    async def use(session: ScriptedSession) -> None:
        await session.respond()
        await session.respond()
        await asyncio.sleep(0.5)
        await session.cancel()
        await session.cancel()
        assert session.cancelled == 1

    told = events_of(ScriptedRealtime(["word " * 50, "never said"]), use)
    assert [event.cancelled for event in told if isinstance(event, ResponseDone)] == [True]


def test_a_truncation_is_noted_unless_all_was_heard() -> None:
    async def use(session: ScriptedSession) -> None:
        await session.respond()
        await session.respond()
        await asyncio.sleep(4)
        first, second = "item_2_0", "item_2_1"
        await session.truncate(first, 0.2)
        await session.truncate(second, 2 * WORD_SECONDS)
        (cut,) = session.truncations
        assert cut == Truncation("One two.", 0.2, cut.length)
        assert cut.length == pytest.approx(2 * WORD_SECONDS, abs=PIECE)
        with pytest.raises(KeyError):
            await session.truncate(first, 0.1)

    events_of(ScriptedRealtime(["One two.", "Two three."]), use)


def test_more_than_there_is_cannot_have_been_heard() -> None:
    async def use(session: ScriptedSession) -> None:
        await session.respond()
        await asyncio.sleep(4)
        with pytest.raises(AssertionError, match="cannot have been heard"):
            await session.truncate("item_1_0", 60.0)

    events_of(ScriptedRealtime(["One."]), use)


def test_attempts_are_refused_before_a_session_is_opened() -> None:
    refusal = ServiceError("scripted", "busy")
    model = ScriptedRealtime(refusals=[refusal])
    model.refuse(refusal)

    async def main() -> None:
        for _ in range(2):
            with pytest.raises(ServiceError, match="busy"):
                await model.connect(prompt="", tools=(), format=MULAW_8K)
        await model.connect(prompt="", tools=(), format=MULAW_8K)

    run_virtual(main())
    assert (model.attempts, len(model.sessions)) == (3, 1)


def test_methods_of_the_first_session_break_on_request() -> None:
    model = ScriptedRealtime(breaks={"hear": ConnectionError("gone")})

    async def main() -> None:
        first = await model.connect(prompt="", tools=(), format=MULAW_8K)
        with pytest.raises(ConnectionError, match="gone"):
            await first.hear(SECOND)
        second = await model.connect(prompt="", tools=(), format=MULAW_8K)
        await second.hear(SECOND)
        assert model.session is second

    run_virtual(main())


@pytest.mark.parametrize("after", [0, 3])
def test_a_fault_ends_the_events_after_some_pieces(after: int) -> None:
    fault = Fault(error=ServiceError("scripted", "broken"), after=after, uses=1)
    pieces: list[RealtimeEvent] = []

    async def collect(session: ScriptedSession) -> None:
        async for event in session.events():
            pieces.append(event)  # noqa: PERF401 - the events end with an error

    async def main() -> None:
        model = ScriptedRealtime(["word " * 20], fault=fault)
        session = await model.connect(prompt="", tools=(), format=MULAW_8K)
        await session.respond()
        with pytest.raises(ServiceError, match="broken"):
            await collect(session)

    run_virtual(main())
    assert len([event for event in pieces if isinstance(event, Speech)]) == after


def test_a_fault_without_an_error_stalls_the_response() -> None:
    model = ScriptedRealtime(["word " * 20], fault=Fault(error=None, after=1))
    told = events_of(model, lambda session: session.respond(), seconds=60.0)
    assert not any(isinstance(event, ResponseDone) for event in told)


@pytest.mark.parametrize("error", [ServiceError("scripted", "lost"), None])
def test_a_lost_connection_ends_the_events(error: Exception | None) -> None:
    async def main() -> bool:
        model = ScriptedRealtime(["word " * 20])
        session = await model.connect(prompt="", tools=(), format=MULAW_8K)
        await session.respond()
        session.lose(error)
        try:
            return [event async for event in session.events()] == []
        except ServiceError as lost:
            return lost is error

    assert run_virtual(main())


def test_a_model_that_takes_the_turns_stops_for_the_caller() -> None:
    async def use(session: ScriptedSession) -> None:
        session.caller_speaks()
        await session.hear(SECOND)
        session.caller_finished()
        await asyncio.sleep(1)
        session.caller_speaks()

    told = events_of(ScriptedRealtime(["word " * 50], takes_turns=True), use)
    kinds = [type(event) for event in told if not isinstance(event, Speech | SpokenText)]
    assert kinds == [CallerSpeaks, CallerFinished, CallerText, CallerSpeaks, ResponseDone]


def test_a_session_remembers_what_it_is_told() -> None:
    async def use(session: ScriptedSession) -> None:
        await session.tell(Text("user", "hello"))
        await session.update(prompt="Be kind.", tools=())
        assert (session.told, session.prompt) == ([Text("user", "hello")], "Be kind.")

    events_of(ScriptedRealtime(), use)


def test_only_a_model_with_overheard_texts_transcribes() -> None:
    async def main() -> CallerText:
        deaf = await ScriptedRealtime().connect(prompt="", tools=(), format=MULAW_8K)
        assert not isinstance(deaf, Transcribing)
        model = ScriptedRealtime(overheard=["hello"])
        session = await model.connect(prompt="", tools=(), format=MULAW_8K)
        assert isinstance(session, Transcribing)
        return await session.transcribe([SECOND, SECOND])

    assert run_virtual(main()) == CallerText("hello", seconds=2.0)
