import numpy as np
import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat, Samples
from mediaserver.agents.turns import LevelDetector
from mediaserver.agents.turns.level import Floor, loudness
from mediaserver.call import Frame


def noise(level: float, seconds: float, rate: int = 8_000, seed: int = 1) -> Samples:
    sigma = 32_768 * 10 ** (level / 20)
    return np.random.default_rng(seed).normal(0, sigma, round(seconds * rate)).astype(np.int16)


def probabilities(
    detector: LevelDetector, samples: Samples, format: AudioFormat = MULAW_8K
) -> list[float]:
    size = format.rate // 50
    pieces = np.split(samples, range(size, len(samples), size))
    return [detector.probability(Frame(format.encode(piece), format)) for piece in pieces]


def test_silence_is_no_speech() -> None:
    assert max(probabilities(LevelDetector(), np.zeros(8_000, np.int16))) < 0.01


@pytest.mark.parametrize("format", [MULAW_8K, L16_16K])
def test_what_is_loud_is_speech(format: AudioFormat) -> None:
    detector = LevelDetector()
    probabilities(detector, noise(-55, 1, format.rate), format)

    assert min(probabilities(detector, noise(-25, 0.5, format.rate), format)) > 0.9


def test_steady_noise_is_learnt() -> None:
    heard = probabilities(LevelDetector(), noise(-35, 12))

    assert max(heard[:50]) > 0.9
    assert max(heard[-50:]) < 0.3


def test_speech_above_noise_that_was_learnt() -> None:
    detector = LevelDetector()
    probabilities(detector, noise(-40, 12))

    assert min(probabilities(detector, noise(-20, 0.5))) > 0.9


def test_noise_that_ends_is_forgotten_at_once() -> None:
    detector = LevelDetector()
    probabilities(detector, noise(-30, 12))
    probabilities(detector, noise(-55, 0.5))

    assert min(probabilities(detector, noise(-40, 0.2))) > 0.9


def test_a_frame_that_completes_no_20_ms_changes_nothing() -> None:
    detector = LevelDetector()
    loud = MULAW_8K.encode(noise(-20, 0.02))

    assert detector.probability(Frame(loud[:159], MULAW_8K)) == 0
    assert detector.probability(Frame(loud[159:], MULAW_8K)) > 0.9


@pytest.mark.parametrize("margin", [0, -1, 41])
def test_a_margin_out_of_range_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin must be more than 0 and at most 40 decibels"):
        LevelDetector(margin)


def test_loudness_is_in_decibels_of_full_scale() -> None:
    assert loudness(np.full(160, 16_384, np.int16)) == pytest.approx(-6.02, abs=0.01)
    assert loudness(np.zeros(160, np.int16)) == -60


def test_the_floor_never_rises_above_speech() -> None:
    floor = Floor()
    for _ in range(3_000):
        floor.hear(np.full(160, 30_000, np.int16))

    assert floor.noise == -20
