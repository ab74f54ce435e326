from mediaserver.server.fleet.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock, failures=2, seconds=1.0)
    assert not breaker.failed()
    assert breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = Breaker(Clock(), failures=2)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.allows()
    breaker.failed()
    assert breaker.state == "open"
    assert breaker.openings == 1


def test_open_it_lets_nothing_through() -> None:
    breaker = opened(Clock())
    assert not breaker.allows()
    assert not breaker.allows(trial=True)


def test_half_open_it_lets_through_only_a_trial() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.0
    assert breaker.state == "half-open"
    assert breaker.allows(trial=True)
    assert not breaker.allows()


def test_a_trial_that_succeeds_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.0
    assert breaker.succeeded()
    assert breaker.allows()
    assert not breaker.succeeded()


def test_a_trial_that_fails_opens_it_for_the_same_time_again() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.5
    assert not breaker.failed()
    clock.now += 0.9
    assert not breaker.allows(trial=True)
    clock.now += 0.1
    assert breaker.allows(trial=True)
    assert breaker.openings == 1


def test_requests_that_fail_late_do_not_keep_it_open_longer() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 0.9
    breaker.failed()
    clock.now += 0.1
    assert breaker.allows(trial=True)
