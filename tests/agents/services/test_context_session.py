"""Sessions with contexts, over each service that has them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from audiocodecs import AudioFormat
from mediaserver.agents.services import ServiceError, Voice, VoiceSession, WordMark
from mediaserver.agents.services.cartesia.voice import CartesiaVoice
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.agents.services.xai.voice import XAIVoice
from mediaserver.call import Frame
from mediaserver.testing import in_virtual_time
from mediaserver.testing.cartesia import CartesiaServer
from mediaserver.testing.elevenlabs import ElevenLabsServer
from mediaserver.testing.services import Timing, word_marks
from mediaserver.testing.voice_server import VoiceFault, VoiceServer
from mediaserver.testing.xai import XAIVoiceServer
from tests.agents.services.voices import heard, spoken


MULAW = AudioFormat("mulaw", 8000)
TEXT = "Good morning, how are you?"

every = pytest.mark.parametrize(
    ("served", "voice"),
    [
        (ElevenLabsServer, ElevenLabsVoice),
        (CartesiaServer, CartesiaVoice),
        (XAIVoiceServer, XAIVoice),
    ],
    ids=["elevenlabs", "cartesia", "xai"],
)


@asynccontextmanager
async def connected(
    served: type[VoiceServer],
    voice: Callable[..., Voice],
    format: AudioFormat = MULAW,
    *,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[VoiceServer, VoiceSession]]:
    async with served(**options) as server:
        made = voice("anna", api_key="key", base_url=server.base_url, **settings or {})
        session = await made.connect(format)
        try:
            yield server, session
        finally:
            await session.close()


@every
@pytest.mark.parametrize("format", [MULAW, AudioFormat("l16", 8000), AudioFormat("l16", 16000)])
@pytest.mark.parametrize("odd", [False, True])
@in_virtual_time
async def test_a_text_is_spoken_whole_with_the_time_of_each_word(
    served: Any, voice: Any, format: AudioFormat, odd: bool
) -> None:
    async with connected(served, voice, format, odd=odd) as (server, session):
        context = await spoken(session, "Good mor", "ning, how", " are you?")
        seconds, marks = await heard(context.speech())
        assert seconds == 1.5
        assert marks == [WordMark(each.end, round(each.seconds, 6)) for each in word_marks(TEXT)]
        assert not server.refused


@every
@in_virtual_time
async def test_frames_are_in_the_format_of_the_stream(served: Any, voice: Any) -> None:
    async with connected(served, voice) as (_, session):
        context = await spoken(session, "Yes.")
        pieces = [piece async for piece in context.speech()]
        assert {piece.format for piece in pieces if isinstance(piece, Frame)} == {MULAW}


@every
@in_virtual_time
async def test_a_word_that_the_service_says_otherwise_has_no_mark(served: Any, voice: Any) -> None:
    async with connected(served, voice, spoken_as={"$5,": "five-dollars"}) as (_, session):
        context = await spoken(session, "That is $5, Sir.")
        _, marks = await heard(context.speech())
        assert [mark.end for mark in marks] == [4, 7, 16]


@every
@in_virtual_time
async def test_a_flush_has_the_text_so_far_spoken_while_the_rest_is_written(
    served: Any, voice: Any
) -> None:
    async with connected(served, voice) as (_, session):
        context = session.begin()
        speech = context.speech()
        await context.say("One moment. ")
        await context.flush()
        async with asyncio.timeout(1):
            await anext(speech)
        await context.say("Here it is.")
        await context.end()
        seconds, marks = await heard(speech)
        assert marks[-1].end == len("One moment. Here it is.")
        assert seconds == pytest.approx(1.5, abs=0.31)


@every
@in_virtual_time
async def test_two_texts_at_a_time_do_not_mix(served: Any, voice: Any) -> None:
    async with connected(served, voice, timing=Timing(0.1, 0.1)) as (_, session):
        texts = [await spoken(session, "One two."), await spoken(session, "Three four five.")]
        both = await asyncio.gather(*(heard(text.speech()) for text in texts))
        assert [seconds for seconds, _ in both] == [0.6, 0.9]
        assert [marks[-1].end for _, marks in both] == [8, 16]


@every
@pytest.mark.parametrize("ended", [False, True])
@in_virtual_time
async def test_nothing_comes_of_a_cleared_text_and_the_next_is_spoken(
    served: Any, voice: Any, ended: bool
) -> None:
    async with connected(served, voice, timing=Timing(0.1, 0.2)) as (_, session):
        context = session.begin()
        await context.say(TEXT + " ")
        await (context.end() if ended else context.flush())
        speech = context.speech()
        await anext(speech)
        await context.clear()
        await context.clear()
        await context.say("more")
        await context.flush()
        await context.end()
        assert [piece async for piece in speech] == []
        following = await spoken(session, "Sorry.")
        assert (await heard(following.speech()))[0] == 0.3


@pytest.mark.parametrize("ended", [False, True])
@in_virtual_time
async def test_a_cleared_text_that_never_ends_at_the_service_loses_the_session(ended: bool) -> None:
    """As in ElevenLabs: a context takes a place until the service has said that it is done."""
    fault = VoiceFault("stall", after=1)
    async with connected(ElevenLabsServer, ElevenLabsVoice, fault=fault) as (_, session):
        context = session.begin()
        await context.say(TEXT + " ")
        await (context.end() if ended else context.flush())
        await anext(context.speech())
        await context.clear()
        waiting = session.begin()
        with pytest.raises(ServiceError, match="cancelled did not end within 5 s"):
            await heard(waiting.speech())


@in_virtual_time
async def test_a_cleared_text_may_end_late_as_long_as_audio_comes() -> None:
    timing = Timing(0.1, 2.0)
    async with connected(ElevenLabsServer, ElevenLabsVoice, timing=timing) as (_, session):
        context = await spoken(session, TEXT)
        await context.clear()
        await asyncio.sleep(30.0)
        assert (await heard((await spoken(session, "Yes.")).speech()))[0] == 0.3


@every
@in_virtual_time
async def test_an_empty_text_costs_nothing_and_ends(served: Any, voice: Any) -> None:
    async with connected(served, voice) as (server, session):
        context = await spoken(session, "", " ")
        await context.flush()
        assert await heard(context.speech()) == (0, [])
        assert server.sessions[0].received == []


@every
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("stall", "did not come, or stopped"),
        ("disconnect", "was lost"),
        ("malformed", "cannot be read"),
        ("limit", "closed the connection with 1008: the session is too long"),
    ],
)
@in_virtual_time
async def test_a_failure_is_raised_after_what_was_spoken(
    served: Any, voice: Any, kind: Any, reason: str
) -> None:
    async with connected(served, voice, fault=VoiceFault(kind, after=2)) as (_, session):
        context = await spoken(session, TEXT)
        speech = context.speech()
        before = [await anext(speech) for _ in range(4)]
        assert sum(isinstance(piece, Frame) for piece in before) == 2
        with pytest.raises(ServiceError, match=reason):
            await anext(speech)


@every
@in_virtual_time
async def test_a_lost_connection_fails_every_text_and_sending_raises_nothing(
    served: Any, voice: Any
) -> None:
    async with connected(served, voice, fault=VoiceFault("disconnect")) as (_, session):
        waiting = session.begin()
        first = await spoken(session, TEXT)
        with pytest.raises(ServiceError):
            await heard(first.speech())
        for late in (waiting, session.begin()):
            await late.say("Hello ")
            await late.flush()
            await late.end()
            with pytest.raises(ServiceError, match="lost"):
                await heard(late.speech())
            await late.clear()


@every
@in_virtual_time
async def test_a_slow_first_byte_is_waited_for_up_to_the_limit(served: Any, voice: Any) -> None:
    async with connected(served, voice, timing=Timing(4.9)) as (_, session):
        assert (await heard((await spoken(session, "Yes.")).speech()))[0] == 0.3
    async with connected(served, voice, timing=Timing(5.1)) as (_, session):
        with pytest.raises(ServiceError, match="did not come"):
            await heard((await spoken(session, "Yes.")).speech())


@every
@in_virtual_time
async def test_a_text_that_takes_a_while_to_write_is_not_given_up(served: Any, voice: Any) -> None:
    async with connected(served, voice) as (_, session):
        context = session.begin()
        await context.say("One moment. ")
        await context.flush()
        hearing = asyncio.create_task(heard(context.speech()))
        await asyncio.sleep(100)
        await context.say("Here it is.")
        await context.end()
        assert (await hearing)[0] == 1.5


@every
@in_virtual_time
async def test_closing_twice_is_nothing_and_ends_the_speech(served: Any, voice: Any) -> None:
    async with connected(served, voice, timing=Timing(1)) as (_, session):
        context = await spoken(session, TEXT)
        await session.close()
        await session.close()
        with pytest.raises(ServiceError, match="the session was closed"):
            await heard(context.speech())
