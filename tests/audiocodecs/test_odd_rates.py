"""Resampling that libsoxr does."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import Resampler, Samples, resample
from audiocodecs.odd_rates import OddRates


PAIRS = [(11127, 8000), (8000, 22255), (96_000, 16000), (47_999, 24000)]


def noise(count: int) -> Samples:
    return np.random.default_rng(1).integers(-32768, 32768, count).astype(np.int16)


def in_chunks(stream: OddRates, samples: Samples, cuts: list[int]) -> Samples:
    edges = [0, *sorted(min(cut, len(samples)) for cut in cuts), len(samples)]
    parts = [stream.process(samples[a:b]) for a, b in itertools.pairwise(edges)]
    return np.concatenate([*parts, stream.flush()])


@given(st.sampled_from(PAIRS), st.integers(0, 9000), st.lists(st.integers(0, 9000), max_size=9))
def test_every_way_of_cutting_the_input_gives_the_same_bits(
    pair: tuple[int, int], count: int, cuts: list[int]
) -> None:
    whole = in_chunks(OddRates(*pair), noise(count), [])
    assert np.array_equal(in_chunks(OddRates(*pair), noise(count), cuts), whole)
    assert abs(len(whole) - count * pair[1] / pair[0]) <= 1


def test_it_begins_anew_after_its_end_and_after_a_reset() -> None:
    stream = OddRates(11127, 8000)
    first = in_chunks(stream, noise(5000), [])
    assert np.array_equal(in_chunks(stream, noise(5000), []), first)
    stream.process(noise(777))
    stream.reset()
    assert np.array_equal(in_chunks(stream, noise(5000), []), first)


def test_nothing_comes_of_nothing() -> None:
    stream = OddRates(11127, 8000)
    assert len(stream.flush()) == 0
    assert stream.process(noise(0)).dtype == np.int16
    stream.reset()
    assert len(stream.flush()) == 0


def test_what_overshoots_saturates() -> None:
    square = np.where(np.arange(11127) // 111 % 2, 32767, -32768).astype(np.int16)
    output = in_chunks(OddRates(11127, 8000), square, [])
    assert (output.min(), output.max()) == (-32768, 32767)


def test_a_resampler_uses_it_where_a_filter_would_be_too_long() -> None:
    samples = noise(5000)
    odd = Resampler(11127, 8000)
    output = np.concatenate([odd.process(samples), odd.flush()])
    assert np.array_equal(output, in_chunks(OddRates(11127, 8000), samples, []))
    odd.process(samples)
    odd.reset()
    assert len(odd.flush()) == 0
    assert odd.delay == 0


@pytest.mark.parametrize("rate_in", [11127, 8001, 88_200, 192_000])
def test_a_tone_is_heard_in_time(rate_in: int) -> None:
    time = np.arange(rate_in // 5) / rate_in
    output = resample((20_000 * np.sin(2 * np.pi * 300 * time)).astype(np.int16), rate_in, 8000)
    expected = 20_000 * np.sin(2 * np.pi * 300 * np.arange(len(output)) / 8000)
    assert np.abs(output - expected)[200:-200].max() < 300
