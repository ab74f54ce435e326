from __future__ import annotations

from typing import Any

from mediaserver.sandbox.calls.callbacks import call_params, hangup_params
from mediaserver.sandbox.records.records import CallRecord
from tests.sandbox.conftest import call_record


def call(**more: Any) -> CallRecord:
    return call_record(**{"request_uuid": "r1", "initiated": 1_700_000_000.25, **more})


def test_an_outbound_call_is_the_a_leg() -> None:
    params = call_params(call(), "MA1", "StartApp")

    assert (params["ALegUUID"], params["ALegRequestUUID"]) == ("c1", "r1")
    assert "CallerName" not in params


def test_an_inbound_call_has_the_callers_name_or_number() -> None:
    named = call_params(call(direction="inbound", caller_name="Amal"), "MA1", "StartApp")
    unnamed = call_params(call(direction="inbound"), "MA1", "StartApp")

    assert (named["CallerName"], unnamed["CallerName"]) == ("Amal", "14155550100")
    assert "ALegUUID" not in named


def test_a_leg_names_its_parent_and_a_call_its_headers() -> None:
    params = call_params(
        call(parent_call_uuid="c0", headers={"X-PH-ticket": "17"}), "MA1", "StartApp"
    )

    assert (params["ParentCallUUID"], params["X-PH-ticket"]) == ("c0", "17")


def test_the_hangup_url_is_told_how_long_it_was() -> None:
    params = hangup_params(call(answered=1_700_000_001.0, ended=1_700_000_009.0), "MA1")

    assert (params["Event"], params["Duration"]) == ("Hangup", "8")
    assert params["EndTime"] == "2023-11-14 22:13:29"
