from mediaserver.server.recent import Recent


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_value_is_kept_for_its_time():
    clock = Clock()
    recent = Recent(10, 5, clock=clock)
    recent["a"] = 1
    clock.now = 9.9
    assert recent.get("a") == 1
    assert "a" in recent
    clock.now = 10
    assert recent.get("a") is None
    assert "a" not in recent
    assert len(recent) == 0


def test_there_are_never_more_than_the_limit_and_the_oldest_goes_first():
    recent = Recent(10, 2, clock=Clock())
    for key in "abc":
        recent[key] = key
    assert len(recent) == 2
    assert "a" not in recent
    assert "c" in recent


def test_a_value_that_is_set_again_is_new_again():
    clock = Clock()
    recent = Recent(10, 2, clock=clock)
    recent["a"] = 1
    clock.now = 5
    recent["a"] = 2
    clock.now = 12
    assert recent.get("a") == 2
    assert len(recent) == 1


def test_a_value_can_be_taken_out():
    recent = Recent(10, 2, clock=Clock())
    recent["a"] = 1
    assert recent.pop("a") == 1
    assert recent.pop("a") is None
