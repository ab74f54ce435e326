from __future__ import annotations

import pytest

from mediaserver.sandbox.people import dialplan
from mediaserver.sandbox.people.dialplan import FATES, Dialplan
from mediaserver.sandbox.people.person import Person


def test_certain_last_digits_have_a_fate() -> None:
    assert Dialplan().fate("+1 (415) 555-0486") == "busy"
    assert Dialplan().fate("+14155550123") is None


def test_every_fate_is_documented() -> None:
    assert dialplan.__doc__ is not None
    assert all(f"| {ending} |" in dialplan.__doc__ for ending in FATES)


def test_somebody_at_a_number_comes_before_its_fate() -> None:
    somebody = Person()
    plan = Dialplan(people={"+14155550486": lambda: somebody})

    assert plan.fate("14155550486") is None
    assert plan.person("14155550486") is somebody


def test_everybody_else_is_the_same() -> None:
    anybody = Person()

    assert Dialplan(lambda: anybody).person("+14155550123") is anybody


@pytest.mark.parametrize(
    ("known", "dialled"),
    [
        ("+1 415-555 0123", "14155550123"),
        ("14155550123", "sip:14155550123@phone.plivo.com"),
        ("sip:amal@phone.plivo.com", "sip:amal@phone.plivo.com"),
    ],
)
def test_a_number_is_known_by_its_digits_and_a_sip_user_by_the_address(
    known: str, dialled: str
) -> None:
    somebody = Person()

    assert Dialplan(people={known: lambda: somebody}).person(dialled) is somebody
