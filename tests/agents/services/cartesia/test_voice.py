from typing import Any

import pytest

from audiocodecs import AudioFormat
from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.cartesia.voice import CartesiaVoice
from mediaserver.testing import in_virtual_time
from mediaserver.testing.cartesia import CartesiaServer
from tests.agents.services.voices import heard, spoken


MULAW = AudioFormat("mulaw", 8000)


def voice(server: CartesiaServer, **settings: Any) -> CartesiaVoice:
    return CartesiaVoice("anna", api_key="key", base_url=server.base_url, **settings)


@pytest.mark.parametrize(
    ("format", "encoding", "rate"),
    [
        (MULAW, "pcm_mulaw", 8000),
        (AudioFormat("alaw", 8000), "pcm_alaw", 8000),
        (AudioFormat("l16", 8000), "pcm_s16le", 8000),
        (AudioFormat("l16", 16000), "pcm_s16le", 16000),
        (AudioFormat("l16", 32000), "pcm_s16le", 24000),
    ],
)
@in_virtual_time
async def test_the_formats_of_telephones_are_asked_for_as_they_are(
    format: AudioFormat, encoding: str, rate: int
) -> None:
    async with CartesiaServer() as server:
        session = await voice(server).connect(format)
        await heard((await spoken(session, "Yes.")).speech())
        await session.close()
        assert server.sessions[0].received[0]["output_format"] == {
            "container": "raw",
            "encoding": encoding,
            "sample_rate": rate,
        }


@in_virtual_time
async def test_the_settings_reach_the_service() -> None:
    async with CartesiaServer() as server:
        session = await voice(
            server,
            model="sonic-3.5",
            language="en-GB",
            speed=1.1,
            volume=1.5,
            emotion="calm",
            pronunciation_dict_id="names",
            max_buffer_delay_ms=200,
        ).connect(MULAW)
        await heard((await spoken(session, "Yes.")).speech())
        await session.close()
        (served,) = server.sessions
        assert served.headers["cartesia-version"] == "2026-03-01"
        assert served.received[0] == {
            "model_id": "sonic-3.5",
            "voice": {"mode": "id", "id": "anna"},
            "output_format": {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000},
            "add_timestamps": True,
            "language": "en-GB",
            "generation_config": {"speed": 1.1, "volume": 1.5, "emotion": "calm"},
            "pronunciation_dict_id": "names",
            "max_buffer_delay_ms": 200,
            "context_id": "text-1",
            "transcript": "Yes.",
            "continue": True,
        }


@pytest.mark.parametrize(("setting", "value"), [("volume", 0.1), ("max_buffer_delay_ms", 5001)])
def test_a_setting_that_cartesia_does_not_take_is_refused(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=setting):
        CartesiaVoice("anna", **{setting: value})


@in_virtual_time
async def test_text_without_a_flush_is_spoken_when_the_delay_is_over() -> None:
    async with CartesiaServer() as server:
        session = await voice(server, max_buffer_delay_ms=200).connect(MULAW)
        context = session.begin()
        await context.say("One moment.")
        assert await anext(context.speech())
        await session.close()


@in_virtual_time
async def test_a_refused_text_fails_alone_and_says_why() -> None:
    async with CartesiaServer() as server:
        session = await voice(server).connect(MULAW)
        await session.send(
            ['{"type": "unknown", "context_id": "text-1", "misspelt": true, "transcript": "x"}']
        )
        context = await spoken(session, "Yes.")
        with pytest.raises(ServiceError, match="Invalid request: invalid message") as refused:
            await heard(context.speech())
        assert refused.value.status == 400
        await session.close()


def test_a_session_is_replaced_before_cartesia_ends_an_idle_connection() -> None:
    messages = CartesiaVoice("anna").request(MULAW, "key").protocol
    assert messages.expires_after is not None
    assert messages.expires_after < 300
