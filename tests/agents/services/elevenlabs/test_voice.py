import asyncio
from typing import Any

import pytest

from audiocodecs import AudioFormat
from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.testing import in_virtual_time
from mediaserver.testing.elevenlabs import ElevenLabsServer
from mediaserver.testing.services import Timing
from tests.agents.services.voices import heard, spoken


MULAW = AudioFormat("mulaw", 8000)


def voice(server: ElevenLabsServer, **settings: Any) -> ElevenLabsVoice:
    return ElevenLabsVoice("anna", api_key="key", base_url=server.base_url, **settings)


@pytest.mark.parametrize(
    ("format", "asked"),
    [
        (MULAW, "ulaw_8000"),
        (AudioFormat("alaw", 8000), "alaw_8000"),
        (AudioFormat("l16", 8000), "pcm_8000"),
        (AudioFormat("l16", 16000), "pcm_16000"),
        (AudioFormat("l16", 48000), "pcm_24000"),
    ],
)
def test_the_formats_of_telephones_are_asked_for_as_they_are(
    format: AudioFormat, asked: str
) -> None:
    request = ElevenLabsVoice("anna").request(format, "key")
    assert request.query["output_format"] == asked


@in_virtual_time
async def test_the_settings_reach_the_service() -> None:
    async with ElevenLabsServer() as server:
        session = await voice(
            server,
            model="eleven_turbo_v2_5",
            language="de",
            stability=0.4,
            use_speaker_boost=False,
            speed=1.1,
            chunk_length_schedule=[50, 100],
            auto_mode=True,
            text_normalization="off",
            seed=7,
            logging=False,
            inactivity_timeout=30,
        ).connect(MULAW)
        await heard((await spoken(session, "Ja.")).speech())
        await session.close()
        (served,) = server.sessions
        assert served.query == {
            "model_id": "eleven_turbo_v2_5",
            "language_code": "de",
            "output_format": "ulaw_8000",
            "sync_alignment": "true",
            "auto_mode": "true",
            "apply_text_normalization": "off",
            "seed": "7",
            "enable_logging": "false",
            "inactivity_timeout": "30",
        }
        assert served.received[0] == {
            "text": " ",
            "context_id": "text-1",
            "voice_settings": {"stability": 0.4, "use_speaker_boost": False, "speed": 1.1},
            "generation_config": {"chunk_length_schedule": [50, 100]},
        }


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("model", "eleven_v3"),
        ("stability", 1.5),
        ("chunk_length_schedule", [20]),
        ("text_normalization", "maybe"),
        ("seed", -1),
        ("inactivity_timeout", 181),
    ],
)
def test_a_setting_that_elevenlabs_does_not_take_is_refused(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=setting if setting != "model" else "eleven_v3"):
        ElevenLabsVoice("anna", **{setting: value})


@in_virtual_time
async def test_a_word_is_never_cut() -> None:
    async with ElevenLabsServer() as server:
        session = await voice(server).connect(MULAW)
        await heard((await spoken(session, "Good mor", "ning", ", Sir.", "")).speech())
        await session.close()
        texts = [message.get("text") for message in server.sessions[0].received]
        assert texts == [" ", "Good ", "morning, ", "Sir. ", None, None]


@in_virtual_time
async def test_a_silent_connection_and_an_open_context_are_kept_for_a_whole_call() -> None:
    async with ElevenLabsServer() as server:
        session = await voice(server, inactivity_timeout=20).connect(MULAW)
        context = session.begin()
        await context.say("One moment. ")
        await context.flush()
        hearing = asyncio.create_task(heard(context.speech()))
        await asyncio.sleep(100)
        await context.say("Here it is.")
        await context.end()
        assert (await hearing)[0] == 1.5
        await asyncio.sleep(20)
        await session.close()
        received = server.sessions[0].received
        assert {"text": "", "context_id": "text-1"} in received
        assert received[-1] == {"text": ""}
        assert not server.refused


@in_virtual_time
async def test_a_sixth_context_waits_until_one_of_five_has_ended() -> None:
    async with ElevenLabsServer(timing=Timing(0.2, 0.2)) as server:
        session = await voice(server).connect(MULAW)
        texts = [await spoken(session, "One two.") for _ in range(7)]
        heards = await asyncio.gather(*(heard(text.speech()) for text in texts))
        assert [seconds for seconds, _ in heards] == [0.6] * 7
        await session.close()
        assert not server.refused


@in_virtual_time
async def test_a_sixth_context_waits_as_long_as_something_comes_of_the_others() -> None:
    async with ElevenLabsServer(timing=Timing(0.2, 1.0)) as server:
        session = await voice(server).connect(MULAW)
        long = [await spoken(session, "one " * 8) for _ in range(5)]
        sixth = await spoken(session, "Yes.")
        assert (await heard(sixth.speech()))[0] == 0.3
        assert [(await heard(text.speech()))[0] for text in long] == [2.4] * 5
        await session.close()


@in_virtual_time
async def test_a_sixth_context_is_given_up_if_none_of_five_ends() -> None:
    async with ElevenLabsServer() as server:
        session = await voice(server).connect(MULAW)
        for _ in range(5):
            await session.begin().say("One two. ")
        sixth = await spoken(session, "One two.")
        with pytest.raises(ServiceError, match="5 contexts are open, and nothing came for 5 s"):
            await heard(sixth.speech())
        await session.close()


@in_virtual_time
async def test_a_text_goes_on_in_another_context_if_the_service_ended_the_first() -> None:
    async with ElevenLabsServer() as server:
        session = await voice(server).connect(MULAW)
        context = session.begin()
        await context.say("One moment. ")
        await context.flush()
        await asyncio.sleep(1)
        server.sessions[0].texts["text-1"].end()
        await asyncio.sleep(1)
        await context.say("Here it is.")
        await context.end()
        seconds, marks = await heard(context.speech())
        assert (seconds, marks[-1].end, marks[-1].seconds) == (1.5, 23, 1.44)
        await session.close()
