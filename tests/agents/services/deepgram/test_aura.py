import asyncio

import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import ServiceError, VoiceContext
from mediaserver.agents.services.deepgram.aura import DeepgramVoice
from mediaserver.call import Frame
from mediaserver.testing import in_virtual_time
from mediaserver.testing.deepgram import DeepgramFault, DeepgramServer
from mediaserver.testing.services import WORD_SECONDS as WORD
from tests.agents.services.voices import heard, spoken


def voice(server: DeepgramServer, **settings: object) -> DeepgramVoice:
    return DeepgramVoice(
        base_url=server.base_url,
        api_key=server.api_key,
        **settings,  # type: ignore[arg-type]
    )


async def seconds(context: VoiceContext) -> float:
    """Return the seconds of a text's audio."""
    async with asyncio.timeout(300):
        return (await heard(context.speech()))[0]


def kinds(server: DeepgramServer) -> list[str]:
    return [message["type"] for message in server.received]


@pytest.mark.parametrize("format", [MULAW_8K, L16_16K, AudioFormat("l16", 22050)])
@in_virtual_time
async def test_a_text_in_pieces_is_spoken_in_the_calls_format(format: AudioFormat) -> None:
    async with DeepgramServer(chunks=(801, 1, 333)).running() as server:
        session = await voice(server).connect(format)
        context = await spoken(session, "Good ", "morning", ". How are", " you?", " ")
        frames = [f async for f in context.speech() if isinstance(f, Frame)]
        await session.close()
    expected = format if format.rate != 22050 else AudioFormat("l16", 24000)
    assert {frame.format for frame in frames} == {expected}
    assert sum(frame.seconds for frame in frames) == pytest.approx(5 * WORD)
    for frame in frames:
        frame.samples  # noqa: B018  # whole samples, or this raises
    said = "".join(m["text"] for m in server.received if m["type"] == "Speak")
    assert said == "Good morning. How are you?"


@in_virtual_time
async def test_flush_has_what_there_is_spoken_before_the_text_is_complete() -> None:
    async with DeepgramServer().running() as server:
        session = await voice(server).connect(MULAW_8K)
        context = session.begin()
        await context.say("One moment")
        speech = context.speech()
        await context.flush()
        async with asyncio.timeout(5):
            assert await anext(speech)
        await context.say(" please")
        await context.end()
        rest = [f async for f in speech if isinstance(f, Frame)]
        await session.close()
    assert rest
    assert kinds(server) == ["Speak", "Flush", "Speak", "Flush", "Close"]


@in_virtual_time
async def test_the_next_text_waits_until_the_one_before_it_was_seconds() -> None:
    async with DeepgramServer().running() as server:
        session = await voice(server).connect(MULAW_8K)
        first = session.begin()
        await first.say("One two")
        second = await spoken(session, "three")
        await asyncio.sleep(1)
        assert kinds(server) == ["Speak"]
        await first.end()
        assert await seconds(first) == pytest.approx(2 * WORD)
        assert await seconds(second) == pytest.approx(WORD)
        await session.close()


@in_virtual_time
async def test_clearing_ends_the_speech_and_leaves_the_next_text_alone() -> None:
    async with DeepgramServer().running() as server:
        session = await voice(server).connect(MULAW_8K)
        first = session.begin()
        await first.say(" ".join(["word"] * 200) + ".")
        speech = first.speech()
        await anext(speech)
        second = await spoken(session, "Of course.")
        await first.clear()
        await first.clear()
        await first.say("more")
        await first.end()
        with pytest.raises(StopAsyncIteration):
            await anext(speech)
        assert await seconds(second) == pytest.approx(2 * WORD)
        await session.close()
    assert kinds(server) == ["Speak", "Clear", "Speak", "Flush", "Close"]


@in_virtual_time
async def test_a_clear_that_is_never_answered_loses_the_session_instead_of_silencing_it() -> None:
    fault = DeepgramFault(after=2, then="stall")
    async with DeepgramServer(faults=(fault,)).running() as server:
        session = await voice(server).connect(MULAW_8K)
        first = session.begin()
        await first.say(" ".join(["word"] * 200) + ".")
        await anext(first.speech())
        await first.clear()
        second = await spoken(session, "Of course.")
        with pytest.raises(ServiceError, match="did not answer a Clear within 2 s"):
            await seconds(second)
        with pytest.raises(ServiceError, match="did not answer a Clear"):
            await seconds(session.begin())
        await session.close()


@in_virtual_time
async def test_a_text_that_waits_can_be_cleared_as_well() -> None:
    async with DeepgramServer().running() as server:
        session = await voice(server).connect(MULAW_8K)
        first = session.begin()
        await first.say("One")
        second = await spoken(session, "two")
        await second.clear()
        await first.end()
        assert await seconds(first) == pytest.approx(WORD)
        assert await seconds(second) == 0
        await session.close()
    assert "Clear" not in kinds(server)


@in_virtual_time
async def test_no_text_is_no_speech_and_costs_no_message() -> None:
    async with DeepgramServer().running() as server:
        session = await voice(server).connect(MULAW_8K)
        assert await seconds(await spoken(session)) == 0
        assert await seconds(await spoken(session, " ", "\n")) == 0
        await session.close()
    assert kinds(server) == ["Close"]


@in_virtual_time
async def test_a_long_text_is_sent_in_parts_that_deepgram_takes() -> None:
    async with DeepgramServer().running() as server:
        session = await voice(server).connect(MULAW_8K)
        assert await seconds(await spoken(session, "word " * 450)) == pytest.approx(450 * WORD)
        await session.close()
    assert server.refusals == []
    assert kinds(server) == ["Speak", "Speak", "Flush", "Close"]


@in_virtual_time
async def test_deepgram_is_not_asked_to_flush_more_often_than_it_takes() -> None:
    async with DeepgramServer().running() as server:
        session = await voice(server).connect(MULAW_8K)
        context = session.begin()
        for _ in range(30):
            await context.say("word ")
            await context.flush()
        await context.end()
        assert await seconds(context) == pytest.approx(30 * WORD)
        await session.close()
    assert kinds(server).count("Flush") == 16


@in_virtual_time
async def test_a_flush_that_deepgram_refuses_is_an_error_and_no_endless_wait() -> None:
    async with DeepgramServer().running() as server:
        session = await voice(server).connect(MULAW_8K)
        for _ in range(20):
            await seconds(await spoken(session, "word"))
        refused = await spoken(session, "word")
        with pytest.raises(ServiceError, match=r"Too many Flush messages .*EXCESSIVE_FLUSH"):
            await seconds(refused)
        await session.close()


@in_virtual_time
async def test_closing_ends_speech_that_is_waited_for() -> None:
    fault = DeepgramFault(after=1, then="stall")
    async with DeepgramServer(faults=(fault,)).running() as server:
        session = await voice(server).connect(MULAW_8K)
        waiting = asyncio.ensure_future(seconds(await spoken(session, "Good morning.")))
        await asyncio.sleep(1)
        await session.close()
        await session.close()
        assert await waiting == 0


@in_virtual_time
async def test_every_setting_is_one_that_aura_has() -> None:
    async with DeepgramServer().running() as server:
        speaker = voice(server, model="aura-2-helena-en", speed=0.9, mip_opt_out=True)
        session = await speaker.connect(MULAW_8K)
        await session.close()
        await speaker.check()
    assert session.expires_after == 3600
    assert server.queries[0] == (
        "/v1/speak",
        {
            "model": ["aura-2-helena-en"],
            "speed": ["0.9"],
            "mip_opt_out": ["true"],
            "encoding": ["mulaw"],
            "sample_rate": ["8000"],
        },
    )


@pytest.mark.parametrize("settings", [{"model": ""}, {"speed": 2}, {"speed": True}])
def test_a_setting_that_aura_does_not_take_is_refused_at_once(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not"):
        DeepgramVoice(**settings)  # type: ignore[arg-type]
