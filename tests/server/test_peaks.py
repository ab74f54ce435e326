from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.peaks import Peaks


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 31))
def test_the_largest_value_since_a_time_is_known(values: list[int], since: int) -> None:
    peaks = Peaks()
    for time, value in enumerate(values):
        peaks.add(time, value)
    assert peaks.since(since) == max(values[since:], default=0)


def test_what_is_forgotten_is_not_understated() -> None:
    peaks = Peaks()
    for time in range(5_000):
        peaks.add(time, 5_000 - time)
    assert peaks.since(0) == 5_000
    assert peaks.since(4_999) == 1
    assert peaks.since(3_000) >= 2_000
    assert peaks.since(4_500) == 500
