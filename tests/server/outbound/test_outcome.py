import json

import pytest

from mediaserver.plivo.callbacks import HangupRequest
from mediaserver.plivo.models import Call
from mediaserver.server.outbound.outcome import DialReport, End, Outcome, unanswered


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"HangupCauseCode": "3000"}, Outcome.NO_ANSWER),
        ({"HangupCauseCode": "6010"}, Outcome.NO_ANSWER),
        ({"HangupCauseCode": "3010"}, Outcome.BUSY),
        ({"HangupCauseCode": "3020"}, Outcome.BUSY),
        ({"HangupCauseCode": "1000"}, Outcome.CANCELLED),
        ({"HangupCauseCode": "9100"}, Outcome.MACHINE),
        ({"HangupCauseCode": "5030", "CallStatus": "failed"}, Outcome.FAILED),
        ({"HangupCauseCode": "2000"}, Outcome.FAILED),
        ({"CallStatus": "busy"}, Outcome.BUSY),
        ({"CallStatus": "no-answer"}, Outcome.NO_ANSWER),
        ({"CallStatus": "timeout"}, Outcome.NO_ANSWER),
        ({"CallStatus": "cancel"}, Outcome.CANCELLED),
        ({"CallStatus": "failed", "HangupCause": "USER_BUSY"}, Outcome.BUSY),
        ({"HangupCause": "NO_USER_RESPONSE"}, Outcome.NO_ANSWER),
        ({"HangupCauseName": "Ring Timeout Reached", "CallStatus": "no-answer"}, Outcome.NO_ANSWER),
        ({"HangupCauseCode": "3010", "CallStatus": "no-answer"}, Outcome.BUSY),
        ({}, Outcome.FAILED),
    ],
)
def test_the_end_of_an_unanswered_call_is_understood(
    fields: dict[str, str], outcome: Outcome
) -> None:
    hangup = HangupRequest.parse({"CallUUID": "c", **fields})
    assert unanswered(End.told(hangup)) is outcome


def test_the_record_of_a_call_says_the_same_as_the_webhook() -> None:
    hangup = HangupRequest.parse(
        {"CallUUID": "c", "HangupCauseName": "Busy Line", "HangupCauseCode": "3010",
         "HangupSource": "Carrier", "Duration": "0", "BillDuration": "0", "TotalCost": "0.0"}
    )  # fmt: skip
    record = Call.model_validate(
        {"call_uuid": "c", "hangup_cause_name": "Busy Line", "hangup_cause_code": 3010,
         "hangup_source": "Carrier", "call_duration": 0, "bill_duration": 0, "total_amount": "0.0"}
    )  # fmt: skip
    told, recorded = End.told(hangup), End.recorded(record)
    assert unanswered(told) is unanswered(recorded) is Outcome.BUSY
    assert (told.cause, told.code, told.source, told.duration, told.total_cost) == (
        recorded.cause,
        recorded.code,
        recorded.source,
        recorded.duration,
        recorded.total_cost,
    )


def test_a_report_is_a_line_of_json() -> None:
    report = DialReport(to="1", from_="2", call_id="c", outcome=Outcome.NO_ANSWER)
    read = json.loads(report.to_json())
    assert (read["to"], read["from"], read["outcome"]) == ("1", "2", "no answer")
    assert "\n" not in report.to_json()


@pytest.mark.parametrize(
    ("handled", "error", "ok"), [(True, None, True), (True, "X", False), (False, None, False)]
)
def test_a_call_went_well_if_its_handler_did(handled: bool, error: str | None, ok: bool) -> None:
    report = DialReport(
        to="1",
        from_="2",
        call_id="c",
        outcome=Outcome.MACHINE,
        handled=handled,
        handler_error=error,
    )
    assert report.ok is ok
