import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import RATES, AudioError, Resampler, Samples, resample
from audiocodecs.filters import low_pass


TELEPHONE = (8000, 16000, 24000)
SERVICES = (12000, 22050, 32000, 44100, 48000)
PAIRS = [
    *itertools.permutations(TELEPHONE, 2),
    *itertools.product(TELEPHONE, SERVICES),
    *itertools.product(SERVICES, TELEPHONE),
    (48000, 44100),
    (22050, 44100),
    (11025, 8000),
    (24000, 11025),
]
TELEPHONE_PAIRS = list(itertools.permutations((8000, 16000, 24000, 48000), 2))
DOWNWARD = [(high, low) for high, low in PAIRS if high > low]
UPWARD = [(low, high) for low, high in PAIRS if low < high]

each_pair = pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)


def noise(count: int, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).integers(-32768, 32768, count).astype(np.int16)


def tone(frequency: float, rate: int, seconds: float = 0.25, amplitude: int = 30000) -> Any:
    time = np.arange(round(seconds * rate)) / rate
    return np.rint(amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.int16)


def level(samples: Samples, rate: int, frequency: float) -> Any:
    """Return the amplitude of the component of ``samples`` at ``frequency``."""
    window = np.blackman(len(samples))
    turn = np.exp(-2j * np.pi * frequency * np.arange(len(samples)) / rate)
    return 2 * abs((samples * window) @ turn) / window.sum()


def steady(rate_in: int, rate_out: int, samples: Samples) -> Samples:
    """Return the output for ``samples`` after the filter has settled, a multiple of 10 ms."""
    output = Resampler(rate_in, rate_out).process(samples)
    return output[-round(0.2 * rate_out) :]


def in_chunks(resampler: Resampler, samples: Samples, cuts: list[int] | range) -> Samples:
    edges = [0, *sorted(min(cut, len(samples)) for cut in cuts), len(samples)]
    parts = [resampler.process(samples[a:b]) for a, b in itertools.pairwise(edges)]
    return np.concatenate([*parts, resampler.flush()])


@each_pair
def test_output_is_the_convolution_rounded_and_saturated_once(rate_in: int, rate_out: int) -> None:
    samples = noise(700)
    low = low_pass(rate_in, rate_out)
    output = Resampler(rate_in, rate_out).process(samples)
    for index in [0, 1, 2, *range(50, len(output), 37), len(output) - 1]:
        age = index * low.down - low.up * np.arange(len(samples))
        used = (age >= 0) & (age < len(low.taps))
        products = low.taps[age[used]].astype(int) * samples[used].astype(int)
        exact = int(products.sum()) / low.gain
        assert abs(output[index] - min(max(exact, -32768), 32767)) <= 0.5 + 1e-9


@each_pair
def test_equal_chunks_of_any_size_give_the_same_bits(rate_in: int, rate_out: int) -> None:
    samples = noise(600)
    whole = in_chunks(Resampler(rate_in, rate_out), samples, [])
    for size in (1, 7, 160, 441):
        cut = in_chunks(Resampler(rate_in, rate_out), samples, range(0, 600, size))
        assert np.array_equal(cut, whole), f"chunks of {size}"


@given(
    pair=st.sampled_from(PAIRS),
    count=st.integers(0, 5000),
    cuts=st.lists(st.integers(0, 5000), max_size=20),
    seed=st.integers(0, 100),
)
def test_every_way_of_cutting_the_input_gives_the_same_bits(
    pair: tuple[int, int], count: int, cuts: list[int], seed: int
) -> None:
    samples = noise(count, seed)
    whole = in_chunks(Resampler(*pair), samples, [])
    assert np.array_equal(in_chunks(Resampler(*pair), samples, cuts), whole)


@given(pair=st.sampled_from(PAIRS), chunks=st.lists(st.integers(0, 500), max_size=10))
def test_all_computable_output_comes_at_once(pair: tuple[int, int], chunks: list[int]) -> None:
    rate_in, rate_out = pair
    resampler = Resampler(*pair)
    taken = returned = 0
    for chunk in chunks:
        taken += chunk
        returned += len(resampler.process(noise(chunk)))
        assert returned == math.ceil(taken * rate_out / rate_in)


@each_pair
def test_an_impulse_peaks_after_the_delay(rate_in: int, rate_out: int) -> None:
    resampler = Resampler(rate_in, rate_out)
    impulse = np.zeros(rate_in // 10, np.int16)
    impulse[100] = 30000
    output = resampler.process(impulse).astype(int)
    came_out = np.abs(output).argmax() / rate_out
    assert came_out - 100 / rate_in == pytest.approx(
        resampler.delay, abs=1 / min(rate_in, rate_out)
    )


@pytest.mark.parametrize(("rate_in", "rate_out"), TELEPHONE_PAIRS)
def test_among_the_telephone_rates_an_impulse_peaks_within_3_ms(
    rate_in: int, rate_out: int
) -> None:
    impulse = np.zeros(rate_in // 10, np.int16)
    impulse[120] = 30000  # on the grid of the output
    output = Resampler(rate_in, rate_out).process(impulse)
    assert output.argmax() / rate_out - 120 / rate_in <= 0.003


@pytest.mark.parametrize(("rate_in", "rate_out"), DOWNWARD)
def test_a_tone_above_the_output_band_does_not_alias(rate_in: int, rate_out: int) -> None:
    for part in (1.0, 1.1, 1.5, 1.9):
        frequency = min(part * rate_out / 2, rate_in / 2 - 50)
        alias = abs(frequency - rate_out * round(frequency / rate_out))
        output = steady(rate_in, rate_out, tone(frequency, rate_in))
        assert level(output, rate_out, alias) <= 30000 * 10 ** (-70 / 20), f"{frequency} Hz"


@pytest.mark.parametrize(("rate_in", "rate_out"), UPWARD)
def test_a_tone_leaves_no_image(rate_in: int, rate_out: int) -> None:
    for part in (0.1, 0.5, 0.85, 0.99):
        frequency = part * rate_in / 2
        image = min(rate_in - frequency, rate_out / 2)
        output = steady(rate_in, rate_out, tone(frequency, rate_in))
        assert level(output, rate_out, image) <= 30000 * 10 ** (-70 / 20), f"{frequency} Hz"


@each_pair
def test_a_tone_in_the_pass_band_keeps_its_level(rate_in: int, rate_out: int) -> None:
    for part in (0.05, 0.4, 0.85):
        frequency = part * min(rate_in, rate_out) / 2
        output = steady(rate_in, rate_out, tone(frequency, rate_in))
        decibels = 20 * math.log10(level(output, rate_out, frequency) / 30000)
        assert abs(decibels) <= 0.5, f"{frequency} Hz"


@each_pair
def test_a_constant_stays_exactly_that(rate_in: int, rate_out: int) -> None:
    for value in (-32768, -1, 1, 12345, 32767):
        output = steady(rate_in, rate_out, np.full(rate_in // 4, value, np.int16))
        assert set(output.tolist()) == {value}


@each_pair
def test_what_overshoots_saturates(rate_in: int, rate_out: int) -> None:
    square = np.where(np.arange(rate_in // 4) // (rate_in // 100) % 2, 32767, -32768)
    output = Resampler(rate_in, rate_out).process(square.astype(np.int16))
    delay = round(Resampler(rate_in, rate_out).delay * rate_out)
    half_period = rate_out // 100
    assert output.max() == 32767
    assert output.min() == -32768
    # far from the edges nothing has wrapped round
    middles = output[delay + half_period // 2 :: half_period]
    assert (np.abs(middles.astype(int)) > 25000).all()


@each_pair
def test_reset_begins_anew(rate_in: int, rate_out: int) -> None:
    resampler = Resampler(rate_in, rate_out)
    first = resampler.process(noise(333))
    resampler.reset()
    assert np.array_equal(resampler.process(noise(333)), first)


@each_pair
def test_flush_emits_the_delay_and_begins_anew(rate_in: int, rate_out: int) -> None:
    resampler = Resampler(rate_in, rate_out)
    for _ in range(2):
        output = resampler.process(noise(333))
        tail = resampler.flush()
        assert len(tail) == round(resampler.delay * rate_out)
        padded = np.append(noise(333), np.zeros(1000, np.int16))
        expected = Resampler(rate_in, rate_out).process(padded)
        assert np.array_equal(np.append(output, tail), expected[: len(output) + len(tail)])


def test_flush_with_nothing_held_back_is_empty() -> None:
    resampler = Resampler(8000, 16000)
    assert len(resampler.flush()) == 0
    resampler.process(noise(0))
    assert len(resampler.flush()) == 0
    resampler.process(noise(160))
    resampler.reset()
    assert len(resampler.flush()) == 0
    assert resampler.flush().dtype == np.int16


def test_resamplers_of_the_same_rates_do_not_disturb_each_other() -> None:
    one, other = Resampler(24000, 8000), Resampler(24000, 8000)
    alone = Resampler(24000, 8000)
    for seed in range(5):
        output = one.process(noise(481, seed))
        other.process(noise(97, seed + 50))
        assert np.array_equal(output, alone.process(noise(481, seed)))


def test_the_input_is_neither_changed_nor_kept() -> None:
    resampler = Resampler(8000, 16000)
    samples = noise(160)
    samples.flags.writeable = False
    resampler.process(samples)
    reused = noise(160, 2)
    again = Resampler(8000, 16000)
    expected = [again.process(noise(160, 2)), again.process(noise(160, 3))]
    resampler.reset()
    first = resampler.process(reused)
    reused[:] = 0
    assert np.array_equal(first, expected[0])
    assert np.array_equal(resampler.process(noise(160, 3)), expected[1])


def test_output_belongs_to_the_caller() -> None:
    resampler = Resampler(8000, 16000)
    output = resampler.process(noise(160))
    output[:] = 0
    expected = Resampler(8000, 16000).process(noise(320))[320:]
    assert np.array_equal(resampler.process(noise(320)[160:]), expected)


def test_views_are_taken_as_they_read() -> None:
    samples = noise(1000)
    output = Resampler(8000, 24000).process(samples[::-3])
    assert np.array_equal(output, Resampler(8000, 24000).process(samples[::-3].copy()))


@pytest.mark.parametrize("rate", [8000, 11127, 32000, 192_000])
def test_equal_rates_pass_a_copy_through(rate: int) -> None:
    resampler = Resampler(rate, rate)
    samples = noise(160)
    output = resampler.process(samples)
    assert resampler.delay == 0
    assert np.array_equal(output, samples)
    assert not np.shares_memory(output, samples)
    assert len(resampler.flush()) == 0


@pytest.mark.parametrize(
    ("rates", "named"),
    [
        ((8000, 7999), 7999),
        ((192_001, 8000), 192_001),
        ((0, 8000), 0),
        ((8000.0, 16000), 8000.0),
        (("8000", 8000), "8000"),
    ],
)
def test_other_rates_are_refused(
    rates: tuple[float, int] | tuple[int, int] | tuple[str, int], named: float | str
) -> None:
    with pytest.raises(AudioError, match=f"at {named!r} Hz; allowed: 8000 to 192000$"):
        Resampler(*rates)


def test_rates_may_be_numpy_integers() -> None:
    rates: Any = np.int64(8000), np.int32(16000)
    resampler = Resampler(*rates)
    assert (resampler.rate_in, resampler.rate_out) == (8000, 16000)
    assert type(resampler.rate_in) is int


@pytest.mark.parametrize(
    "samples", [noise(8).astype(np.float32), noise(8).reshape(4, 2), bytes(8), [1, 2]]
)
@pytest.mark.parametrize("rate_out", [8000, 16000])
def test_process_refuses_what_is_not_one_dimensional_int16(samples: Any, rate_out: Any) -> None:
    with pytest.raises(AudioError, match="one-dimensional int16 array, not "):
        Resampler(8000, rate_out).process(samples)


@each_pair
def test_a_whole_clip_stays_in_time(rate_in: int, rate_out: int) -> None:
    frequency = 300
    output = resample(tone(frequency, rate_in, 0.2), rate_in, rate_out)
    expected = tone(frequency, rate_out, 0.2)
    assert len(output) == rate_out // 5
    inner = slice(len(expected) // 10, -len(expected) // 10)
    error = output[: len(expected)][inner].astype(int) - expected[inner]
    assert np.abs(error).max() <= 30000 * 0.02


@pytest.mark.parametrize(("rate_in", "rate_out"), [(8000, 24000), (44100, 8000), (8000, 8000)])
def test_channels_of_a_clip_are_resampled_apart(rate_in: int, rate_out: int) -> None:
    left, right = noise(1000, 1), noise(1000, 2)
    output = resample(np.stack([left, right], axis=1), rate_in, rate_out)
    assert output.dtype == np.int16
    assert np.array_equal(output[:, 0], resample(left, rate_in, rate_out))
    assert np.array_equal(output[:, 1], resample(right, rate_in, rate_out))


@pytest.mark.parametrize("shape", [(0,), (0, 2)])
def test_an_empty_clip_stays_empty(shape: tuple[int, int] | tuple[int]) -> None:
    output = resample(np.zeros(shape, np.int16), 8000, 16000)
    assert output.shape == shape
    assert output.dtype == np.int16


def test_resample_refuses_what_is_not_int16() -> None:
    wrong: Any = np.zeros(10)
    with pytest.raises(AudioError, match=r"int16 array of shape \(n,\) or \(n, channels\), not "):
        resample(wrong, 8000, 16000)


def test_resample_refuses_other_rates_also_for_an_empty_stereo_clip() -> None:
    with pytest.raises(AudioError, match="cannot resample at 4000 Hz"):
        resample(np.zeros((0, 2), np.int16), 8000, 4000)


@given(
    st.integers(RATES[0], RATES[-1]),
    st.sampled_from(TELEPHONE),
    st.booleans(),
    st.integers(0, 4000),
)
def test_a_clip_of_any_rate_has_the_length_and_the_pitch_that_it_had(
    rate: int, telephone: int, upward: bool, count: int
) -> None:
    rates = (telephone, rate) if upward else (rate, telephone)
    output = resample(noise(count), *rates)
    assert len(output) == math.ceil(count * rates[1] / rates[0])
    heard = resample(tone(1000, rates[0], 0.1), *rates)
    assert level(heard, rates[1], 1000) == pytest.approx(30000, rel=0.05)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.int64])
def test_a_rate_may_be_a_number_of_numpy(kind: Any) -> None:
    samples = np.zeros(100_000, np.int16)
    assert len(resample(samples, kind(8000), kind(48000))) == 600_000
