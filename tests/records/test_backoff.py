from mediaserver.records.backoff import delay_after


def test_delays_double_up_to_the_longest() -> None:
    delays = [
        delay_after(failures, first=0.5, longest=5.0, jitter=lambda: 0.0)
        for failures in (1, 2, 3, 4, 5, 1000)
    ]
    assert delays == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_delays_are_shortened_by_up_to_a_fifth() -> None:
    assert delay_after(1, first=10.0, longest=60.0, jitter=lambda: 1.0) == 8.0
