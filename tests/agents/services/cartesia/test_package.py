"""What Cartesia's own package sends and understands, against the same server."""

from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedOK

from audiocodecs import AudioFormat
from mediaserver.agents.services import CallerFinished, WordsComplete
from mediaserver.agents.services.cartesia.ink import CartesiaRecognizer, InkTurnsRecognizer
from mediaserver.agents.services.cartesia.voice import CartesiaVoice
from mediaserver.testing.cartesia import CartesiaServer
from mediaserver.testing.ink import InkServer
from mediaserver.testing.services import Timing
from tests.agents.services.hearing import hear, until
from tests.agents.services.hearing import spoken as said
from tests.agents.services.voices import heard, spoken


cartesia: Any = pytest.importorskip("cartesia")

pytestmark = pytest.mark.asyncio

MULAW = AudioFormat("mulaw", 8000)
FORMAT = {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000}
ALIKE = {"model_id": "sonic-3", "voice": {"mode": "id", "id": "anna"}, "add_timestamps": True}


def client(server: CartesiaServer | InkServer) -> Any:
    return cartesia.AsyncCartesia(api_key=server.api_key, websocket_base_url=server.base_url)


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


async def test_recognition_is_asked_for_as_the_package_asks() -> None:
    async with InkServer("I want a table.", "I want a table.").running() as server:
        own = CartesiaRecognizer(
            language="en",
            keyterms=["New Delhi", "Plivo"],
            base_url=server.base_url,
            api_key=server.api_key,
        )
        session = await own.listen(MULAW)
        await hear(session, said(4, 0.5))
        await session.finish()
        ours = await until(session.events(), WordsComplete)
        await session.close()
        package = client(server)
        async with package.stt.manual_finalize.websocket(
            model="ink-2",
            language="en",
            keyterm=["New Delhi", "Plivo"],
            encoding="pcm_mulaw",
            sample_rate=8000,
        ) as theirs:
            for frame in said(4, 0.5):
                await theirs.send_raw(frame.payload)
            await theirs.send("finalize")
            events = [await theirs.recv()]
            while events[-1].type != "flush_done":
                events.append(await theirs.recv())
            await theirs.send("close")
            assert (await theirs.recv()).type == "done"
        await package.close()
        assert server.queries[0] == server.queries[1]
        assert server.received == [{"type": "finalize"}, {"type": "close"}] * 2
        assert not any(event.model_extra for event in events)
        final = "".join(event.text for event in events[:-1] if event.is_final)
        assert final == getattr(ours[-2], "text", None) == "I want a table."
        assert server.refusals == []


async def test_turns_are_asked_for_as_the_package_asks() -> None:
    async with InkServer("I want a table.", "I want a table.").running() as server:
        own = InkTurnsRecognizer(
            end_threshold=0.25,
            end_timeout=2.5,
            keyterms=["New Delhi", "Plivo"],
            base_url=server.base_url,
            api_key=server.api_key,
        )
        session = await own.listen(MULAW)
        await hear(session, said(4, 1.0))
        ours = await until(session.events(), CallerFinished)
        await session.close()
        package = client(server)
        async with package.stt.auto_finalize.websocket(
            model="ink-2",
            turn_end_threshold=0.25,
            turn_end_timeout_ms=2500,
            keyterm=["New Delhi", "Plivo"],
            encoding="pcm_mulaw",
            sample_rate=8000,
        ) as theirs:
            for frame in said(4, 1.0):
                await theirs.send_raw(frame.payload)
            events = [await theirs.recv()]
            while events[-1].type != "turn.end":
                events.append(await theirs.recv())
            await theirs.send({"type": "close"})
            with pytest.raises(ConnectionClosedOK):
                await theirs.recv()
        await package.close()
        assert server.queries[0] == server.queries[1]
        assert server.received == [{"type": "close"}] * 2
        assert not any(event.model_extra for event in events)
        assert events[-1].transcript == getattr(ours[-2], "text", None) == "I want a table."
        assert {"turn.start", "turn.update", "turn.eager_end"} <= {event.type for event in events}
        assert server.refusals == []


def event_words(event: Any) -> list[str]:
    return list(event.word_timestamps.words)
