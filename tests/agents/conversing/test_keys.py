import asyncio
from typing import Any

import pytest

from mediaserver.agents.conversing.keys import KEYS_PAUSE, Keys
from mediaserver.testing import run_virtual


def pressed(*presses: Any, until: float = 10.0) -> list[tuple[str, float]]:
    """Press keys at their times; return what was entered, and when."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        keys = Keys(lambda text: entered.append((text, loop.time())))
        for at, digit in presses:
            await asyncio.sleep(at - loop.time())
            keys.press(digit)
        await asyncio.sleep(until - loop.time())
        assert not keys

    entered: list[Any] = []
    run_virtual(main())
    return entered


def test_keys_are_entered_after_a_pause() -> None:
    assert pressed((1.0, "1"), (2.0, "2")) == [("12", pytest.approx(2.0 + KEYS_PAUSE))]


def test_a_longer_pause_makes_two_of_them() -> None:
    assert [keys for keys, _ in pressed((1.0, "1"), (3.0, "2"))] == ["1", "2"]


def test_hash_ends_them_at_once() -> None:
    assert pressed((1.0, "1"), (1.5, "#")) == [("1", 1.5)]


def test_hash_alone_is_a_key() -> None:
    assert pressed((1.0, "#"), (2.0, "*")) == [("#", 1.0), ("*", pytest.approx(2.0 + KEYS_PAUSE))]


def test_they_are_waited_for_until_they_are_forgotten() -> None:
    async def main() -> None:
        keys = Keys(entered.append)
        keys.press("1")
        assert keys
        keys.forget()
        assert not keys
        await asyncio.sleep(5.0)

    entered: list[Any] = []
    run_virtual(main())
    assert entered == []
