from typing import Any

import pytest

from mediaserver.call.notices import Notices


class Log:
    def __init__(self) -> None:
        self.lines: list[Any] = []

    def __call__(self, text: str, /, **details: str | int) -> None:
        self.lines.append((text, details))


@pytest.fixture
def log() -> Log:
    return Log()


def test_each_kind_is_told_once_with_its_first_details(log: Log) -> None:
    notices = Notices(log)
    for number in range(1_000):
        notices.note("odd", reason=str(number))
        notices.note("even")
    assert log.lines == [("odd", {"reason": "0"}), ("even", {})]


def test_the_end_tells_how_often_each_came_again(log: Log) -> None:
    notices = Notices(log)
    for _ in range(31_219):
        notices.note("odd")
    notices.note("even")
    log.lines.clear()
    notices.end()
    assert log.lines == [("odd", {"repeated": 31_218})]


def test_a_second_end_tells_nothing(log: Log) -> None:
    notices = Notices(log)
    notices.note("odd")
    notices.note("odd")
    notices.end()
    log.lines.clear()
    notices.end()
    assert log.lines == []
