import asyncio
from typing import Any

import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import MisconfiguredServiceError, ServiceError, VoiceContext
from mediaserver.agents.services.sarvam.voice import SarvamVoice
from mediaserver.call import Frame
from mediaserver.testing import in_virtual_time
from mediaserver.testing.sarvam import BulbulServer
from mediaserver.testing.services import WORD_SECONDS, Timing
from mediaserver.testing.voice_server import VoiceFault
from tests.agents.services.voices import heard, spoken


def voice(server: BulbulServer, language: str = "hi-IN", **settings: Any) -> SarvamVoice:
    return SarvamVoice(language, base_url=server.base_url, api_key=server.api_key, **settings)


async def seconds(context: VoiceContext) -> float:
    """Return the seconds of a text's audio."""
    return (await heard(context.speech()))[0]


def kinds(server: BulbulServer, connection: int = 0) -> list[str]:
    return [message["type"] for message in server.sessions[connection].received]


@pytest.mark.parametrize(
    ("format", "codec", "rate"),
    [
        (MULAW_8K, "mulaw", 8000),
        (AudioFormat("alaw", 8000), "alaw", 8000),
        (L16_8K, "linear16", 8000),
        (L16_16K, "linear16", 16000),
        (AudioFormat("l16", 48000), "linear16", 24000),
    ],
)
@in_virtual_time
async def test_a_text_is_spoken_in_the_calls_format(
    format: AudioFormat, codec: str, rate: int
) -> None:
    async with BulbulServer(odd=True) as server:
        session = await voice(server).connect(format)
        context = await spoken(session, "Good ", "morning", ". How are", " you?")
        frames = [piece async for piece in context.speech() if isinstance(piece, Frame)]
        await session.close()
        assert sum(frame.seconds for frame in frames) == pytest.approx(5 * WORD_SECONDS)
        for frame in frames:
            frame.samples  # noqa: B018  # whole samples, or this raises
        assert server.sessions[0].received[0]["data"] == {
            "model": "bulbul:v3",
            "language_code": "hi-IN",
            "speaker": "shubh",
            "speech_sample_rate": rate,
            "output_audio_codec": codec,
        }
        assert kinds(server) == ["config", "text", "text", "text", "text", "flush"]
        assert server.refused == []


@in_virtual_time
async def test_the_settings_reach_the_service() -> None:
    async with BulbulServer() as server:
        later = voice(
            server,
            "or-IN",
            speaker="ritu",
            model="bulbul:v4-flash",
            pace=1.2,
            temperature=0.3,
            pronunciation_dict_id="names",
        )
        older = voice(
            server,
            speaker="anushka",
            model="bulbul:v2",
            pace=0.4,
            pitch=-0.5,
            loudness=2,
            enable_preprocessing=True,
        )
        for each in (later, older):
            session = await each.connect(MULAW_8K)
            assert await seconds(await spoken(session, "Yes.")) > 0
            await session.close()
        assert [session.query for session in server.sessions] == [
            {"model": "bulbul:v4-flash", "send_completion_event": "true"},
            {"model": "bulbul:v2", "send_completion_event": "true"},
        ]
        common = {"speech_sample_rate": 8000, "output_audio_codec": "mulaw"}
        assert [session.received[0]["data"] for session in server.sessions] == [
            {
                "model": "bulbul:v4-flash",
                "language_code": "od-IN",
                "speaker": "ritu",
                "pace": 1.2,
                "temperature": 0.3,
                "dict_id": "names",
                **common,
            },
            {
                "model": "bulbul:v2",
                "language_code": "hi-IN",
                "speaker": "anushka",
                "pace": 0.4,
                "pitch": -0.5,
                "loudness": 2,
                "enable_preprocessing": True,
                **common,
            },
        ]


@in_virtual_time
async def test_one_flush_is_under_way_at_a_time() -> None:
    async with BulbulServer(timing=Timing(0.1, 0.1)) as server:
        session = await voice(server).connect(MULAW_8K)
        context = session.begin()
        await context.say("One moment. ")
        await context.flush()
        await context.say("Here ")
        await context.flush()
        await context.say("it is.")
        await context.end()
        await asyncio.sleep(0.05)
        assert kinds(server) == ["config", "text", "flush"]
        assert await seconds(context) == pytest.approx(5 * WORD_SECONDS)
        await session.close()
        assert kinds(server) == ["config", "text", "flush", "text", "flush"]


@in_virtual_time
async def test_the_next_text_waits_until_the_one_before_it_was_spoken() -> None:
    async with BulbulServer() as server:
        session = await voice(server).connect(MULAW_8K)
        first = session.begin()
        await first.say("One two")
        second = await spoken(session, "three")
        await asyncio.sleep(1)
        assert kinds(server) == ["config", "text"]
        await first.end()
        assert await seconds(first) == pytest.approx(2 * WORD_SECONDS)
        assert await seconds(second) == pytest.approx(WORD_SECONDS)
        await session.close()
        assert len(server.sessions) == 1


@in_virtual_time
async def test_clearing_what_sarvam_speaks_replaces_the_connection() -> None:
    async with BulbulServer(timing=Timing(0.1, 0.1)) as server:
        session = await voice(server).connect(MULAW_8K)
        first = session.begin()
        await first.say("word " * 50)
        await first.flush()
        speech = first.speech()
        await anext(speech)
        second = await spoken(session, "Of course.")
        await first.clear()
        await first.clear()
        await first.say("more")
        with pytest.raises(StopAsyncIteration):
            await anext(speech)
        assert await seconds(second) == pytest.approx(2 * WORD_SECONDS)
        third = await spoken(session, "Yes.")
        assert await seconds(third) == pytest.approx(WORD_SECONDS)
        await session.close()
        assert [kinds(server, each) for each in range(2)] == [
            ["config", "text", "flush"],
            ["config", "text", "flush", "text", "flush"],
        ]


@in_virtual_time
async def test_clearing_what_sarvam_does_not_have_costs_no_connection() -> None:
    async with BulbulServer() as server:
        session = await voice(server).connect(MULAW_8K)
        first = session.begin()
        await first.say("One")
        second = await spoken(session, "two")
        await second.clear()
        await first.end()
        assert await seconds(first) == pytest.approx(WORD_SECONDS)
        assert await seconds(second) == 0
        await first.clear()
        await session.close()
        assert len(server.sessions) == 1


@in_virtual_time
async def test_a_connection_that_cannot_be_replaced_is_an_error_of_the_next_text() -> None:
    async with BulbulServer() as server:
        session = await voice(server).connect(MULAW_8K)
        first = session.begin()
        await first.say("One two three.")
        waiting = await spoken(session, "Of course.")
        server.refuse(429)
        await first.clear()
        for context in (waiting, session.begin()):
            with pytest.raises(ServiceError, match="429: refused by the test") as refused:
                await seconds(context)
            assert refused.value.status == 429
        await session.close()


@in_virtual_time
async def test_closing_while_a_connection_is_replaced_leaves_nothing() -> None:
    async with BulbulServer() as server:
        before = asyncio.all_tasks()
        session = await voice(server).connect(MULAW_8K)
        first = session.begin()
        await first.say("One two three.")
        await first.clear()
        await session.close()
        await session.close()
        await asyncio.sleep(0.1)
        assert {
            task for task in asyncio.all_tasks() - before if "sarvam" in task.get_name()
        } == set()


@in_virtual_time
async def test_a_long_text_is_sent_in_parts_that_sarvam_takes() -> None:
    async with BulbulServer(timing=Timing(0.0, 0.0)) as server:
        session = await voice(server).connect(MULAW_8K)
        assert await seconds(await spoken(session, "word " * 600)) > 599 * WORD_SECONDS
        await session.close()
        assert kinds(server) == ["config", "text", "text", "flush"]
        assert server.refused == []


@in_virtual_time
async def test_no_text_is_no_speech_and_costs_no_message() -> None:
    async with BulbulServer() as server:
        session = await voice(server).connect(MULAW_8K)
        assert await seconds(await spoken(session)) == 0
        assert await seconds(await spoken(session, " ", "\n")) == 0
        await session.close()
        assert kinds(server) == ["config"]


@in_virtual_time
async def test_a_connection_on_which_nothing_is_spoken_is_kept() -> None:
    async with BulbulServer() as server:
        session = await voice(server).connect(MULAW_8K)
        await asyncio.sleep(70)
        await session.close()
        assert kinds(server) == ["config", "ping", "ping", "ping"]


@in_virtual_time
async def test_closing_ends_speech_that_has_stalled() -> None:
    async with BulbulServer(fault=VoiceFault("stall")) as server:
        session = await voice(server).connect(MULAW_8K)
        waiting = asyncio.ensure_future(seconds(await spoken(session, "Good morning.")))
        await asyncio.sleep(1)
        await session.close()
        with pytest.raises(ServiceError, match="the session was closed"):
            await waiting


@in_virtual_time
async def test_a_speaker_of_another_model_is_refused_with_sarvams_reason() -> None:
    async with BulbulServer() as server:
        session = await voice(server, speaker="anushka").connect(MULAW_8K)
        with pytest.raises(ServiceError, match="'anushka' is not one of bulbul:v3") as refused:
            await seconds(await spoken(session, "Yes."))
        assert refused.value.status == 400
        await session.close()


@in_virtual_time
async def test_check_opens_a_connection_and_speaks_nothing() -> None:
    async with BulbulServer() as server:
        await voice(server).check()
        with pytest.raises(MisconfiguredServiceError, match="refused the connection with 403"):
            await SarvamVoice("hi-IN", base_url=server.base_url, api_key="wrong").check()
        assert kinds(server) == ["config"]


@pytest.mark.parametrize(
    "settings",
    [
        {"language": "auto"},
        {"speaker": ""},
        {"speaker": "Ritu"},
        {"model": "bulbul v3"},
        {"pace": 3},
        {"pace": 0.2, "model": "bulbul:v2"},
        {"temperature": 0},
        {"temperature": 0.5, "model": "bulbul:v2"},
        {"pronunciation_dict_id": "names", "model": "bulbul:v2"},
        {"pitch": 0.1},
        {"loudness": 1},
        {"enable_preprocessing": False},
        {"pitch": 1, "model": "bulbul:v2"},
        {"connect_timeout": -1},
    ],
)
def test_a_setting_that_sarvam_does_not_take_is_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not"):
        SarvamVoice(**{"language": "hi-IN", **settings})
