"""What ElevenLabs' own package calls the fields of this WebSocket. It has no client for it."""

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from audiocodecs import AudioFormat
from mediaserver.agents.services.elevenlabs.messages import ElevenLabsMessages
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.testing import in_virtual_time
from mediaserver.testing.elevenlabs import ElevenLabsServer
from tests.agents.services.voices import heard, spoken


elevenlabs: Any = pytest.importorskip("elevenlabs")

MULAW = AudioFormat("mulaw", 8000)


def wire(message: Any) -> dict[str, Any]:
    """Return a message of the package as it is sent."""
    return {name: value for name, value in message.dict().items() if value is not None}


def package_messages() -> list[dict[str, Any]]:
    settings = elevenlabs.RealtimeVoiceSettings(stability=0.4, speed=1.1)
    config = elevenlabs.GenerationConfig(chunk_length_schedule=[50.0])
    return [
        wire(
            elevenlabs.InitializeConnectionMulti(
                context_id="text-1", voice_settings=settings, generation_config=config
            )
        ),
        wire(elevenlabs.SendTextMulti(text="Good morning. ", context_id="text-1")),
        wire(elevenlabs.FlushContext(context_id="text-1", flush=True)),
        wire(elevenlabs.CloseContext(context_id="text-1", close_context=True)),
    ]


@in_virtual_time
async def test_our_messages_are_those_of_the_package() -> None:
    async with ElevenLabsServer() as server:
        voice = ElevenLabsVoice(
            "anna",
            api_key="key",
            base_url=server.base_url,
            stability=0.4,
            speed=1.1,
            chunk_length_schedule=[50.0],
        )
        session = await voice.connect(MULAW)
        await heard((await spoken(session, "Good morning. ")).speech())
        await session.close()
        assert server.sessions[0].received == package_messages()


@in_virtual_time
async def test_the_package_is_taken_by_the_server_and_reads_what_it_says() -> None:
    async with ElevenLabsServer() as server:
        url = f"{server.base_url}/v1/text-to-speech/anna/multi-stream-input"
        query = "output_format=ulaw_8000&sync_alignment=true"
        headers = {"xi-api-key": "key"}
        async with connect(f"{url}?{query}", additional_headers=headers) as client:
            for message in package_messages():
                await client.send(json.dumps(message))
            received = [json.loads(await client.recv()) for _ in range(3)]
        assert not server.refused
    *spoken_words, over = received
    for message in spoken_words:
        read = elevenlabs.AudioOutputMulti(**message)
        assert not set(read.model_extra) - {"isFinal"}
        assert not read.alignment.model_extra
        assert len(read.alignment.chars) == len(read.alignment.char_start_times_ms)
    final = elevenlabs.FinalOutputMulti(**over)
    assert (final.is_final, final.context_id, final.model_extra) == (True, "text-1", {})


def test_the_keepalive_is_the_package_s() -> None:
    (kept,) = ElevenLabsMessages({}, 60.0).keep_alive(["text-1"])
    assert json.loads(kept) == wire(elevenlabs.KeepContextAlive(context_id="text-1"))
