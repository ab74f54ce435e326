from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mediaserver.sandbox.api.filters import FILTERS, CallQuery
from mediaserver.sandbox.records.records import CallRecord
from mediaserver.sandbox.records.timestamps import offset, spaced, spaced_precise
from tests.sandbox.conftest import call_record


ENDED = 1_700_000_009.5


def call(**more: Any) -> CallRecord:
    return call_record(
        **{
            "initiated": 1_700_000_000.25,
            "answered": 1_700_000_001.75,
            "ended": ENDED,
            "bill_duration": 9,
            "hangup_source": "Caller",
            "hangup_cause_code": 4000,
            **more,
        }
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, True),
        ({"limit": "1", "offset": "0"}, True),
        ({"call_direction": "outbound", "hangup_cause_code": "4000"}, True),
        ({"call_direction": "outbound", "hangup_cause_code": "4010"}, False),
        ({"from_number": "1 (415) 555-0100"}, True),
        ({"to_number": "14155550100"}, False),
        ({"parent_call_uuid": "c0"}, False),
        ({"bill_duration": "9"}, True),
        ({"bill_duration__gt": "9"}, False),
        ({"bill_duration__gte": "9", "bill_duration__lte": "9"}, True),
        ({"bill_duration__lt": "9"}, False),
        ({"end_time": "2023-11-14 22:13:29"}, True),
        ({"end_time__gt": "2023-11-14 22:13:29"}, False),
        ({"end_time__gte": "2023-11-14 22:13:29"}, True),
        ({"end_time__lt": "2023-11-14 22:14"}, True),
        ({"answer_time__lte": "2023-11-14 22:13:20"}, False),
    ],
)
def test_calls_are_found_by_what_is_asked_for(query: dict[str, str], found: bool) -> None:
    assert CallQuery.model_validate(query).matches(call()) is found


def test_a_call_that_was_never_answered_has_no_answer_time() -> None:
    assert not CallQuery.model_validate({"answer_time__lt": "2030-01-01 00:00"}).matches(
        call(answered=None)
    )


@pytest.mark.parametrize("shown", [offset, spaced])
@given(time=st.floats(0, 4e9))
def test_a_call_is_found_by_the_time_that_it_shows(shown: Callable[..., Any], time: float) -> None:
    ended = call(ended=time)
    assert CallQuery.model_validate({"end_time": shown(ended.end_shown)}).matches(ended)


def test_fractions_of_a_second_are_read() -> None:
    assert CallQuery.model_validate({"end_time__lt": spaced_precise(ENDED)}).matches(call())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("end_time__after", "2023-11-14 22:13:29", "end_time__gte"),
        ("call_direction__gt", "inbound", "cannot be filtered by"),
        ("subaccount", "SA1", "cannot be filtered by 'subaccount'"),
        ("end_time__gt", "yesterday", "such as 2024-10-14 13:42:33, not 'yesterday'"),
        ("bill_duration", "-1", "greater than or equal to 0"),
        ("bill_duration", "1.5", "valid integer"),
    ],
)
def test_what_calls_cannot_be_filtered_by_is_refused(name: str, value: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        CallQuery.model_validate({name: value})


@given(st.sampled_from(FILTERS), st.text(max_size=40))
def test_any_value_is_taken_or_refused(name: str, value: str) -> None:
    try:
        found = CallQuery.model_validate({name: value}).matches(call())
    except ValidationError:
        return
    assert found in (True, False)
