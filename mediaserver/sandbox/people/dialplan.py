"""What happens when a number is dialled: which person has it, and whether they answer.

By default every number rings briefly, answers and speaks. Numbers that end in certain four digits
do something else, for tests of what can go wrong (the digits are SIP's status code where it has
one):

| last four digits | what happens | hangup cause |
|---|---|---|
| 0486 | busy | 3010 Busy Line |
| 0480 | rings and is never answered | 3000 No Answer, or 6010 at the ring timeout |
| 0603 | rings and is declined | 3020 Rejected |
| 0404 | the number does not exist | 2010 Destination Out Of Service |
| 0700 | an answering machine answers | 9100 with `machine_detection=hangup` |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from mediaserver.plivo.numbers import phone_key
from mediaserver.sandbox.people.person import Person


Fate: TypeAlias = Literal["busy", "no answer", "reject", "out of service", "machine"]

FATES: Mapping[str, Fate] = {
    "0486": "busy",
    "0480": "no answer",
    "0603": "reject",
    "0404": "out of service",
    "0700": "machine",
}


class Dialplan:
    """Finds the person at a number.

    Args:
        person: Makes the person at every other number.
        people: Makes the person at each of certain numbers.

    """

    def __init__(
        self,
        person: Callable[[], Person] = Person.default,
        people: Mapping[str, Callable[[], Person]] | None = None,
    ) -> None:
        self._person = person
        self._people = {_known_by(number): make for number, make in (people or {}).items()}

    def fate(self, number: str) -> Fate | None:
        """Return what a number does instead of being answered by its person, if anything."""
        dialled = _known_by(number)
        return None if dialled in self._people else FATES.get(dialled[-4:])

    def person(self, number: str) -> Person:
        """Make the person at a number."""
        return self._people.get(_known_by(number), self._person)()


def _known_by(number: str) -> str:
    """Return what all forms of an address have in common, or what is no address as it stands."""
    return phone_key(number) or number
