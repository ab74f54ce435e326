from __future__ import annotations

import numpy as np
import pytest

from audiocodecs import Samples
from mediaserver.sandbox.audio.background_noise import (
    NOISES,
    BackgroundNoise,
    check_noise_level,
)


def decibels(samples: Samples) -> float:
    """Return the level of the louder fifth of the blocks of 20 ms."""
    blocks = np.mean(np.square(samples.astype(np.float64)).reshape(-1, 320), axis=1)
    loud = np.sort(blocks)[-len(blocks) // 5 :]
    return float(10 * np.log10(np.mean(loud) / 32_768**2))


@pytest.mark.parametrize("kind", NOISES)
def test_every_noise_goes_on_at_its_level(kind: str) -> None:
    noise = BackgroundNoise(kind, -40)
    once = np.concatenate([noise.take() for _ in range(1_000)])
    again = np.concatenate([noise.take() for _ in range(1_000)])

    assert once.dtype == np.int16
    assert np.array_equal(once, again)
    assert decibels(once) == pytest.approx(-40, abs=1)


@pytest.mark.parametrize("kind", ["hum", "hold music"])
def test_its_end_leads_into_its_beginning(kind: str) -> None:
    noise = BackgroundNoise(kind, -20)
    frames = np.concatenate([noise.take() for _ in range(1_010)]).astype(int)
    steps = np.abs(np.diff(frames))

    assert steps[320_000 - 10 : 320_000 + 10].max() <= steps.max() / 2


@pytest.mark.parametrize(("rate", "samples"), [(8_000, 160), (24_000, 480)])
def test_a_line_of_another_rate_gets_frames_of_its_own(rate: int, samples: int) -> None:
    noise = BackgroundNoise("hiss", rate=rate)

    assert [len(noise.take()) for _ in range(5)] == [samples] * 5


def test_a_noise_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="no noise 'rain'; allowed: coughing, typing, street"):
        BackgroundNoise("rain")


@pytest.mark.parametrize("level", [-71, -5, float("nan"), float("inf")])
def test_a_level_that_nobody_would_hear_or_bear_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="-70 to -6 dBFS"):
        check_noise_level(level)
