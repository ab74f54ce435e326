"""Which calls this member has, as it tells the fleet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mediaserver.server.fleet.notes import Note


class Register:
    """The claims and the calls of one member.

    A beat says which calls the member has. A claim that is under way meanwhile, or that begins
    later, must not be undone by it: so claims are numbered, and a beat says up to which number it
    knows what became of them.
    """

    def __init__(self) -> None:
        self._number = 0
        self._numbers: dict[str, int] = {}
        self._under_way: dict[int, str] = {}

    @property
    def last(self) -> int:
        """The highest number up to which no claim is under way."""
        return min(self._under_way) - 1 if self._under_way else self._number

    def begin(self, call: str, route: str) -> Note:
        """Begin to claim the places of a call, until it is settled."""
        self._number += 1
        self._numbers[call] = self._number
        self._under_way[self._number] = call
        return Note(self._number, live=False, route=route)

    def settle(self, call: str) -> None:
        """Note that it is decided what becomes of a call: it is among the member's calls or not."""
        for number in [number for number, each in self._under_way.items() if each == call]:
            del self._under_way[number]

    def calls(self, kept: Mapping[str, str], live: Iterable[tuple[str, str]]) -> dict[str, Note]:
        """Return all calls that the member has.

        Args:
            kept: The routes of the calls whose streams have not come.
            live: The calls whose streams are connected, with their routes.

        """
        numbers = self._numbers
        calls = {call: Note(numbers.get(call, 0), live=False, route=r) for call, r in kept.items()}
        calls |= {call: Note(numbers.get(call, 0), live=True, route=r) for call, r in live}
        waiting = self._under_way.values()
        self._numbers = {
            call: number for call, number in numbers.items() if call in calls or call in waiting
        }
        return calls
