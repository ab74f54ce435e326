from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodecs import Samples, resample
from mediaserver.espeak import speak
from mediaserver.sandbox.audio.noise import NoiseCancellationError, NoiseCanceller, reduction


pytest.importorskip("webrtc_noise_gain", reason="it comes for Linux")

RATE = 16_000


def hiss(seconds: float, rate: int = RATE, level: int = 700) -> Samples:
    noise = np.random.default_rng(5).normal(0, level, round(seconds * rate))
    return noise.astype(np.int16)


def syllables(seconds: float, rate: int = RATE) -> Any:
    """Bursts of a gliding buzz, four a second: what a suppressor takes for speech."""
    times = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (140 * times + 8 * np.sin(2 * np.pi * 1.3 * times))
    buzz = sum(np.sin(n * phase) / n for n in range(1, 20))
    return (6_000 * buzz * np.clip(np.sin(2 * np.pi * 2 * times), 0, None)).astype(np.int16)


def decibels(samples: Samples) -> Any:
    return 10 * np.log10(np.mean(np.square(samples, dtype=float)))


def telephone_band(samples: Samples) -> Any:
    """Return the level between 300 and 3400 Hz: a high-pass filter takes what is below."""
    power = np.abs(np.fft.rfft(samples.astype(float))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    return 10 * np.log10(power[(frequencies > 300) & (frequencies < 3_400)].sum())


def noise_left(level: int, rate: int = RATE) -> Any:
    noise = hiss(4, rate)
    return decibels(NoiseCanceller(level, rate).process(noise)[2 * rate :]) - decibels(noise)


def test_a_higher_level_leaves_less_noise() -> None:
    left = [noise_left(level) for level in range(60, 101, 5)]
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == len(left)


@pytest.mark.parametrize("level", [60, 70, 85, 100])
def test_a_level_turns_steady_noise_down_by_so_many_decibels(level: int) -> None:
    assert noise_left(level) == pytest.approx(-reduction(level), abs=1.0)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
def test_noise_is_cancelled_at_every_rate(rate: int) -> None:
    assert noise_left(85, rate) < -12


def test_speech_comes_through_and_more_of_it_at_a_lower_level() -> None:
    wav = speak("I would like a table for two, tonight at eight, by the window if you can.")
    speech = resample(wav.samples, wav.rate, RATE)
    likeness = []
    for level in (60, 85, 100):
        canceller = NoiseCanceller(level)
        late = round(canceller.delay * RATE)
        through = canceller.process(speech)[late:]
        original = speech[: len(through)]
        assert abs(telephone_band(through) - telephone_band(original)) < 5
        likeness.append(np.corrcoef(through, original)[0, 1])
    assert likeness == sorted(likeness, reverse=True)
    assert likeness[-1] > 0.7


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
@pytest.mark.parametrize("level", [60, 100])
def test_the_delay_is_as_stated_and_small(rate: int, level: int) -> None:
    canceller = NoiseCanceller(level, rate)
    speech = syllables(2, rate).astype(float)
    through = canceller.process(speech.astype(np.int16)).astype(float)
    # How alike the two are at each lag, by way of their spectra: zeros keep the ends apart.
    size = 2 * len(speech)
    alike = np.fft.irfft(np.fft.rfft(through, size) * np.fft.rfft(speech, size).conj())
    assert np.argmax(alike[: rate // 20]) / rate == pytest.approx(canceller.delay, abs=0.0005)
    assert canceller.delay <= 0.012


def test_silence_stays_silence() -> None:
    assert not NoiseCanceller().process(np.zeros(RATE, np.int16)).any()


@given(cuts=st.lists(st.integers(0, 8_000), max_size=12), rate=st.sampled_from([8_000, 16_000]))
@settings(max_examples=20)
def test_how_it_is_cut_into_chunks_changes_nothing(cuts: list[int], rate: int) -> None:
    noisy = hiss(0.5, rate) + syllables(0.5, rate)
    whole = NoiseCanceller(85, rate).process(noisy)
    canceller = NoiseCanceller(85, rate)
    edges = [0, *sorted(min(cut, len(noisy)) for cut in cuts), len(noisy)]
    pieces = [canceller.process(noisy[a:b]) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert len(whole) == len(noisy)


@pytest.mark.parametrize("level", [59, 101, 85.0, "85", True, None])
def test_a_level_that_is_none_is_refused(level: Any) -> None:
    with pytest.raises(ValueError, match="a whole number from 60 to 100"):
        NoiseCanceller(level)


def test_without_the_suppressor_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "webrtc_noise_gain", None)
    with pytest.raises(NoiseCancellationError, match=r"pip install '\.\[sandbox\]'"):
        NoiseCanceller()
