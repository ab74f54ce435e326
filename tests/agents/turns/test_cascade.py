from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, Samples, resample, silence
from mediaserver.agents.turns import (
    CascadeDetector,
    SpeechStarted,
    TurnEnded,
    TurnEvent,
    TurnSettings,
    TurnTaker,
    default_detector,
    prewarm,
    silero,
)
from mediaserver.agents.turns.silero import SileroModel
from mediaserver.call import Frame
from mediaserver.espeak import speak


def spoken(rate: int) -> Samples:
    wav = speak("I would like a table for two, please.", "en-us")
    return resample(wav.samples, wav.rate, rate)


def noise(level: float, seconds: float) -> Samples:
    sigma = 32_768 * 10 ** (level / 20)
    return np.random.default_rng(1).normal(0, sigma, round(seconds * 8_000)).astype(np.int16)


def frames(samples: Samples, format: AudioFormat = MULAW_8K) -> Iterator[Frame]:
    size = format.rate // 50
    for start in range(0, len(samples) - size + 1, size):
        yield Frame(format.encode(samples[start : start + size]), format)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Samples]:
    """Return what Silero is asked about."""
    heard: list[Samples] = []
    really = SileroModel.probability

    def probability(model: SileroModel, samples: Samples) -> float:
        heard.append(samples)
        return really(model, samples)

    monkeypatch.setattr(SileroModel, "probability", probability)
    return heard


def test_silero_is_not_asked_about_silence(asked: list[Samples]) -> None:
    detector = CascadeDetector()

    heard = [detector.probability(frame) for frame in frames(silence(5, 8_000))]

    assert asked == []
    assert set(heard) == {0.0}


def test_silero_is_not_asked_about_noise_that_was_learnt(asked: list[Samples]) -> None:
    detector = CascadeDetector()
    for frame in frames(noise(-35, 15)):
        detector.probability(frame)
    asked.clear()

    for frame in frames(noise(-35, 5)):
        detector.probability(frame)

    assert len(asked) < 10


def test_silero_is_not_asked_about_what_is_hardly_audible(asked: list[Samples]) -> None:
    detector = CascadeDetector()

    for frame in frames((spoken(8_000) // 400).astype(np.int16), L16_8K):
        detector.probability(frame)

    assert asked == []


@pytest.mark.parametrize(("says", "times"), [(0.01, 25), (0.2, 50), (0.9, 31)])
def test_how_often_silero_is_asked_depends_on_what_it_said(
    monkeypatch: pytest.MonkeyPatch, says: float, times: int
) -> None:
    heard: list[Samples] = []

    def probability(model: SileroModel, samples: Samples) -> float:
        heard.append(samples)
        return says

    monkeypatch.setattr(SileroModel, "probability", probability)
    detector = CascadeDetector()

    for frame in frames(noise(-25, 1)):
        detector.probability(frame)

    assert len(heard) == pytest.approx(times, abs=2)


def test_until_there_is_speech_silero_hears_the_newest_sample(asked: list[Samples]) -> None:
    loud = np.arange(1_600, dtype=np.int16)
    detector = CascadeDetector()

    for frame in frames(loud, L16_8K):
        detector.probability(frame)

    assert len(asked) > 3
    assert all((heard[-1] + 1) % 160 == 0 for heard in asked[1:])


def test_on_waking_up_silero_hears_what_came_before(asked: list[Samples]) -> None:
    samples = np.arange(1, 1_601, dtype=np.int16)
    loud = samples * 20
    loud[:1_440] //= 1_000
    detector = CascadeDetector()

    for frame in frames(loud, L16_8K):
        detector.probability(frame)

    first, second = asked
    assert np.array_equal(second, loud[1_600 - 288 :])
    assert np.array_equal(first, loud[1_600 - 288 - 256 : 1_600 - 256])


@pytest.mark.parametrize("format", [MULAW_8K, L16_8K, L16_16K, L16_24K])
def test_a_sentence_is_a_turn(format: AudioFormat) -> None:
    sentence = spoken(format.rate)
    quiet = silence(1, format.rate)
    taker = TurnTaker(TurnSettings(silence=None), default_detector())
    events: list[TurnEvent] = []
    for frame in frames(np.concatenate((quiet, sentence, quiet)), format):
        event = taker.hear(frame, agent_speaking=False)
        events += [event] if event is not None else []

    started, _, ended = events
    assert isinstance(started, SpeechStarted)
    assert isinstance(ended, TurnEnded)
    assert 1 < started.at < 1.3
    assert ended.speech_ended_at == pytest.approx(1 + len(sentence) / format.rate, abs=0.3)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 3_000), max_size=20))
def test_any_cut_of_the_frames_gives_the_same_probability(sizes: list[int]) -> None:
    payload = MULAW_8K.encode(noise(-25, 0.5))
    whole = CascadeDetector().probability(Frame(payload, MULAW_8K))
    detector = CascadeDetector()
    last = 0.0
    for size in [*sizes, len(payload)]:
        piece, payload = payload[:size], payload[size:]
        last = detector.probability(Frame(piece, MULAW_8K))

    assert last == whole


def test_prewarm_loads_the_network() -> None:
    silero._session.cache_clear()

    prewarm()

    assert silero._session.cache_info().currsize == 1
