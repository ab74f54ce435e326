from typing import Any

from structlog.testing import capture_logs

from mediaserver.call import Turn
from mediaserver.server.observers import CallObservers


class Listener:
    def __init__(self, error: Exception | None = None) -> None:
        self.heard: list[Any] = []
        self._error = error

    def call_started(self, call: Any) -> None:
        self._take("started", call)

    def turn_reported(self, call: Any, turn: Turn) -> None:
        self._take("turn", call, turn)

    def call_ended(self, call: Any, report: Any) -> None:
        self._take("ended", call, report)

    def _take(self, *heard: Any) -> None:
        self.heard.append(heard)
        if self._error is not None:
            raise self._error


def tell(observers: CallObservers, call: Any, turn: Turn) -> None:
    observers.call_started(call)
    observers.turn_reported(call, turn)
    observers.call_ended(call, None)


def test_all_are_told_in_order() -> None:
    observers, listeners = CallObservers(), (Listener(), Listener())
    assert not observers
    for listener in listeners:
        observers.add(listener)
    assert observers
    call, turn = object(), Turn(number=1)
    tell(observers, call, turn)
    for listener in listeners:
        assert listener.heard == [("started", call), ("turn", call, turn), ("ended", call, None)]


def test_one_that_fails_is_logged_and_the_others_are_told() -> None:
    observers, other = CallObservers(), Listener()
    observers.add(Listener(LookupError("no database")))
    observers.add(other)
    with capture_logs() as logs:
        tell(observers, object(), Turn(number=1))
    assert len(other.heard) == 3
    assert [each["observer"] for each in logs] == ["Listener"] * 3
