import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat, Samples, resample
from mediaserver.agents.services import Prewarmed, ServiceError, SpeechToText, Transcript
from mediaserver.agents.services.pocketsphinx import PocketSphinxTranscription
from mediaserver.call import Frame
from mediaserver.espeak import speak
from mediaserver.testing import run_virtual


PHRASES = (
    "Yes, please.",
    "No, thank you.",
    "I'd like a table for two.",
    "Tonight at seven o'clock.",
    "What are your opening hours?",
    "Cancel my reservation.",
)


@pytest.fixture(scope="module")
def recogniser() -> PocketSphinxTranscription:
    return PocketSphinxTranscription(PHRASES)


@pytest.fixture(scope="module")
def english() -> PocketSphinxTranscription:
    return PocketSphinxTranscription()


def said(
    text: str, voice: str = "en-us", format: AudioFormat = MULAW_8K, gain: float = 1.0
) -> Samples:
    wav = speak(text, voice, words_per_minute=140)
    return (gain * resample(wav.samples, wav.rate, format.rate)).astype(np.int16)


async def utterance(samples: Samples, format: AudioFormat = MULAW_8K) -> AsyncIterator[Any]:
    size = format.rate // 50
    for start in range(0, len(samples), size):
        yield Frame(format.encode(samples[start : start + size]), format)


async def transcripts(
    recogniser: PocketSphinxTranscription, samples: Samples, format: AudioFormat = MULAW_8K
) -> list[Transcript]:
    return [each async for each in recogniser.transcribe(utterance(samples, format))]


async def understood(
    recogniser: PocketSphinxTranscription, samples: Samples, format: AudioFormat = MULAW_8K
) -> str:
    return (await transcripts(recogniser, samples, format))[-1].text


def coughs(count: int) -> Iterator[Samples]:
    """Return bursts of coloured noise that die away, twice each."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        length = int(8000 * rng.uniform(0.2, 0.6))
        burst = rng.normal(0, 1, length) * np.exp(-np.arange(length) / rng.uniform(400, 1600))
        burst = np.convolve(burst, rng.normal(0, 1, 20))[:length]
        burst *= rng.uniform(3000, 20000) / np.abs(burst).max()
        cough = np.concatenate([np.zeros(2400), burst, np.zeros(800), 0.7 * burst, np.zeros(2400)])
        yield (cough + rng.normal(0, 10, len(cough))).astype(np.int16)


def test_it_is_a_speech_to_text_that_can_be_prewarmed(
    recogniser: PocketSphinxTranscription,
) -> None:
    service: SpeechToText = recogniser
    assert isinstance(service, Prewarmed)
    run_virtual(recogniser.prewarm())


@pytest.mark.parametrize("voice", ["en-us", "en-gb-x-rp", "en-gb-x-rp+f2"])
async def test_phrases_are_recognised_over_a_telephone(
    recogniser: PocketSphinxTranscription, voice: str
) -> None:
    heard = [await understood(recogniser, said(phrase, voice)) for phrase in PHRASES]
    assert heard == list(PHRASES)


async def test_who_spoke_before_makes_no_difference(recogniser: PocketSphinxTranscription) -> None:
    alone = await understood(recogniser, said(PHRASES[2]))
    for phrase in PHRASES:
        await understood(recogniser, said(phrase, "en-us+f3", gain=0.1))
    assert await understood(recogniser, said(PHRASES[2])) == alone == PHRASES[2]


async def test_a_quiet_caller_is_understood(recogniser: PocketSphinxTranscription) -> None:
    assert await understood(recogniser, said(PHRASES[4], gain=0.1)) == PHRASES[4]


async def test_wide_band_audio_is_understood(recogniser: PocketSphinxTranscription) -> None:
    samples = said(PHRASES[4], format=L16_16K)
    assert await understood(recogniser, samples, L16_16K) == PHRASES[4]


async def test_coughs_are_not_words(recogniser: PocketSphinxTranscription) -> None:
    heard = [await understood(recogniser, cough) for cough in coughs(20)]
    assert heard == [""] * 20


async def test_the_beginning_of_a_phrase_is_not_the_phrase(
    recogniser: PocketSphinxTranscription,
) -> None:
    assert await understood(recogniser, said("I'd like a")) == ""


@pytest.mark.parametrize("samples", [np.zeros(0, np.int16), np.zeros(8000, np.int16)])
async def test_silence_is_nothing(recogniser: PocketSphinxTranscription, samples: Samples) -> None:
    assert await understood(recogniser, samples) == ""


async def test_there_is_one_transcript_and_it_says_how_long_the_speech_was(
    recogniser: PocketSphinxTranscription,
) -> None:
    made = await transcripts(recogniser, said(PHRASES[0]))
    seconds: Any = pytest.approx(len(said(PHRASES[0])) / 8000, abs=0.1)
    assert made == [Transcript(PHRASES[0], final=True, seconds=seconds)]


async def test_no_more_than_so_much_is_listened_to(
    recogniser: PocketSphinxTranscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediaserver.agents.services.pocketsphinx.LONGEST_UTTERANCE", 3.0)
    silence = np.zeros(4 * 8000, np.int16)
    made = await transcripts(recogniser, np.concatenate([silence, said(PHRASES[0])]))
    assert made[0].text == ""
    assert made[0].seconds > 4


def test_it_works_in_virtual_time(recogniser: PocketSphinxTranscription) -> None:
    assert run_virtual(understood(recogniser, said(PHRASES[1]))) == PHRASES[1]


async def test_without_phrases_it_writes_down_english(english: PocketSphinxTranscription) -> None:
    heard = await understood(english, said("no thank you"))
    assert {"thank", "you"} & set(heard.split())


async def test_it_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    await understood(PocketSphinxTranscription(["hello there"]), said("hello there"))
    assert capfd.readouterr() == ("", "")


async def test_a_failure_is_a_service_error(
    recogniser: PocketSphinxTranscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def start_utt(self) -> None:
            raise RuntimeError("Failed to start utterance processing")

    monkeypatch.setattr(recogniser, "_decoder", Broken())
    with pytest.raises(ServiceError, match="pocketsphinx: Failed to start"):
        await understood(recogniser, said(PHRASES[0]))


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        (["hello", "say xyzzyq please"], "the word 'xyzzyq' of the phrase 'say xyzzyq please'"),
        (["at 5"], "the word '5' .* numbers are written as words"),
        (["hello", " ?"], "there is no word in the phrase ' \\?'"),
        ([], "at least one phrase"),
        ("hello", "must be a list of phrases, not the text 'hello'"),
    ],
)
def test_phrases_that_cannot_be_recognised_are_refused(
    phrases: list[str] | str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PocketSphinxTranscription(phrases)


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "mediaserver.agents.services.pocketsphinx")
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(ImportError, match=r"needs pocketsphinx: .*\.\[offline\]"):
        importlib.import_module("mediaserver.agents.services.pocketsphinx")
