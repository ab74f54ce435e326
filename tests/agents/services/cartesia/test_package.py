"""What Cartesia's own package sends and understands, against the same server."""

from typing import Any

import pytest

from audiocodecs import AudioFormat
from mediaserver.agents.services.cartesia.voice import CartesiaVoice
from mediaserver.testing.cartesia import CartesiaServer
from mediaserver.testing.services import Timing
from tests.agents.services.voices import heard, spoken


cartesia: Any = pytest.importorskip("cartesia")

pytestmark = pytest.mark.asyncio

MULAW = AudioFormat("mulaw", 8000)
FORMAT = {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000}
ALIKE = {"model_id": "sonic-3", "voice": {"mode": "id", "id": "anna"}, "add_timestamps": True}


def client(server: CartesiaServer) -> Any:
    return cartesia.AsyncCartesia(api_key="key", websocket_base_url=server.base_url)


async def test_our_messages_and_our_key_are_those_of_the_package() -> None:
    async with CartesiaServer() as server:
        session = await CartesiaVoice("anna", api_key="key", base_url=server.base_url).connect(
            MULAW
        )
        await heard((await spoken(session, "Good morning. ")).speech())
        cut = session.begin()
        await cut.say("Never ")
        await cut.clear()
        await session.close()

        package = client(server)
        async with package.tts.websocket_connect() as connection:
            for name, text in (("text-1", "Good morning. "), ("text-2", "Never ")):
                request = {"context_id": name, "output_format": FORMAT, **ALIKE}
                await connection.send({**request, "transcript": text, "continue": True})
                if name == "text-1":
                    await connection.send({**request, "transcript": "", "continue": False})
                    while (await connection.recv()).type != "done":
                        pass
            await connection.send({"context_id": "text-2", "cancel": True})
            await connection.recv()
        await package.close()

        ours, theirs = server.sessions
        assert ours.received == theirs.received
        assert ours.headers["authorization"] == theirs.headers["authorization"]
        assert not server.refused


async def test_the_package_reads_what_the_server_says() -> None:
    async with CartesiaServer(timing=Timing(0.0, 0.001)) as server:
        package = client(server)
        async with package.tts.websocket_connect() as connection:
            context = connection.context(output_format=FORMAT, **ALIKE)
            await context.push("Good ")
            await context.push("morning.")
            await context.no_more_inputs()
            events = [event async for event in context.receive()]
        await package.close()
        audio = b"".join(event.audio for event in events if event.type == "chunk")
        assert len(audio) == 2 * 2400
        words = [
            word for event in events if event.type == "timestamps" for word in event_words(event)
        ]
        assert words == ["Good", "morning."]
        assert events[-1].type == "done"
        assert not any(event.model_extra for event in events)


def event_words(event: Any) -> list[str]:
    return list(event.word_timestamps.words)
