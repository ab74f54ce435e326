import asyncio
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    CallerFinished,
    CallerGoesOn,
    CallerMayHaveFinished,
    CallerSpeaks,
    RecognizedWords,
    ServiceError,
    WordsComplete,
)
from mediaserver.call import Frame
from mediaserver.testing.recognizer import ToneRecognizer, ToneSession


WORDS = ["one", "two", "three", "four"]


def frames(audio: Any, format: AudioFormat = MULAW_8K) -> list[Frame]:
    payload = format.encode(audio)
    size = round(0.02 * format.bytes_per_second)
    return [Frame(payload[at : at + size], format) for at in range(0, len(payload), size)]


async def heard(recognizer: ToneRecognizer, *audio: Any, format: AudioFormat = MULAW_8K) -> Any:
    """Return a session that has heard some audio, and what it told."""
    session = await recognizer.listen(format)
    for piece in audio:
        for frame in frames(piece, format):
            await session.hear(frame)
    await session.finish()
    await asyncio.sleep(recognizer.delay)
    await session.close()
    return session, [event async for event in session.events()]


@pytest.mark.parametrize("format", [MULAW_8K, L16_16K])
async def test_it_understands_what_it_says(format: AudioFormat) -> None:
    recognizer = ToneRecognizer(WORDS)
    audio = recognizer.say("three one", format.rate)
    _, events = await heard(recognizer, np.zeros(format.rate, np.int16), audio, format=format)
    words = [event for event in events if isinstance(event, RecognizedWords)]
    assert [(each.text, each.final) for each in words] == [
        ("three", False),
        ("three one", False),
        ("three one", True),
    ]
    assert [(w.start, w.end) for w in words[-1].words] == [
        (pytest.approx(1.0, abs=0.021), pytest.approx(1.24, abs=0.021)),
        (pytest.approx(1.3, abs=0.021), pytest.approx(1.54, abs=0.021)),
    ]
    assert isinstance(events[-1], WordsComplete)


async def test_it_may_take_the_turns() -> None:
    recognizer = ToneRecognizer(WORDS, finished_after=0.8, may_after=0.4, final_after=None)
    quiet = [np.zeros(round(8000 * seconds), np.int16) for seconds in (0.5, 1.0)]
    _, events = await heard(
        recognizer, recognizer.say("one"), quiet[0], recognizer.say("two"), quiet[1]
    )
    signs = [type(event) for event in events if not isinstance(event, RecognizedWords)]
    assert signs == [
        CallerSpeaks,
        CallerMayHaveFinished,
        CallerGoesOn,
        CallerMayHaveFinished,
        CallerFinished,
        WordsComplete,
    ]


async def test_a_session_can_be_lost() -> None:
    session = await ToneRecognizer(WORDS).listen(MULAW_8K)
    session.lose()
    with pytest.raises(ServiceError, match="the connection was lost"):
        await anext(aiter(session.events()))


async def test_sessions_may_be_refused_and_are_counted() -> None:
    recognizer = ToneRecognizer(WORDS, refusals=[ServiceError("tones", "busy")])
    with pytest.raises(ServiceError, match="busy"):
        await recognizer.listen(MULAW_8K)
    session: ToneSession = await recognizer.listen(MULAW_8K)
    assert (recognizer.attempts, recognizer.session, recognizer.open) == (2, session, 1)
    await session.close()
    assert recognizer.open == 0


def test_there_are_tones_for_thirty_words() -> None:
    with pytest.raises(ValueError, match="not for 31"):
        ToneRecognizer(["word"] * 31)
