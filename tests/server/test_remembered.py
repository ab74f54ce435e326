import tracemalloc
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.remembered import ENTRY_BYTES, Remembered, form_bytes


def make(most: int = 1_000, clock: Callable[[], float] = lambda: 0.0) -> Remembered:
    return Remembered(60.0, limit=most * ENTRY_BYTES, clock=clock)


def test_what_came_is_known_until_it_is_discarded() -> None:
    seen = make()
    assert "a" not in seen
    seen.add("a")
    assert "a" in seen
    seen.discard("a")
    assert "a" not in seen
    seen.discard("a")


def test_it_is_known_for_a_while() -> None:
    now = 0.0
    seen = make(clock=lambda: now)
    seen.add("a")
    now = 59.9
    seen.add("b")
    assert "a" in seen
    now = 60.0 * 9 / 8
    assert "a" not in seen
    seen.add("c")
    assert "b" in seen


def test_what_comes_again_is_known_from_then_on() -> None:
    now = 0.0
    seen = make(clock=lambda: now)
    seen.add("a")
    now = 59.0
    seen.add("a")
    now = 118.0
    assert "a" in seen


@given(
    adds=st.lists(st.tuples(st.integers(0, 9), st.floats(0, 20)), max_size=60),
    wait=st.floats(0, 70),
)
def test_each_is_known_for_the_time_and_hardly_longer(
    adds: list[tuple[int, float]], wait: float
) -> None:
    now = 0.0
    seen = make(clock=lambda: now)
    came: dict[int, float] = {}
    for key, pause in adds:
        now += pause
        seen.add(str(key))
        came[key] = now
    now += wait
    for key, at in came.items():
        if now - at < 60:
            assert str(key) in seen
        elif now - at > 60 * 9 / 8 + 0.001:
            assert str(key) not in seen


@given(most=st.integers(8, 60), count=st.integers(0, 200))
def test_the_oldest_are_forgotten_where_there_are_too_many(most: int, count: int) -> None:
    seen = make(most)
    for number in range(count):
        seen.add(str(number))
    known = [number for number in range(count) if str(number) in seen]
    assert known == list(range(count - len(known), count))
    assert min(count, most // 8 * 7) <= len(known) <= most


def test_memory_is_bounded_whatever_comes() -> None:
    # As large as the limits are: small sets have more room to spare.
    limit = 8_388_608
    tracemalloc.start()
    try:
        seen = Remembered(60.0, limit=limit, clock=lambda: 0.0)
        for number in range(90_000):
            seen.add(f"{number}x")
        assert tracemalloc.get_traced_memory()[1] <= limit
    finally:
        tracemalloc.stop()
    assert "89999x" in seen


def test_text_that_is_no_unicode_is_a_key_as_well() -> None:
    seen = make()
    seen.add("\ud800")
    assert "\ud800" in seen


def test_the_memory_of_a_form_grows_with_its_fields_and_their_length() -> None:
    few, many = {"a": "x" * 1_000}, {str(n): "x" for n in range(100)}
    assert form_bytes({}) < form_bytes(few)
    assert form_bytes(few) > 1_000
    assert form_bytes(many) > 100 * 100
