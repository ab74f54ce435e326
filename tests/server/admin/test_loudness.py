import numpy as np
import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.server.admin.loudness import Loudness


def tone(format: AudioFormat, *parts: float) -> bytes:
    """Audio of 10 ms parts that are as loud as this."""
    step = format.rate // 100
    return format.encode(
        np.concatenate([np.full(step, round(32_767 * part)) for part in parts]).astype(np.int16)
    )


@pytest.mark.parametrize("format", [MULAW_8K, L16_8K, L16_16K])
def test_the_peaks_of_pieces_that_follow_one_another_are_one_run(format: AudioFormat) -> None:
    loudness = Loudness(format, 0.1)
    loudness.add(tone(format, 0.5, -1.0), 1.0)
    loudness.add(tone(format, 0.25, 0.0), 1.03)
    ((at, *peaks),) = loudness.take()
    assert at == 1.0
    assert peaks == pytest.approx([0.5, 1.0, 0.25, 0.0], abs=0.03)
    assert loudness.take() == []


def test_after_a_gap_a_run_begins_at_its_time() -> None:
    loudness = Loudness(L16_8K, 0.002)
    loudness.add(tone(L16_8K, 0.5), 1.0)
    loudness.add(tone(L16_8K, 0.5), 1.0125)
    loudness.add(tone(L16_8K, 0.5), 1.0225)
    assert loudness.take() == [[1.0, 0.5], [1.0125, 0.5, 0.5]]
    loudness.add(tone(L16_8K, 0.5), 1.0325)
    assert loudness.take() == [[1.0325, 0.5]]


def test_a_part_of_a_step_and_half_a_sample_do_no_harm() -> None:
    loudness = Loudness(L16_8K, 0.1)
    loudness.add(tone(L16_8K, 0.5, 0.25)[:-7], 0.0)
    assert loudness.take() == [[0.0, 0.5, 0.25]]
    loudness.add(b"", 0.02)
    assert loudness.take() == [[0.0196]]
    loudness.add(b"a", 7.0)
    assert loudness.take() == [[7.0]]
