"""What Deepgram's own package sends to the local server, and what it understands of its answers."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import CallerFinished, WordsComplete
from mediaserver.agents.services.deepgram.aura import DeepgramVoice
from mediaserver.agents.services.deepgram.flux import FluxRecognizer
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.testing.deepgram import DeepgramServer
from tests.agents.services.hearing import hear, spoken, until


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports what websockets calls legacy
    speak = pytest.importorskip("deepgram.speak.v1.types")
    deepgram = pytest.importorskip("deepgram")
    environment = pytest.importorskip("deepgram.environment")

pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
async def server() -> AsyncIterator[DeepgramServer]:
    async with DeepgramServer("I want a table.", "I want a table.").running() as server:
        yield server


@pytest.fixture
def client(server: DeepgramServer) -> Any:
    address = dict.fromkeys(("base", "production", "agent", "agent_rest"), server.base_url)
    return deepgram.AsyncDeepgramClient(
        api_key=server.api_key, environment=environment.DeepgramClientEnvironment(**address)
    )


def connection(server: DeepgramServer) -> dict[str, Any]:
    return {"base_url": server.base_url, "api_key": server.api_key}


async def received(client: Any, kind: str, key: str = "type") -> list[Any]:
    """Return the messages up to the first of a type; each has what the package's type demands."""
    came: list[Any] = []
    async with asyncio.timeout(10):
        while not came or getattr(came[-1], key, None) != kind:
            message = await client.recv()
            came.append(message)
            if not isinstance(message, bytes):
                type(message).model_validate(message.model_dump())
    return came


def types(server: DeepgramServer) -> list[dict[str, Any]]:
    return [m for m in server.received if m["type"] != "KeepAlive"]


async def test_nova_is_asked_as_the_package_asks(server: DeepgramServer, client: Any) -> None:
    ears = DeepgramRecognizer(language="en-US", keyterms=["a b", "c"], **connection(server))
    session = await ears.listen(MULAW_8K)
    await hear(session, spoken(4, 0.5))
    await session.finish()
    ours = await until(session.events(), WordsComplete)
    await session.close()
    sent = [{**m, "channel": None} if m["type"] == "Finalize" else m for m in types(server)]
    server.received.clear()
    async with client.listen.v1.connect(
        model="nova-3",
        language="en-US",
        keyterm=["a b", "c"],
        smart_format="true",
        interim_results="true",
        endpointing="false",
        encoding="mulaw",
        sample_rate="8000",
    ) as theirs:
        for frame in spoken(4, 0.5):
            await theirs.send_media(frame.payload)
        await theirs.send_finalize()
        results = await received(theirs, True, "from_finalize")  # type: ignore[arg-type]
        await theirs.send_close_stream()
        await theirs._websocket.wait_closed()
    assert server.queries[0] == server.queries[1]
    assert types(server) == sent
    assert results[-1].channel.alternatives[0].transcript == "I want a table."
    assert getattr(ours[-2], "text", None) == "I want a table."
    assert server.refusals == []


async def test_flux_is_asked_as_the_package_asks(server: DeepgramServer, client: Any) -> None:
    ears = FluxRecognizer(
        eot_threshold=0.8,
        eager_eot_threshold=0.5,
        eot_timeout=3,
        keyterms=["a b", "c"],
        **connection(server),
    )
    session = await ears.listen(MULAW_8K)
    await hear(session, spoken(4, 1.0))
    await session.finish()
    await until(session.events(), CallerFinished)
    await session.close()
    sent = types(server)
    server.received.clear()
    async with client.listen.v2.connect(
        model="flux-general-en",
        eot_threshold="0.8",
        eager_eot_threshold="0.5",
        eot_timeout_ms="3000",
        keyterm=["a b", "c"],
        encoding="mulaw",
        sample_rate="8000",
    ) as theirs:
        for frame in spoken(4, 1.0):
            await theirs.send_media(frame.payload)
        await theirs.send_force_end_turn()
        turns = await received(theirs, "EndOfTurn", "event")
        await theirs.send_close_stream()
        await theirs._websocket.wait_closed()
    assert server.queries[0] == server.queries[1]
    assert types(server) == sent
    assert turns[-1].transcript == "I want a table."
    assert server.refusals == []


async def test_aura_is_asked_as_the_package_asks(server: DeepgramServer, client: Any) -> None:
    session = await DeepgramVoice(speed=0.9, **connection(server)).connect(MULAW_8K)
    context = session.begin()
    await context.say("Good morning.")
    await context.end()
    ours = b"".join([frame.payload async for frame in context.speech()])
    await session.close()
    sent = types(server)
    server.received.clear()
    async with client.speak.v1.connect(
        model="aura-2-thalia-en", speed="0.9", encoding="mulaw", sample_rate="8000"
    ) as theirs:
        await theirs.send_text(speak.SpeakV1Text(text="Good morning."))
        await theirs.send_flush()
        came = await received(theirs, "Flushed")
        await theirs.send_close()
        await theirs._websocket.wait_closed()
    assert server.queries[0] == server.queries[1]
    assert types(server) == sent
    assert b"".join(m for m in came if isinstance(m, bytes)) == ours
    assert server.refusals == []
