import asyncio
import importlib
import sys
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.agents.services import Prewarmed, ServiceError, TextToSpeech, WordMark
from mediaserver.agents.services import espeak as service
from mediaserver.agents.services.espeak import EspeakSpeech
from mediaserver.call import Frame
from mediaserver.espeak import SpeechError, speak
from mediaserver.testing import run_virtual


TEXT = "Hello there, this is a sentence. Here is another one."


async def spoken(speech: EspeakSpeech, text: str = TEXT, format: AudioFormat = MULAW_8K) -> Any:
    return [item async for item in speech.speak(text, format)]


def frames(items: list[Frame | WordMark] | list[Frame]) -> list[Frame]:
    return [item for item in items if isinstance(item, Frame)]


def marks(items: list[Frame | WordMark]) -> Any:
    return [item for item in items if isinstance(item, WordMark)]


def test_it_is_a_text_to_speech_that_can_be_prewarmed() -> None:
    speech: TextToSpeech = EspeakSpeech()
    assert isinstance(speech, Prewarmed)
    asyncio.run(speech.prewarm())


@pytest.mark.parametrize("format", [MULAW_8K, L16_8K, L16_16K, L16_24K], ids=str)
async def test_speech_is_in_the_format_of_the_stream(format: AudioFormat) -> None:
    made = frames(await spoken(EspeakSpeech(), format=format))
    assert {frame.format for frame in made} == {format}
    assert {round(frame.seconds, 6) for frame in made[:-1]} == {0.2}
    seconds = sum(frame.seconds for frame in made)
    assert seconds == pytest.approx(speak(TEXT).seconds, abs=0.1)
    assert max(np.abs(frame.samples.astype(int)).max() for frame in made) > 5000


async def test_marks_go_on_in_text_and_time() -> None:
    items = await spoken(EspeakSpeech())
    places = [(mark.end, mark.seconds) for mark in marks(items)]
    assert places == sorted(places)
    assert places[-1][0] == len(TEXT)
    assert places[-1][1] <= sum(frame.seconds for frame in frames(items))


async def test_marks_come_with_the_audio_they_are_in() -> None:
    seconds = 0.0
    for item in await spoken(EspeakSpeech()):
        if isinstance(item, Frame):
            seconds += item.seconds
        else:
            assert item.seconds < seconds + 0.2 + 1e-9


async def test_a_pause_is_marked_at_both_ends() -> None:
    made = marks(await spoken(EspeakSpeech()))
    stop = TEXT.index(".") + 1
    ends = [mark.seconds for mark in made if mark.end == stop]
    begins = [mark.seconds for mark in made if mark.end == stop + 1]
    assert 0.2 < begins[0] - ends[0] < 0.6


async def test_what_is_said_again_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = EspeakSpeech()
    first = await spoken(speech)
    monkeypatch.setattr(service, "speak_marked", None)
    assert [a is b for a, b in zip(first, await spoken(speech), strict=True)] == [True] * len(first)


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = EspeakSpeech()
    monkeypatch.setattr(service, "CACHE_SECONDS", 5.0)
    first = await spoken(speech)
    await spoken(speech, TEXT + " And a third, which is longer.")
    again = await spoken(speech)
    assert again[0] is not first[0]
    assert speech._kept_seconds <= 5.0


async def test_the_same_at_the_same_time_is_kept_once() -> None:
    speech = EspeakSpeech()
    await asyncio.gather(spoken(speech), spoken(speech))
    kept = sum(frame.seconds for frame in frames(await spoken(speech)))
    assert speech._kept_seconds == pytest.approx(kept)


async def test_voices_differ() -> None:
    slow, fast = EspeakSpeech(words_per_minute=120), EspeakSpeech("en-us+f3", 240, pitch=70)
    assert len(frames(await spoken(slow))) > 1.5 * len(frames(await spoken(fast)))


def test_it_speaks_in_virtual_time() -> None:
    assert len(frames(run_virtual(spoken(EspeakSpeech())))) > 5


async def test_nothing_to_say_is_next_to_nothing_to_hear() -> None:
    assert sum(frame.seconds for frame in frames(await spoken(EspeakSpeech(), ""))) < 0.1


async def test_what_cannot_be_said_is_a_service_error() -> None:
    with pytest.raises(ServiceError, match="espeak: a text with a NUL character") as error:
        await spoken(EspeakSpeech(), "one\0two")
    assert error.value.service == "espeak"
    # It goes into logs.
    assert "one" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"voice": "klingon"}, SpeechError),
        ({"words_per_minute": 10}, ValueError),
        ({"pitch": 101}, ValueError),
    ],
)
def test_a_voice_there_is_none_of_is_refused_when_it_is_made(
    options: dict[str, int] | dict[str, str], error: type[SpeechError] | type[ValueError]
) -> None:
    with pytest.raises(error, match=str(next(iter(options.values())))):
        EspeakSpeech(**options)


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "mediaserver.espeak")
    monkeypatch.delitem(sys.modules, "mediaserver.agents.services.espeak")
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ImportError, match=r"needs espeakng_loader.*\.\[offline\]"):
        importlib.import_module("mediaserver.agents.services.espeak")
