"""Whether memory is flat."""

from random import Random

import pytest

from benchmarks.soak_trend import FEWEST, trend


def test_a_leak_is_found_beneath_noise() -> None:
    noise = Random(1)
    samples = [(5.0 * n, 100 + 0.01 * n + noise.gauss(0, 0.3)) for n in range(270)]
    found = trend(samples)
    assert found is not None
    assert found.per_hour == pytest.approx(7.2, rel=0.1)
    assert found.percent == pytest.approx(2.7, rel=0.1)


def test_a_flat_line_with_noise_is_flat() -> None:
    noise = Random(2)
    found = trend([(5.0 * n, 100 + noise.gauss(0, 1)) for n in range(2_000)])
    assert found is not None
    assert abs(found.percent) < 0.5


def test_a_step_soon_after_the_beginning_is_no_leak() -> None:
    found = trend([(5.0 * n, 90.0 if n < 20 else 100.0) for n in range(200)])
    assert found is not None
    assert found.percent == 0


def test_few_samples_have_no_trend() -> None:
    assert trend([(1.0 * n, 1.0) for n in range(FEWEST - 1)]) is None
    assert trend([(1.0 * n, 0.0) for n in range(FEWEST)]) == (0.0, 0.0)
