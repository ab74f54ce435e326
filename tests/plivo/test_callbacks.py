from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.plivo.callbacks import (
    STATUS_KINDS,
    AnswerRequest,
    CallbackError,
    HangupRequest,
    MachineDetection,
    RingRequest,
    StreamStatusRequest,
    UnknownEventError,
    parse_callback,
)


ANSWER = {
    "CallUUID": "c1",
    "From": "14155550100",
    "To": "+14155550199",
    "Direction": "inbound",
    "CallStatus": "ringing",
    "Event": "StartApp",
    "RequestUUID": "r1",
    "ALegUUID": "c1",
    "ALegRequestUUID": "r1",
    "ParentCallUUID": "c0",
    "ForwardedFrom": "14155550142",
    "CallerName": "Zoë",
    "STIRVerification": "Verified",
    "SessionStart": "2024-10-14 13:42:33.123456",
    "BillRate": "0.0055",
    "ParentAuthID": "MA1",
    "SIP-H-To": "<sip:a@b>",
    "X-PH-key": "value",
    "Novelty": "kept",
}
# As Plivo's console logged it.
DROPPED = {
    "CallUUID": "7aea0680-1f8c-46c2-a04f-990e2e0d52eb",
    "Error": "connection disconnected with the remote service",
    "Event": "DroppedStream",
    "From": "14849386985",
    "ParentAuthID": "MA1",
    "ServiceURL": "wss://yourstream.example.com/audiostream",
    "StreamID": "26b95870-2b2f-45be-88dc-aedd0fcccec6",
    "Timestamp": "2024-10-14 13:42:33",
    "To": "sip:something@phone.plivo.com",
    "status_callback_method": "POST",
    "status_callback_url": "https://yourdomain.example.com/callbacks",
}
STOPPED = {
    "CallUUID": "c1",
    "StreamID": "s1",
    "Event": "stopped",
    "Timestamp": "2024-10-14T15:42:33+02:00",
    "From": "+14155551234",
    "To": "+14155550199",
    "Direction": "inbound",
    "StatusReason": "completed",
    "Duration": "27",
}


# Calls


def test_every_field_of_an_answer_request_is_read() -> None:
    request = AnswerRequest.parse(ANSWER)
    assert request == AnswerRequest(
        call_id="c1",
        caller="14155550100",
        called="+14155550199",
        direction="inbound",
        call_status="ringing",
        request_id="r1",
        a_leg_id="c1",
        a_leg_request_id="r1",
        parent_call_id="c0",
        account_id="MA1",
        forwarded_from="14155550142",
        caller_name="Zoë",
        stir_verification="Verified",
        session_start="2024-10-14 13:42:33.123456",
        bill_rate="0.0055",
        headers={"SIP-H-To": "<sip:a@b>", "X-PH-key": "value"},
    )
    assert request.fields["Novelty"] == "kept"
    assert not request.is_outbound


def test_an_answer_request_is_written_as_it_is_read() -> None:
    assert AnswerRequest.parse(ANSWER).to_form() == {
        name: value for name, value in ANSWER.items() if name != "Novelty"
    }


def test_a_hangup_says_why_and_how_long() -> None:
    form = {
        **ANSWER,
        "Event": "Hangup",
        "HangupCause": "NORMAL_CLEARING",
        "HangupCauseCode": "4000",
        "HangupCauseName": "Normal Hangup",
        "HangupSource": "Caller",
        "Duration": "27",
        "BillDuration": "60",
        "TotalCost": "0.0055",
        "StartTime": "2024-10-14 13:42:33",
        "AnswerTime": "2024-10-14 13:42:35",
        "EndTime": "2024-10-14 13:43:02",
    }
    request = parse_callback(form)
    assert isinstance(request, HangupRequest)
    assert (request.hangup_cause_code, request.duration, request.bill_duration) == (4000, 27, 60)
    assert request.hangup_source == "Caller"
    assert HangupRequest.parse(request.to_form()) == request


@pytest.mark.parametrize(("text", "number"), [("27.9", 27), ("-1", -1), ("soon", None), ("", None)])
def test_a_number_that_is_none_is_no_reason_to_refuse(text: str, number: int | None) -> None:
    assert HangupRequest.parse({"CallUUID": "c1", "Duration": text}).duration == number


def test_names_of_fields_are_read_in_any_case_and_values_without_outer_space() -> None:
    request = AnswerRequest.parse({"calluuid": " c1 ", "FROM": " 1415 ", "sip-h-x": "y"})
    assert (request.call_id, request.caller, request.headers) == ("c1", "1415", {"sip-h-x": "y"})


@pytest.mark.parametrize("form", [{}, {"CallUUID": " "}, {"From": "1415"}])
def test_a_request_about_no_call_is_none_of_plivos(form: dict[str, str]) -> None:
    with pytest.raises(
        CallbackError, match=r"CallUUID is missing\. Plivo sends CallUUID, From, To"
    ):
        parse_callback(form)


def test_an_absurdly_long_field_is_refused() -> None:
    with pytest.raises(CallbackError, match="To has 300 characters; at most 256"):
        AnswerRequest.parse({**ANSWER, "To": "1" * 300})


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, AnswerRequest),
        ({"Event": ""}, AnswerRequest),
        ({"Event": "Redirect", "CallStatus": "in-progress"}, AnswerRequest),
        ({"Event": "Ring"}, RingRequest),
        ({"Event": "MachineDetection", "Machine": "true"}, MachineDetection),
        ({"Event": "hangup"}, HangupRequest),
        ({"CallStatus": "Completed"}, HangupRequest),
        ({"CallStatus": "no-answer", "Event": ""}, HangupRequest),
        ({"StreamID": "s1", "Event": "StartStream"}, StreamStatusRequest),
        ({"StreamID": "s1", "Event": "failed", "CallStatus": "completed"}, StreamStatusRequest),
    ],
)
def test_a_request_is_what_it_says_it_is(changes: dict[str, str], kind: Any) -> None:
    assert type(parse_callback({**ANSWER, **changes})) is kind


@pytest.mark.parametrize(
    ("machine", "is_machine"), [("true", True), ("True", True), ("false", False), ("", False)]
)
def test_a_machine_is_told_from_a_person(machine: str, is_machine: bool) -> None:
    assert MachineDetection.parse({"CallUUID": "c1", "Machine": machine}).is_machine is is_machine


def test_an_outbound_call_is_told_by_its_direction() -> None:
    assert AnswerRequest(call_id="c1", direction="Outbound").is_outbound
    assert not AnswerRequest(call_id="c1").is_outbound


# Streams


def test_a_live_callback_is_read() -> None:
    assert StreamStatusRequest.parse(DROPPED) == StreamStatusRequest(
        kind="dropped",
        call_id="7aea0680-1f8c-46c2-a04f-990e2e0d52eb",
        stream_id="26b95870-2b2f-45be-88dc-aedd0fcccec6",
        error="connection disconnected with the remote service",
        timestamp=datetime(2024, 10, 14, 13, 42, 33, tzinfo=UTC),
        service_url="wss://yourstream.example.com/audiostream",
        caller="14849386985",
        called="sip:something@phone.plivo.com",
        account_id="MA1",
        status_callback_url="https://yourdomain.example.com/callbacks",
        status_callback_method="POST",
    )


def test_a_documented_callback_is_read() -> None:
    status = StreamStatusRequest.parse(STOPPED)
    assert (status.kind, status.reason, status.duration) == ("stopped", "completed", 27)
    assert status.timestamp == datetime(2024, 10, 14, 13, 42, 33, tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("StartStream", "connected"),
        ("started", "connected"),
        ("Stream connected", "connected"),
        ("STOPSTREAM", "stopped"),
        ("Stream stopped", "stopped"),
        ("Stream timeout", "timeout"),
        ("Stream failed", "failed"),
        ("DegradedStream", "degraded"),
        ("PlayedStream", "played"),
        ("ClearedAudio", "cleared"),
    ],
)
def test_every_name_of_an_event_is_known_in_any_case(event: str, kind: str) -> None:
    assert StreamStatusRequest.parse({**STOPPED, "Event": event, "StatusReason": ""}).kind == kind


@pytest.mark.parametrize("more", [{"StatusReason": "timeout"}, {"Error": "Stream timeout"}])
def test_a_stream_that_was_stopped_by_its_timeout_has_timed_out(more: dict[str, str]) -> None:
    assert StreamStatusRequest.parse({**STOPPED, **more}).kind == "timeout"


def test_both_schemes_tell_the_same_with_the_same_key() -> None:
    a = StreamStatusRequest.parse({**STOPPED, "Event": "StopStream"})
    b = StreamStatusRequest.parse({**STOPPED, "Timestamp": "2024-10-14T13:42:40Z"})
    assert a.idempotency_key == b.idempotency_key


def test_checkpoints_and_stages_of_degradation_have_keys_of_their_own() -> None:
    keys = {
        StreamStatusRequest(kind="played", call_id="c", stream_id="s", name="a").idempotency_key,
        StreamStatusRequest(kind="played", call_id="c", stream_id="s", name="b").idempotency_key,
        StreamStatusRequest(
            kind="degraded", call_id="c", stream_id="s", error="30 %"
        ).idempotency_key,
        StreamStatusRequest(
            kind="degraded", call_id="c", stream_id="s", error="60 %"
        ).idempotency_key,
    }
    assert len(keys) == 4


def test_a_checkpoint_name_that_is_used_again_has_another_key() -> None:
    def played(second: int) -> StreamStatusRequest:
        form = {"CallUUID": "c", "StreamID": "s", "Event": "PlayedStream", "Name": "a"}
        return StreamStatusRequest.parse({**form, "Timestamp": f"2024-10-14 13:42:{second}"})

    assert played(40).idempotency_key == played(40).idempotency_key
    assert played(40).idempotency_key != played(41).idempotency_key


def test_an_unknown_event_says_which_there_are() -> None:
    with pytest.raises(
        UnknownEventError, match=r"'WarmedStream' to .* but StartStream, StopStream"
    ):
        parse_callback({**STOPPED, "Event": "WarmedStream"})


def test_a_status_callback_has_a_stream() -> None:
    with pytest.raises(CallbackError, match="StreamID is missing"):
        parse_callback({"CallUUID": "c1", "Event": "StartStream"})


@pytest.mark.parametrize("text", ["", "yesterday", "0001-01-01T00:00:00+23:00"])
def test_a_time_that_is_none_is_no_reason_to_refuse(text: str) -> None:
    assert StreamStatusRequest.parse({**STOPPED, "Timestamp": text}).timestamp is None


def test_a_live_callback_is_written_as_it_was_logged() -> None:
    assert StreamStatusRequest.parse(DROPPED).to_form("A") == DROPPED


def test_a_documented_callback_is_written_as_documented() -> None:
    assert StreamStatusRequest.parse({**STOPPED, "From": "14155551234"}).to_form("B") == {
        **STOPPED,
        "Timestamp": "2024-10-14T13:42:33Z",
    }


def test_there_is_no_third_scheme() -> None:
    scheme: Any = "C"
    with pytest.raises(ValueError, match="a scheme is 'A' or 'B', not 'C'"):
        StreamStatusRequest.parse(STOPPED).to_form(scheme)


SAME = {"A": {"failed": "dropped"}, "B": {"dropped": "failed"}}


@pytest.mark.parametrize("scheme", ["A", "B"])
@pytest.mark.parametrize("kind", STATUS_KINDS)
def test_what_is_written_can_be_read(kind: Any, scheme: Any) -> None:
    status = StreamStatusRequest(
        kind=kind, call_id="c", stream_id="s", name="n", error="e", caller="+1415"
    )
    again = StreamStatusRequest.parse(status.to_form(scheme))
    assert again.kind == SAME[scheme].get(kind, kind)
    assert (again.call_id, again.stream_id, again.name, again.error) == ("c", "s", "n", "e")
    assert again.caller == ("1415" if scheme == "A" else "+1415")


@given(
    st.dictionaries(
        st.sampled_from([*ANSWER, *DROPPED, *STOPPED]) | st.text(max_size=9), st.text(max_size=30)
    )
)
def test_any_form_is_read_or_refused(form: dict[str, str]) -> None:
    try:
        callback = parse_callback(form)
    except CallbackError as error:
        said = str(error)
    else:
        said = callback.call_id
    assert said.strip()
