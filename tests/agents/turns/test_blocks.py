import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.agents.turns.blocks import Blocks
from mediaserver.call import Frame


@given(st.lists(st.integers(0, 500), max_size=20), st.sampled_from([L16_8K, L16_16K]))
def test_blocks_are_the_samples_in_order(sizes: list[int], format: AudioFormat) -> None:
    samples = np.arange(sum(sizes), dtype=np.int16)
    payload = format.encode(samples)
    blocks = Blocks(100)
    out = []
    start = 0
    for size in sizes:
        end = start + 2 * size
        out += list(blocks.push(Frame(payload[start:end], format)))
        start = end

    length = 100 * format.rate // 8_000
    assert all(len(block) == length for block in out)
    assert len(out) == len(samples) // length
    if out:
        assert np.array_equal(np.concatenate(out), samples[: len(out) * length])
        assert blocks.rate == format.rate


def test_mulaw_is_decoded() -> None:
    samples = np.array([0, 8_000, -8_000, 100] * 40, np.int16)
    payload = MULAW_8K.encode(samples)

    (block,) = Blocks(160).push(Frame(payload, MULAW_8K))

    assert np.array_equal(block, MULAW_8K.decode(payload))


def test_other_rates_are_resampled_to_16_khz() -> None:
    times = np.arange(24_000) / 24_000
    tone = np.rint(8_000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    blocks = Blocks(160)

    out = np.concatenate(list(blocks.push(Frame(L16_24K.encode(tone), L16_24K))))

    assert blocks.rate == 16_000
    assert 15_000 <= len(out) <= 16_000
    loudest = np.argmax(np.abs(np.fft.rfft(out[:14_400])))
    assert loudest * 16_000 / 14_400 == pytest.approx(440, abs=2)
