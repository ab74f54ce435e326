import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_16K, MULAW_8K
from mediaserver.agents.services import ServiceError, Text, Tokens, ToolCall, WordMark
from mediaserver.call import Frame
from mediaserver.testing import run_virtual
from mediaserver.testing.services import (
    Fault,
    TimedModel,
    TimedSpeech,
    TimedTranscription,
    Timing,
    tones,
    word_marks,
)


async def utterance(seconds: float) -> AsyncIterator[Any]:
    for _ in range(round(seconds / 0.02)):
        await asyncio.sleep(0.02)
        yield Frame(bytes(160), MULAW_8K)


def timed(pieces: AsyncIterator[Any], *, delay: float = 0.0) -> Any:
    """Return what came, and when."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        came = []
        async for piece in pieces:
            came.append((round(loop.time(), 3), piece))
            if delay:
                await asyncio.sleep(delay)
        return came

    return run_virtual(main())


def test_each_piece_has_a_deadline_of_its_own() -> None:
    model = TimedModel(["a b c"], timing=Timing(0.5, 0.1))
    came = timed(model.respond([], []))
    assert [time for time, _ in came] == [0.5, 0.6, 0.7, 0.8]
    assert [piece for _, piece in came[:3]] == ["a ", "b ", "c "]
    assert isinstance(came[3][1], Tokens)


def test_a_slow_reader_does_not_make_it_later() -> None:
    model = TimedModel(["a b c d e f"], timing=Timing(0.5, 0.1))
    came = timed(model.respond([], []), delay=0.15)
    # Never more than what the reader itself took.
    assert came[-1][0] == pytest.approx(0.5 + 6 * 0.15)


def test_a_model_answers_in_turn_and_remembers_what_it_was_asked() -> None:
    call = ToolCall("1", "look", "{}")
    model = TimedModel([["Wait.", call], "Done."])
    asked = [Text("user", "Look.")]
    assert [piece for _, piece in timed(model.respond(asked, []))][:2] == ["Wait. ", call]
    assert timed(model.respond(asked, []))[0][1] == "Done. "
    assert len(timed(model.respond(asked, []))) == 1
    assert model.conversations == [asked] * 3


def test_speech_is_a_tone_for_each_word() -> None:
    speech = TimedSpeech(timing=Timing(0.2, 0.01))
    came = timed(speech.speak("One two three.", MULAW_8K))
    frames = [piece for _, piece in came if isinstance(piece, Frame)]
    assert came[0][0] == 0.2
    assert sum(frame.seconds for frame in frames) == pytest.approx(0.9)
    assert b"".join(frame.payload for frame in frames) == MULAW_8K.encode(tones(3, 8000))


def test_marks_say_where_words_end() -> None:
    speech = TimedSpeech()
    marks = [p for _, p in timed(speech.speak("One two.", MULAW_8K)) if isinstance(p, WordMark)]
    assert marks == list(word_marks("One two.")) == [WordMark(3, 0.24), WordMark(8, 0.54)]
    silent = TimedSpeech(marks=False)
    came = timed(silent.speak("One two.", MULAW_8K))
    assert all(isinstance(piece, Frame) for _, piece in came)


def test_speech_may_have_a_format_of_its_own() -> None:
    speech = TimedSpeech(format=L16_16K, marks=False)
    ((_, frame), *_) = timed(speech.speak("One.", MULAW_8K))
    assert frame.format is L16_16K
    assert np.abs(frame.samples).max() > 7000


def test_transcripts_come_word_by_word_and_then_the_final_one() -> None:
    stt = TimedTranscription(["One two three"], timing=Timing(0.1), partial_every=0.2)
    came = timed(stt.transcribe(utterance(1.0)))
    assert [(time, transcript.text) for time, transcript in came] == [
        (0.2, "One"),
        (0.4, "One two"),
        (0.6, "One two three"),
        (1.1, "One two three"),
    ]
    assert [transcript.final for _, transcript in came] == [False, False, False, True]
    assert came[-1][1].seconds == pytest.approx(1.0)
    assert stt.heard == [pytest.approx(1.0)]


def test_a_function_may_say_what_was_heard() -> None:
    stt = TimedTranscription(lambda frames: f"{len(frames)} frames")
    assert timed(stt.transcribe(utterance(0.2)))[-1][1].text == "10 frames"


def test_a_fault_may_come_in_the_middle() -> None:
    async def speak(frames: list[Frame]) -> None:
        async for piece in speech.speak("One two three.", MULAW_8K):
            if isinstance(piece, Frame):
                frames += [piece]

    speech = TimedSpeech(fault=Fault(after=2, error=ServiceError("voice", "gone")))
    heard: list[Any] = []
    with pytest.raises(ServiceError, match="gone"):
        run_virtual(speak(heard))
    assert len(heard) == 2
    assert speech.open == 0


def test_a_stall_lasts_until_it_is_given_up() -> None:
    async def speak() -> None:
        async with asyncio.timeout(60):
            async for _ in speech.speak("One.", MULAW_8K):
                pass

    speech = TimedSpeech(fault=Fault())
    with pytest.raises(TimeoutError):
        run_virtual(speak())
    assert speech.open == 0


def test_a_fault_may_spoil_the_first_requests_only() -> None:
    model = TimedModel(["a", "b"], fault=Fault(error=ServiceError("brain", "busy"), uses=1))
    with pytest.raises(ServiceError):
        timed(model.respond([], []))
    assert timed(model.respond([], []))[0][1] == "b "


def test_a_timing_of_less_than_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Timing(-0.1)
