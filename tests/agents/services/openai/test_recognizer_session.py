import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    CallerFinished,
    CallerSpeaks,
    RecognizedWords,
    RecognizerEvent,
    SendsPieces,
    ServiceError,
    WordsComplete,
)
from mediaserver.agents.services.openai.recognizer import OpenAIRecognizer
from mediaserver.agents.services.openai.recognizer_session import OpenAIRecognizerSession
from mediaserver.testing.openai.realtime import OpenAITranscriptionServer
from mediaserver.testing.socket_server import SocketFault
from tests.agents.services.hearing import hear, spoken, until


VAD = {"type": "server_vad"}


def about(seconds: float, within: float = 1e-6) -> Any:
    return pytest.approx(seconds, abs=within)


@asynccontextmanager
async def listening(
    server: OpenAITranscriptionServer, *args: Any, format: AudioFormat = MULAW_8K, **settings: Any
) -> AsyncIterator[OpenAIRecognizerSession]:
    where = {"base_url": server.base_url, "api_key": server.api_key}
    async with server.running():
        where["base_url"] = server.base_url
        service = OpenAIRecognizer(*args, **{**where, **settings})
        session = await service.listen(format)
        try:
            yield session
        finally:
            await session.close()
            await service.close()


async def told(session: OpenAIRecognizerSession) -> list[RecognizerEvent]:
    return await until(session.events(), WordsComplete)


def texts(events: list[RecognizerEvent]) -> list[tuple[str, bool]]:
    return [(each.text, each.final) for each in events if isinstance(each, RecognizedWords)]


async def test_words_come_while_the_caller_speaks_and_are_final_when_asked_for() -> None:
    server = OpenAITranscriptionServer("I want a table.")
    async with listening(server) as session:
        events = session.events()
        await hear(session, spoken(4, 0.0))
        assert await anext(events) == RecognizedWords("I", 0.0, about(1.2))
        await hear(session, spoken(0, 0.3))
        await session.finish()
        rest = await until(events, WordsComplete)
    assert rest[-2:] == [
        RecognizedWords("I want a table.", 0.0, about(1.5), final=True, seconds=about(1.5)),
        WordsComplete(about(1.5)),
    ]
    assert texts(rest)[:2] == [("I want", False), ("I want a", False)]
    assert len(server.of_type("input_audio_buffer.append")) == 15
    assert server.refusals == []


async def test_an_l16_call_is_heard_at_24_khz() -> None:
    server = OpenAITranscriptionServer("Yes.")
    async with listening(server, format=L16_16K) as session:
        assert isinstance(session, SendsPieces)
        assert session.piece == 0.1
        await hear(session, spoken(1, 0.5, L16_16K))
        await session.finish()
        assert texts(await told(session))[-1] == ("Yes.", True)
    sent = sum(len(event["audio"]) for event in server.of_type("input_audio_buffer.append"))
    assert sent * 3 / 4 == about(0.8 * 48000, within=2000)


async def test_words_of_a_model_that_waits_for_the_turn_come_after_it() -> None:
    server = OpenAITranscriptionServer("I want a table.")
    async with listening(server, "gpt-4o-transcribe") as session:
        await hear(session, spoken(4, 0.3))
        await session.finish()
        events = await told(session)
    assert texts(events) == [
        ("I", False),
        ("I want", False),
        ("I want a", False),
        ("I want a table.", False),
        ("I want a table.", True),
    ]


async def test_finishing_without_audio_is_answered_without_the_api() -> None:
    server = OpenAITranscriptionServer()
    async with listening(server) as session:
        await session.finish()
        assert await told(session) == [WordsComplete(0.0)]
        reading = asyncio.create_task(told(session))
        await asyncio.sleep(1.0)
        await session.finish()
        assert await reading == [WordsComplete(0.0)]
    assert server.of_type("input_audio_buffer.commit") == []


async def test_audio_too_short_for_the_api_is_filled_up_with_silence() -> None:
    server = OpenAITranscriptionServer("Yes.")
    async with listening(server) as session:
        await hear(session, spoken(1, 0.0)[:2])
        await session.finish()
        (*_, answer) = await told(session)
        assert answer == WordsComplete(about(0.04))
    assert server.refusals == []


async def test_items_that_are_done_in_another_order_are_told_in_that_of_the_audio() -> None:
    server = OpenAITranscriptionServer("One two.", "Three four.", swaps=True)
    async with listening(server, "gpt-transcribe") as session:
        for _ in range(2):
            await hear(session, spoken(2, 0.3))
            await session.finish()
        events = session.events()
        first, second = await until(events, WordsComplete), await until(events, WordsComplete)
    assert texts(first)[-1] == ("One two.", True)
    assert texts(second)[-1] == ("Three four.", True)


async def test_words_that_cannot_be_had_are_an_error_of_that_answer_only() -> None:
    server = OpenAITranscriptionServer("One two.", "Three four.", failures=1)
    async with listening(server) as session:
        answers = []
        for _ in range(2):
            await hear(session, spoken(2, 0.3))
            await session.finish()
            answers.append((await told(session))[-1])
    failed, good = answers
    assert isinstance(failed, WordsComplete)
    assert failed.error is not None
    assert "Input transcription failed" in failed.error.reason
    assert good == WordsComplete(about(1.8))


async def test_the_api_says_when_the_caller_begins_and_has_finished() -> None:
    server = OpenAITranscriptionServer("I want a table.")
    async with listening(server, "gpt-transcribe", turn_detection=VAD) as session:
        await hear(session, spoken(0, 0.5) + spoken(4, 1.0))
        events = await until(session.events(), CallerFinished)
    assert events[0] == CallerSpeaks()
    final = events[-2]  # the agent may take the words of a turn for complete when it is over
    assert isinstance(final, RecognizedWords)
    assert (final.text, final.final) == ("I want a table.", True)
    assert final.start == about(0.5, within=0.05)
    assert final.end == about(2.2, within=0.1)
    assert server.of_type("input_audio_buffer.commit") == []


async def test_a_turn_of_the_api_whose_words_cannot_be_had_fails_the_session() -> None:
    server = OpenAITranscriptionServer("I want a table.", failures=1)
    async with listening(server, "gpt-transcribe", turn_detection=VAD) as session:
        await hear(session, spoken(4, 1.0))
        with pytest.raises(ServiceError, match="Input transcription failed"):
            await until(session.events(), CallerFinished)


async def test_a_turn_of_the_api_can_be_ended_before_it_is_sure() -> None:
    server = OpenAITranscriptionServer("I want a table.")
    async with listening(server, "gpt-transcribe", turn_detection=VAD) as session:
        events = session.events()
        await hear(session, spoken(4, 0.3))
        assert await anext(events) == CallerSpeaks()
        await session.finish()
        rest = await until(events, WordsComplete)
    assert texts(rest)[-1] == ("I want a table.", True)
    assert len(server.of_type("input_audio_buffer.commit")) == 1


async def test_a_commit_that_crosses_that_of_the_api_is_no_failure() -> None:
    server = OpenAITranscriptionServer("I want a table.")
    async with listening(server, "gpt-transcribe", turn_detection=VAD) as session:
        events = session.events()
        await hear(session, spoken(4, 0.3))
        assert await anext(events) == CallerSpeaks()
        await hear(session, spoken(0, 0.2))  # ends the turn, which is not known here yet
        await session.finish()
        rest = await until(events, WordsComplete)
    assert texts(rest)[-1] == ("I want a table.", True)
    assert [code for code, _ in server.refusals] == ["input_audio_buffer_commit_empty"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (SocketFault(then="disconnect", after=2), "the connection was lost"),
        (SocketFault(then="malformed", after=2), "a malformed event"),
        (SocketFault(then="expire", after=2), "maximum duration of 60 minutes"),
    ],
)
async def test_a_session_that_fails_is_told_by_its_events_alone(
    fault: SocketFault, reason: str
) -> None:
    server = OpenAITranscriptionServer("I want a table.", faults=[fault])
    async with listening(server) as session:
        await hear(session, spoken(4, 0.3))
        await session.finish()
        with pytest.raises(ServiceError, match=reason):
            await told(session)
        await hear(session, spoken(1, 0.1))
        await session.finish()


async def test_a_session_that_stalls_and_one_that_is_slow_are_waited_for() -> None:
    server = OpenAITranscriptionServer(
        "I want a table.", faults=[SocketFault(then="stall", after=2), SocketFault(delay=0.2)]
    )
    async with listening(server) as session:
        await hear(session, spoken(4, 0.3))
        await session.finish()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30.0):
                await told(session)
        await session.close()
        service = OpenAIRecognizer(base_url=server.base_url, api_key=server.api_key)
        other = await service.listen(MULAW_8K)
        await hear(other, spoken(4, 0.3))
        await other.finish()
        assert texts(await told(other))[-1] == ("I want a table.", True)
        await other.close()
        await service.close()


async def test_events_end_when_the_session_is_closed() -> None:
    server = OpenAITranscriptionServer()
    async with listening(server) as session:
        await session.close()
        await session.close()
        assert [event async for event in session.events()] == []
        await hear(session, spoken(1, 0.0))
        await session.finish()
