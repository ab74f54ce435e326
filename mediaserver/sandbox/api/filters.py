"""Which calls a list of calls is asked for, by the query of the request."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from mediaserver.plivo.numbers import same_number
from mediaserver.sandbox.api.objects import Paging
from mediaserver.sandbox.records.records import CallRecord


_VALUES: Final[Mapping[str, Callable[[CallRecord], Any]]] = {
    "call_direction": lambda record: record.direction,
    "parent_call_uuid": lambda record: record.parent_call_uuid,
    "hangup_source": lambda record: record.hangup_source,
    "hangup_cause_code": lambda record: str(record.hangup_cause_code),
    "from_number": lambda record: record.from_number,
    "to_number": lambda record: record.to_number,
    "answer_time": lambda record: _shown(record.answered),
    "end_time": lambda record: _shown(record.end_shown),
    "bill_duration": lambda record: record.bill_duration,
}
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def _shown(epoch: float | None) -> int | None:
    # Times are compared as they are shown, in whole seconds.
    return None if epoch is None else math.floor(round(epoch, 6))


def _epoch(text: Any) -> float:
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"must be a time in UTC such as 2024-10-14 13:42:33, not {text!r:.40}"
        ) from None


_Time: TypeAlias = (
    Annotated[
        float, BeforeValidator(_epoch), WithJsonSchema({"type": "string", "format": "date-time"})
    ]
    | None
)
_Seconds: TypeAlias = Annotated[int, Field(ge=0)] | None


class CallQuery(Paging):
    """Query of a list of calls: which calls, and which page of them."""

    status: Literal["live", "queued"] | None = None
    call_direction: str | None = None
    parent_call_uuid: str | None = None
    hangup_source: str | None = None
    hangup_cause_code: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    answer_time: _Time = None
    answer_time__gt: _Time = None
    answer_time__gte: _Time = None
    answer_time__lt: _Time = None
    answer_time__lte: _Time = None
    end_time: _Time = None
    end_time__gt: _Time = None
    end_time__gte: _Time = None
    end_time__lt: _Time = None
    end_time__lte: _Time = None
    bill_duration: _Seconds = None
    bill_duration__gt: _Seconds = None
    bill_duration__gte: _Seconds = None
    bill_duration__lt: _Seconds = None
    bill_duration__lte: _Seconds = None

    @model_validator(mode="before")
    @classmethod
    def _filters_are_known(cls, query: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in query.keys() - cls.model_fields.keys():
            raise ValueError(
                f"calls cannot be filtered by {name!r:.40}, but by {', '.join(FILTERS)}"
            )
        return query

    def matches(self, record: CallRecord) -> bool:
        """Tell whether the query asks for a call, whatever `status` and the page are."""
        return all(self._passes(name, record) for name in FILTERS)

    def _passes(self, name: str, record: CallRecord) -> bool:
        wanted = getattr(self, name)
        if wanted is None:
            return True
        field, _, comparison = name.partition("__")
        compare = same_number if field.endswith("_number") else _COMPARISONS[comparison]
        value = _VALUES[field](record)
        return value is not None and compare(value, wanted)


FILTERS: Final = tuple(
    name for name in CallQuery.model_fields if name not in ("limit", "offset", "status")
)
"""Everything that calls can be filtered by."""
