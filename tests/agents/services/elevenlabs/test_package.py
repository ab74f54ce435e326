"""What ElevenLabs' own package calls the fields of the voices' WebSocket, and sends to Scribe's.

It has no client for the former.
"""

import asyncio
import json
from base64 import b64encode
from itertools import groupby
from typing import Any

import pytest
from websockets.asyncio.client import connect

from audiocodecs import AudioFormat
from mediaserver.agents.services import WordsComplete
from mediaserver.agents.services.elevenlabs.messages import ElevenLabsMessages
from mediaserver.agents.services.elevenlabs.recognizer import ElevenLabsRecognizer
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.testing import in_virtual_time
from mediaserver.testing.elevenlabs import ElevenLabsServer
from mediaserver.testing.scribe import ScribeServer
from tests.agents.services.hearing import hear, until
from tests.agents.services.hearing import spoken as said
from tests.agents.services.voices import heard, spoken


elevenlabs: Any = pytest.importorskip("elevenlabs")
realtime: Any = pytest.importorskip("elevenlabs.realtime.scribe")

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


def chunks(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what messages with audio say beside it; each kind in a row once."""
    told = [{name: value for name, value in m.items() if "audio" not in name} for m in messages]
    return [message for message, _ in groupby(told)]


@in_virtual_time
async def test_scribe_is_asked_as_the_package_asks() -> None:
    async with ScribeServer("I want a table.", "I want a table.").running() as server:
        own = ElevenLabsRecognizer(
            language="en",
            keyterms=["New Delhi", "Plivo"],
            no_verbatim=True,
            base_url=server.base_url,
            api_key=server.api_key,
        )
        session = await own.listen(MULAW)
        await hear(session, said(4, 0.5))
        await session.finish()
        ours = await until(session.events(), WordsComplete)
        await session.close()
        sent = chunks(server.received)
        server.received.clear()

        theirs = await realtime.ScribeRealtime(server.api_key, server.base_url).connect(
            {
                "model_id": "scribe_v2_realtime",
                "audio_format": realtime.AudioFormat.ULAW_8000,
                "sample_rate": 8000,
                "commit_strategy": realtime.CommitStrategy.MANUAL,
                "language_code": "en",
                "keyterms": ["New Delhi", "Plivo"],
                "no_verbatim": True,
            }
        )
        committed: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        theirs.on("committed_transcript", committed.put_nowait)
        for frame in said(4, 0.5):
            await theirs.send({"audio_base_64": b64encode(frame.payload).decode()})
        await theirs.commit()
        final = await asyncio.wait_for(committed.get(), 10)
        await theirs.close()

        query, packages = server.queries
        # It says what is the default, too.
        assert packages.pop("include_timestamps") == ["false"]
        assert query == packages
        assert sent == chunks(server.received)
        read = elevenlabs.CommittedTranscriptPayload(**final)
        assert read.model_extra == {}
        assert read.text == getattr(ours[-2], "text", None) == "I want a table."
        assert server.refusals == []
