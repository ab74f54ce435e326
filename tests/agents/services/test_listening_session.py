import asyncio
from collections.abc import Iterator
from typing import cast

import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    RecognizedWords,
    RecognizerEvent,
    ServiceError,
    WordsComplete,
)
from mediaserver.agents.services.listening_session import ListeningSession
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.call import Frame
from mediaserver.testing import in_virtual_time


class Wire:
    """A connection on which a test says what comes."""

    def __init__(self) -> None:
        self.sent: list[bytes | str] = []
        self.open = True
        self.comes: asyncio.Queue[str | ServiceError] = asyncio.Queue()

    async def send(self, message: bytes | str) -> None:
        self.sent.append(message)

    async def receive(self) -> str:
        message = await self.comes.get()
        if isinstance(message, ServiceError):
            raise message
        return message

    async def close(self) -> None:
        self.open = False
        self.comes.put_nowait(ServiceError("ears", "closed"))


class Ears(ListeningSession):
    """Its service sends the end of words in seconds; all of them answer `finish`."""

    finish_message = "finish"
    close_message = "bye"
    shortest = 0.05

    def understood(self, received: bytes | str) -> Iterator[RecognizerEvent]:
        end = float(received)
        yield RecognizedWords("yes", 0.0, end, final=True)
        yield from self.completed(end)


def ears(format: AudioFormat = MULAW_8K, wire: AudioFormat = MULAW_8K) -> tuple[Ears, Wire]:
    connection = Wire()
    return Ears("ears", cast(ServiceSocket, connection), format, wire), connection


async def hear(session: Ears, seconds: float, format: AudioFormat = MULAW_8K) -> None:
    frame = Frame(format.silence * round(format.rate / 50), format)
    for _ in range(round(seconds * 50)):
        await session.hear(frame)


@in_virtual_time
async def test_frames_are_sent_in_pieces_of_80_ms_and_the_rest_at_the_end() -> None:
    session, wire = ears()
    await hear(session, 0.22)
    assert [len(each) for each in wire.sent] == [640, 640]
    await session.finish()
    assert [len(each) for each in wire.sent] == [640, 640, 480, len("finish")]
    assert session.heard == pytest.approx(0.22)


@in_virtual_time
async def test_a_rest_that_is_too_short_for_a_message_waits_for_the_next_audio() -> None:
    session, wire = ears()
    await hear(session, 0.12)
    await session.finish()
    assert wire.sent[1:] == ["finish"]
    await hear(session, 0.04)
    assert [len(each) for each in wire.sent] == [640, len("finish"), 640]


@in_virtual_time
async def test_a_frame_that_is_too_long_for_a_message_is_sent_in_parts() -> None:
    session, wire = ears(L16_8K, L16_8K)
    await session.hear(Frame(bytes(2 * 8001), L16_8K))
    assert [len(each) for each in wire.sent] == [8000, 8002]


@pytest.mark.parametrize(
    ("format", "wire", "size"),
    [
        (AudioFormat("alaw", 8000), L16_8K, 1280),
        (AudioFormat("l16", 24000), L16_16K, 2560),
    ],
)
@in_virtual_time
async def test_what_the_service_does_not_take_is_converted(
    format: AudioFormat, wire: AudioFormat, size: int
) -> None:
    session, connection = ears(format, wire)
    await hear(session, 0.2, format)
    assert len(connection.sent[0]) == pytest.approx(size, abs=0.02 * wire.bytes_per_second)


@in_virtual_time
async def test_finish_is_answered_by_words_that_reach_it() -> None:
    session, wire = ears()
    events = session.events()
    await hear(session, 2.0)
    await session.finish()
    wire.comes.put_nowait("1.0")
    wire.comes.put_nowait("1.8")
    came = [await anext(events) for _ in range(3)]
    assert [type(each) for each in came] == [RecognizedWords, RecognizedWords, WordsComplete]
    assert cast(WordsComplete, came[-1]).through == pytest.approx(2.0)


@in_virtual_time
async def test_a_finish_that_is_not_answered_is_complete_after_a_while() -> None:
    session, _ = ears()
    waiting = asyncio.create_task(anext(session.events()))
    await asyncio.sleep(1)  # it is received from when `finish` is called
    await session.finish()
    before = asyncio.get_running_loop().time()
    assert isinstance(await waiting, WordsComplete)
    assert asyncio.get_running_loop().time() - before == pytest.approx(session.answers_within)


@in_virtual_time
async def test_the_events_end_when_the_session_is_closed() -> None:
    session, wire = ears()
    await session.close()
    await session.close()
    assert wire.sent == ["bye"]
    assert not wire.open
    assert [event async for event in session.events()] == []


@in_virtual_time
async def test_a_lost_connection_is_raised_by_the_events() -> None:
    session, wire = ears()
    wire.comes.put_nowait(ServiceError("ears", "lost"))
    with pytest.raises(ServiceError, match="lost"):
        await anext(session.events())


class Answering(Ears):
    unanswered_at_most = 1


@in_virtual_time
async def test_a_service_that_answers_nothing_any_more_has_stalled() -> None:
    connection = Wire()
    session = Answering("ears", cast(ServiceSocket, connection), MULAW_8K, MULAW_8K)
    events = session.events()
    for heard in (1.0, 0.1, 0.0):  # there is hardly anything to answer but once
        await hear(session, heard)
        await session.finish()
        assert isinstance(await anext(events), WordsComplete)
    connection.comes.put_nowait("0.1")
    await anext(events)
    for _ in range(2):
        waiting = asyncio.create_task(anext(events))
        await hear(session, 1.0)
        await session.finish()
        await asyncio.wait([waiting])
    with pytest.raises(ServiceError, match="no words when asked 2 times, and nothing else"):
        await waiting


class Talkative(Ears):
    silent_at_most = 2.0


def talkative() -> tuple[Talkative, Wire]:
    connection = Wire()
    return Talkative("ears", cast(ServiceSocket, connection), MULAW_8K, MULAW_8K), connection


async def hear_in_time(session: Ears, seconds: float) -> None:
    for _ in range(round(seconds * 5)):
        await hear(session, 0.2)
        await asyncio.sleep(0.2)


@in_virtual_time
async def test_a_service_that_says_nothing_of_what_it_is_given_has_stalled() -> None:
    session, wire = talkative()
    events = session.events()
    for _ in range(4):
        await hear_in_time(session, 1.8)
        wire.comes.put_nowait("1.0")
        await anext(events)
    waiting = asyncio.create_task(anext(events))
    await hear_in_time(session, 2.0)
    assert not waiting.done()
    await hear_in_time(session, 0.6)
    with pytest.raises(ServiceError, match="it has said nothing of 2 s of audio"):
        await waiting


@in_virtual_time
async def test_neither_audio_that_comes_at_once_nor_a_pause_of_it_is_a_stall() -> None:
    session, wire = talkative()
    waiting = asyncio.create_task(anext(session.events()))
    await hear(session, 30)
    await asyncio.sleep(1)
    await hear(session, 0.2)
    wire.comes.put_nowait("1.0")
    await waiting
    waiting = asyncio.create_task(anext(session.events()))
    await hear(session, 0.2)
    await asyncio.sleep(60)
    await hear(session, 0.2)
    await asyncio.sleep(1)
    assert not waiting.done()
    wire.comes.put_nowait("1.0")
    await waiting
