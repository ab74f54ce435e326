"""The filters themselves, apart from the arithmetic that applies them."""

import functools
import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from audiocodecs.filters import low_pass


COMMON = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)
PAIRS = [pair for pair in itertools.permutations(COMMON, 2) if min(pair) < 32000]
TELEPHONE_PAIRS = list(itertools.permutations((8000, 16000, 24000, 48000), 2))

each_pair = pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)


@functools.cache
def decibels(rate_in: int, rate_out: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frequencies, in Hz, and the filter's gain there against its gain at 0 Hz, in dB."""
    low = low_pass(rate_in, rate_out)
    size = 16 * 2 ** math.ceil(math.log2(len(low.taps)))
    gain = np.abs(np.fft.rfft(low.taps, size))
    frequencies = np.arange(len(gain)) * rate_in * low.up / size
    return frequencies, 20 * np.log10(np.maximum(gain / gain[0], 1e-9))


@each_pair
def test_up_and_down_lead_from_one_rate_to_the_other(rate_in: int, rate_out: int) -> None:
    low = low_pass(rate_in, rate_out)
    assert rate_in * low.up == rate_out * low.down
    assert math.gcd(low.up, low.down) == 1


@each_pair
def test_from_the_lower_nyquist_frequency_on_everything_is_70_db_down(
    rate_in: int, rate_out: int
) -> None:
    frequencies, gain = decibels(rate_in, rate_out)
    assert gain[frequencies >= min(rate_in, rate_out) / 2].max() <= -70


@each_pair
def test_up_to_85_percent_of_the_lower_nyquist_frequency_the_gain_is_flat(
    rate_in: int, rate_out: int
) -> None:
    frequencies, gain = decibels(rate_in, rate_out)
    assert np.abs(gain[frequencies <= 0.85 * min(rate_in, rate_out) / 2]).max() <= 0.5


@each_pair
def test_taps_are_integers_whose_sums_are_exact_in_float64(rate_in: int, rate_out: int) -> None:
    taps = low_pass(rate_in, rate_out).taps
    assert taps.dtype == np.float64
    assert np.array_equal(taps, np.rint(taps))
    assert np.abs(taps).sum() * 32768 < 2**53


@each_pair
def test_every_phase_has_the_same_sum(rate_in: int, rate_out: int) -> None:
    low = low_pass(rate_in, rate_out)
    sums = {float(low.taps[phase :: low.up].sum()) for phase in range(low.up)}
    assert sums == {low.gain}


@pytest.mark.parametrize(("rate_in", "rate_out"), TELEPHONE_PAIRS)
def test_the_equiripple_filters_have_linear_phase(rate_in: int, rate_out: int) -> None:
    low = low_pass(rate_in, rate_out)
    assert np.array_equal(low.taps[1:], low.taps[:0:-1])
    assert low.taps.argmax() == low.delay


@each_pair
def test_the_delay_is_a_whole_number_of_outputs(rate_in: int, rate_out: int) -> None:
    low = low_pass(rate_in, rate_out)
    assert low.delay % low.down == 0


@pytest.mark.parametrize(("rate_in", "rate_out"), TELEPHONE_PAIRS)
def test_among_the_telephone_rates_the_delay_is_at_most_3_ms(rate_in: int, rate_out: int) -> None:
    low = low_pass(rate_in, rate_out)
    assert low.delay / (rate_in * low.up) <= 0.003
