"""What Sarvam's own package sends to the local servers, and understands of their answers."""

import asyncio
import warnings
from base64 import b64encode
from collections.abc import AsyncIterator
from itertools import groupby
from typing import Any

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import RecognizedWords, WordsComplete
from mediaserver.agents.services.sarvam.recognizer import SarvamRecognizer
from mediaserver.agents.services.sarvam.voice import SarvamVoice
from mediaserver.testing.sarvam import BulbulServer, SaarasServer
from tests.agents.services.hearing import hear, spoken, until
from tests.agents.services.voices import heard
from tests.agents.services.voices import spoken as said


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports what websockets calls legacy
    sarvamai = pytest.importorskip("sarvamai")
    environment = pytest.importorskip("sarvamai.environment")
    types = pytest.importorskip("sarvamai.types")

pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("ignore")]


def client(server: SaarasServer | BulbulServer) -> Any:
    address = dict.fromkeys(("base", "creative", "production"), server.base_url)
    return sarvamai.AsyncSarvamAI(
        api_subscription_key=server.api_key,
        environment=environment.SarvamAIEnvironment(**address),
    )


@pytest.fixture
async def ears() -> AsyncIterator[SaarasServer]:
    async with SaarasServer(
        "I want a table.", "I want a table.", final_after=0.0
    ).running() as server:
        yield server


async def received(socket: Any, kind: str) -> list[Any]:
    """Return the messages up to the first of a kind; each has only what the package's type has."""
    came: list[Any] = []
    async with asyncio.timeout(10):
        while not came or kind not in (came[-1].event, getattr(came[-1], "type", None)):
            came.append(await socket.recv())
            type(came[-1]).model_validate(came[-1].model_dump())
            assert not came[-1].model_extra
    return came


def sessions(server: SaarasServer) -> list[list[Any]]:
    """Return the messages of each session; audio in a row counts once, whatever it is."""
    silent = [{**m, "audio": "…"} if "audio" in m else m for m in server.received]
    told: list[list[Any]] = [[]]
    for message, _ in groupby(silent):
        told[-1].append(message)
        if message == {"event": "end"}:
            told.append([])
    return told[:-1]


async def test_recognition_is_asked_for_as_the_package_asks(ears: SaarasServer) -> None:
    own = SarvamRecognizer(
        "hi-IN",
        model="saaras:v4",
        mode="codemix",
        prompt="A hotel.",
        keyterms=["New Delhi", "Plivo"],
        base_url=ears.base_url,
        api_key=ears.api_key,
    )
    session = await own.listen(MULAW_8K)
    await hear(session, spoken(4, 0.5))
    await session.finish()
    ours = await until(session.events(), WordsComplete)
    await session.keep_alive()
    await session.keep_alive()
    await session.close()

    async with client(ears).speech_to_text_realtime_streaming.connect(
        language_code="hi-IN",
        model="saaras:v4",
        mode="codemix",
        stream_type="fast",
        prompt="A hotel.",
        keyterms='["New Delhi","Plivo"]',
        endpointing="manual",
        encoding="mulaw",
        sample_rate="8000",
    ) as theirs:
        began = await received(theirs, "session.begin")
        await theirs.send_realtime_speech_start(types.RealtimeSpeechStart())
        for frame in spoken(4, 0.5):
            audio = b64encode(frame.payload).decode()
            await theirs.send_realtime_audio_input(types.RealtimeAudioInput(audio=audio))
        await theirs.send_realtime_speech_end(types.RealtimeSpeechEnd())
        came = await received(theirs, "transcript.final")
        await theirs.send_realtime_ping(types.RealtimePing())
        await received(theirs, "pong")
        await theirs.send_realtime_end(types.RealtimeEnd())
        await received(theirs, "session.end")

    mine, packages = ears.sessions
    assert began[-1].config.turn_detection == "manual"
    assert mine.query == packages.query
    assert mine.seconds == packages.seconds
    sent, asked = sessions(ears)
    assert sent == asked
    final = ours[-2]
    assert isinstance(final, RecognizedWords)
    assert came[-1].text == final.text == "I want a table."
    assert ears.refusals == []


async def test_a_voice_is_asked_as_the_package_asks() -> None:
    async with BulbulServer() as server:
        own = SarvamVoice(
            "hi-IN",
            speaker="ritu",
            pace=1.1,
            temperature=0.4,
            base_url=server.base_url,
            api_key=server.api_key,
        )
        session = await own.connect(MULAW_8K)
        seconds, _ = await heard((await said(session, "Good morning.")).speech())
        await session.keep_alive()
        await session.keep_alive()
        await session.close()

        async with client(server).text_to_speech_streaming.connect(
            model="bulbul:v3", send_completion_event="true"
        ) as theirs:
            # Its `configure` has no model and no temperature; the types of its messages have.
            config = types.ConfigureConnectionData(
                model="bulbul:v3",
                language_code="hi-IN",
                speaker="ritu",
                pace=1.1,
                temperature=0.4,
                speech_sample_rate=8000,
                output_audio_codec="mulaw",
            )
            await theirs._send_model(types.ConfigureConnection(data=config))  # noqa: SLF001
            await theirs.convert("Good morning.")
            await theirs.flush()
            came = [await theirs.recv()]
            while came[-1].type != "event":
                came.append(await theirs.recv())
            await theirs.ping()

        mine, packages = server.sessions
        assert mine.query == packages.query
        assert mine.received == packages.received
        assert sum(len(each.data.audio) for each in came[:-1]) * 3 // 4 == seconds * 8000
        assert not any(each.model_extra or each.data.model_extra for each in came)
        assert came[-1].data.event_type == "final"
        assert server.refused == []


async def test_what_the_package_configures_by_default_is_taken() -> None:
    async with (
        BulbulServer() as server,
        client(server).text_to_speech_streaming.connect(model="bulbul:v2") as theirs,
    ):
        await theirs.configure("hi-IN", output_audio_codec="mulaw", speech_sample_rate=8000)
        await theirs.convert("Good.")
        await theirs.flush()
        assert (await theirs.recv()).type == "audio"
        assert server.refused == []
