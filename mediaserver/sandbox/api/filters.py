"""Which calls a list of calls is asked for, by the query of the request."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias

from mediaserver.plivo.numbers import same_number
from mediaserver.sandbox.records.records import CallRecord


Test: TypeAlias = Callable[[CallRecord], bool]

_TEXTS: Final[Mapping[str, Callable[[CallRecord], str | None]]] = {
    "call_direction": lambda record: record.direction,
    "parent_call_uuid": lambda record: record.parent_call_uuid,
    "hangup_source": lambda record: record.hangup_source,
    "hangup_cause_code": lambda record: str(record.hangup_cause_code),
}
_NUMBERS: Final[Mapping[str, Callable[[CallRecord], str]]] = {
    "from_number": lambda record: record.from_number,
    "to_number": lambda record: record.to_number,
}
_AMOUNTS: Final[Mapping[str, Callable[[CallRecord], float | None]]] = {
    "answer_time": lambda record: record.answered,
    "end_time": lambda record: record.ended,
    "bill_duration": lambda record: record.bill_duration,
}
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "": operator.eq,
    "__gt": operator.gt,
    "__gte": operator.ge,
    "__lt": operator.lt,
    "__lte": operator.le,
}
_OTHERS: Final = ("status", "limit", "offset")

FILTERS: Final = (
    *_TEXTS,
    *_NUMBERS,
    *(amount + comparison for amount in _AMOUNTS for comparison in _COMPARISONS),
)
"""Everything that calls can be filtered by."""


class FilterError(ValueError):
    """A filter that there is not, or whose value cannot be; it says what is allowed."""


def call_filter(query: Mapping[str, str]) -> Test:
    """Return what tells the calls that a query asks for.

    Times are compared as they are shown, in whole seconds.

    Raises:
        FilterError: The query has a parameter that is none of `FILTERS`, nor one of paging, or a
            value that cannot be.

    """
    tests = [_test(name, text) for name, text in query.items() if name not in _OTHERS]
    return lambda record: all(test(record) for test in tests)


def _test(name: str, text: str) -> Test:
    if name in _TEXTS:
        field = _TEXTS[name]
        return lambda record: field(record) == text
    if name in _NUMBERS:
        number = _NUMBERS[name]
        return lambda record: same_number(number(record), text)
    bare, separator, comparison = name.partition("__")
    compare = _COMPARISONS.get(separator + comparison)
    if bare not in _AMOUNTS or compare is None:
        raise FilterError(f"calls cannot be filtered by {name!r:.40}, but by {', '.join(FILTERS)}")
    amount = _AMOUNTS[bare]
    wanted = _seconds(name, text) if bare == "bill_duration" else _time(name, text)

    def test(record: CallRecord) -> bool:
        value = amount(record)
        return value is not None and compare(math.floor(round(value, 6)), wanted)

    return test


def _seconds(name: str, text: str) -> float:
    if not text.isdecimal() or len(text) > 10:
        raise FilterError(f"{name} must be a whole number of seconds, not {text!r:.40}")
    return int(text)


def _time(name: str, text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise FilterError(
            f"{name} must be a time in UTC such as 2024-10-14 13:42:33, not {text!r:.40}"
        ) from None
