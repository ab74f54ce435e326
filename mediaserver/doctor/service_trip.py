"""One use of a service, from the connection to the last answer, with the time of each stage."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from audiocodecs import MULAW_8K, resample
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.language_model import LanguageModel, Text
from mediaserver.agents.services.prewarmed import Prewarmed
from mediaserver.agents.services.realtime import RealtimeModel, ResponseDone, Speech, SpokenText
from mediaserver.agents.services.recognizer import RecognizedWords, Recognizer, WordsComplete
from mediaserver.agents.services.speech_to_text import SpeechToText
from mediaserver.agents.services.text_to_speech import TextToSpeech, WordMark
from mediaserver.agents.services.voice import Voice
from mediaserver.call import Frame


SENTENCE: Final = "Good morning, this is a test of the line."
ANSWERED_WITHIN: Final = 30.0

_FRAME: Final = MULAW_8K.rate // 50
_ASKED: Final = "Answer with one word: hello."

SecondsClock: TypeAlias = Callable[[], float]


class TripStage(NamedTuple):
    """A stage of the use of a service.

    Attributes:
        name: what was waited for.
        seconds: how long it took, from what `after` names.
        after: what the time begins with.
        detail: what came, in words.

    """

    name: str
    seconds: float
    after: str
    detail: str = ""


def short_recording() -> tuple[list[Frame], bool]:
    """Return two or three seconds of mu-law at 8 kHz, and whether it is speech.

    It is `SENTENCE` if eSpeak NG is installed, and a tone otherwise.
    """
    try:
        from mediaserver.espeak import SpeechError, speak_marked
    except ImportError:
        return _tone(), False
    try:
        wav = speak_marked(SENTENCE).wav
    except SpeechError:
        return _tone(), False
    return _frames(MULAW_8K.encode(resample(wav.samples, wav.rate, MULAW_8K.rate))), True


async def service_trip(
    service: Any, recording: Sequence[Frame], clock: SecondsClock
) -> list[TripStage]:
    """Use a service once. Which kind it is, its methods tell.

    A service that can be prewarmed is, as agents do it before the first call: what a connection
    costs is a stage of its own then.

    Args:
        service: a `SpeechToText`, `Recognizer`, `LanguageModel`, `TextToSpeech`, `Voice` or
            `RealtimeModel`. It is closed at the end, if it can be.
        recording: what a recogniser hears, at the pace of a call.
        clock: seconds that only go forwards.

    Raises:
        ServiceError: the service failed, or was not done in `ANSWERED_WITHIN` seconds.
        TypeError: it is no service.

    """
    name = type(service).__name__
    if hasattr(service, "transcribe"):
        trip = _transcribe(service, recording, clock)
    elif hasattr(service, "listen"):
        trip = _listen(service, recording, clock)
    elif hasattr(service, "respond"):
        trip = _respond(service, clock)
    elif hasattr(service, "speak"):
        trip = _speak(service, clock)
    elif hasattr(service, "connect"):
        is_realtime = "prompt" in inspect.signature(service.connect).parameters
        trip = _converse(service, clock) if is_realtime else _voice(service, clock)
    else:
        raise TypeError(
            f"{name} is no service: it has none of the methods transcribe, listen, respond, speak"
            " and connect"
        )
    try:
        async with asyncio.timeout(ANSWERED_WITHIN):
            return [*await _prewarm(service, clock), *await trip]
    except TimeoutError as error:
        raise ServiceError(name, f"it was not done in {ANSWERED_WITHIN:g} seconds") from error
    finally:
        close = getattr(service, "close", None)
        if close is not None:
            await close()


async def _prewarm(service: Any, clock: SecondsClock) -> list[TripStage]:
    if not isinstance(service, Prewarmed):
        return []
    begun = clock()
    await service.prewarm()
    return [TripStage("prewarm", clock() - begun, "start")]


async def _transcribe(
    service: SpeechToText, recording: Sequence[Frame], clock: SecondsClock
) -> list[TripStage]:
    ended = clock()

    async def speech() -> AsyncIterator[Frame]:
        nonlocal ended
        for frame in recording:
            yield frame
            await asyncio.sleep(frame.seconds)
        ended = clock()

    text = ""
    async for transcript in service.transcribe(speech()):
        text = transcript.text
    return [TripStage("final words", clock() - ended, "end of audio", _quoted(text))]


async def _listen(
    service: Recognizer, recording: Sequence[Frame], clock: SecondsClock
) -> list[TripStage]:
    begun = clock()
    session = await service.listen(MULAW_8K)
    connected = ended = clock()

    async def hear() -> None:
        nonlocal ended
        for frame in recording:
            await session.hear(frame)
            await asyncio.sleep(frame.seconds)
        ended = clock()
        await session.finish()

    stages = [TripStage("connect", connected - begun, "begin")]
    words: list[str] = []
    hearing = asyncio.create_task(hear())
    try:
        async for event in session.events():
            if isinstance(event, RecognizedWords) and event.text:
                if len(stages) == 1:
                    stages.append(TripStage("first words", clock() - connected, "begin of audio"))
                if event.final:
                    words.append(event.text)
            elif isinstance(event, WordsComplete):
                if event.error is not None:
                    raise event.error
                text = _quoted(" ".join(words))
                stages.append(TripStage("final words", clock() - ended, "end of audio", text))
                return stages
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        await session.close()
    raise ServiceError(type(service).__name__, "the session ended before all words were told")


async def _respond(service: LanguageModel, clock: SecondsClock) -> list[TripStage]:
    begun = clock()
    stages: list[TripStage] = []
    text = ""
    async for item in service.respond([Text("user", _ASKED)], ()):
        if isinstance(item, str) and item:
            if not text:
                stages.append(TripStage("first text", clock() - begun, "begin"))
            text += item
    return [*stages, TripStage("whole answer", clock() - begun, "begin", _quoted(text))]


async def _speak(service: TextToSpeech, clock: SecondsClock) -> list[TripStage]:
    return await _heard(type(service).__name__, service.speak(SENTENCE, MULAW_8K), clock)


async def _voice(service: Voice, clock: SecondsClock) -> list[TripStage]:
    begun = clock()
    session = await service.connect(MULAW_8K)
    connected = TripStage("connect", clock() - begun, "begin")
    try:
        context = session.begin()
        await context.say(SENTENCE)
        await context.end()
        return [connected, *await _heard(type(service).__name__, context.speech(), clock)]
    finally:
        await session.close()


async def _heard(
    name: str, speech: AsyncIterator[Frame | WordMark], clock: SecondsClock
) -> list[TripStage]:
    begun = clock()
    stages: list[TripStage] = []
    seconds = 0.0
    async for item in speech:
        if isinstance(item, Frame) and item.payload:
            if not seconds:
                stages.append(TripStage("first audio", clock() - begun, "text"))
            seconds += item.seconds
    if not seconds:
        raise ServiceError(name, "it made no audio of a sentence")
    return [*stages, TripStage("whole audio", clock() - begun, "text", f"{seconds:.1f} s of audio")]


async def _converse(service: RealtimeModel, clock: SecondsClock) -> list[TripStage]:
    begun = clock()
    session = await service.connect(prompt="You test a telephone line.", tools=(), format=MULAW_8K)
    stages = [TripStage("connect", clock() - begun, "begin")]
    name = type(service).__name__
    text = ""
    try:
        asked = clock()
        await session.say("Say hello, and nothing else.")
        async for event in session.events():
            if isinstance(event, SpokenText):
                text += event.text
            elif isinstance(event, Speech) and len(stages) == 1:
                stages.append(TripStage("first audio", clock() - asked, "question"))
            elif isinstance(event, ResponseDone):
                if event.error is not None:
                    raise ServiceError(name, event.error)
                done = TripStage("whole answer", clock() - asked, "question", _quoted(text))
                return [*stages, done]
    finally:
        await session.close()
    raise ServiceError(name, "the session ended before the answer was complete")


def _quoted(text: str) -> str:
    return f'"{" ".join(text.split())}"' if text.strip() else "no words"


def _tone() -> list[Frame]:
    tone = 8000 * np.sin(np.arange(2 * MULAW_8K.rate) * 2 * np.pi * 300 / MULAW_8K.rate)
    return _frames(MULAW_8K.encode(tone.astype(np.int16)))


def _frames(payload: bytes) -> list[Frame]:
    starts = range(0, len(payload), _FRAME)
    return [Frame(payload[start : start + _FRAME], MULAW_8K) for start in starts]
