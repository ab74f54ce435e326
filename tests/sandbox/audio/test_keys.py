from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.sandbox.audio.keys import KEY_INTERVAL, Keypad, check_digits


def test_the_first_key_is_pressed_at_once_and_the_next_a_moment_later() -> None:
    keypad = Keypad()
    keypad.press("12", 3.0)
    assert list(keypad.due(3.0)) == ["1"]
    assert list(keypad.due(3.0 + KEY_INTERVAL - 0.001)) == []
    assert list(keypad.due(3.0 + KEY_INTERVAL)) == ["2"]
    assert not keypad


@given(
    st.lists(
        st.tuples(st.text("0123456789*#ABCD", min_size=1, max_size=4), st.integers(0, 30)),
        max_size=10,
    )
)
def test_keys_come_in_the_order_pressed_and_none_before_its_turn(
    presses: list[tuple[str, int]],
) -> None:
    keypad, tick = Keypad(), 0
    earliest: list[float] = []
    pressed: list[tuple[float, str]] = []
    for digits, ticks in [*presses, ("1", 300)]:
        keypad.press(digits, tick / 50)
        earliest += [tick / 50 + index * KEY_INTERVAL for index in range(len(digits))]
        for _ in range(ticks):
            pressed += [(tick / 50, digit) for digit in keypad.due(tick / 50)]
            tick += 1
    assert [digit for _, digit in pressed] == [*"".join(digits for digits, _ in presses), "1"]
    assert all(time > least - 1e-3 for (time, _), least in zip(pressed, earliest, strict=True))


def test_keys_that_are_cleared_are_not_pressed() -> None:
    keypad = Keypad()
    keypad.press("12", 0.0)
    keypad.clear()
    assert not keypad
    assert list(keypad.due(9.0)) == []


@pytest.mark.parametrize("digits", ["", "12E", "a", " "])
def test_only_keys_of_a_phone_can_be_pressed(digits: str) -> None:
    check_digits("0123456789*#ABCD")
    with pytest.raises(ValueError, match="digits must be of 0-9"):
        check_digits(digits, "digits")
