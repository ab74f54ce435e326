"""What Plivo's SDKs for Go, Ruby and PHP send, and which fields of the answers they read.

The rows are facts about plivo-go 7.60.2, plivo-ruby 4.63.4 and plivo-php 4.70: the requests were
recorded when the SDKs were run against a sandbox, the fields are those that their sources read. The
SDKs for Python and Node.js run in `interop`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from httpx import AsyncClient, Response

from tests.sandbox.api.conftest import OnApi


@dataclass(frozen=True)
class Asked:
    """One request: the names in braces are filled in from answers before."""

    method: str
    path: str
    body: str = ""
    status: int = 200
    reads: Mapping[str, type] = field(default_factory=dict)
    keeps: Mapping[str, str] = field(default_factory=dict)
    """Names for later requests, and the fields of the answer that they stand for."""


def texts(*names: str) -> dict[str, type]:
    return dict.fromkeys(names, str)


DONE = texts("api_id", "message")
CREATED = {"api_id": str, "message": str, "request_uuid": str}
STREAM = {
    **texts("audio_track", "billed_amount", "call_uuid", "created_at", "end_time"),
    **texts("plivo_auth_id", "resource_uri", "service_url", "start_time", "status"),
    **texts("status_callback_url", "stream_id", "api_id"),
    "bidirectional": bool,
    "bill_duration": int,
}
GO_STREAM = STREAM | texts("rounded_bill_duration")
CALL = {
    **texts("answer_time", "call_direction", "call_state", "call_uuid", "conference_uuid"),
    **texts("end_time", "from_number", "hangup_cause_name", "hangup_source", "initiation_time"),
    **texts("parent_call_uuid", "resource_uri", "to_number", "total_amount", "total_rate"),
    **texts("stir_verification", "voice_network_group", "source_ip", "cnam_lookup"),
    **texts("stir_attestation"),
    **dict.fromkeys(("bill_duration", "billed_duration", "call_duration"), int),
    "hangup_cause_code": int,
}
LIVE = texts("from", "to", "call_uuid", "caller_name", "session_start", "call_status") | texts(
    "stir_verification"
)
APPLICATION = {
    **texts("answer_method", "answer_url", "app_id", "app_name", "application_type"),
    **texts("fallback_answer_url", "fallback_method", "hangup_url", "hangup_method"),
    **texts("message_method", "message_url", "resource_uri", "sip_uri", "sub_account"),
    **dict.fromkeys(("default_app", "default_endpoint_app", "enabled", "public_uri"), bool),
    **dict.fromkeys(("log_incoming_message", "log_incoming_messages"), bool),
}
NUMBER = {
    **texts("added_on", "alias", "application", "carrier", "monthly_rental_rate", "number"),
    **texts("number_type", "region", "resource_uri", "sms_rate", "sub_account", "voice_rate"),
    **texts("tendlc_campaign_id", "tendlc_registration_status", "toll_free_sms_verification"),
    **texts("toll_free_sms_verification_id", "toll_free_sms_verification_order_status"),
    **texts("renewal_date"),
    **dict.fromkeys(("active", "sms_enabled", "voice_enabled"), bool),
}
RECORDING = texts("api_id", "message", "url", "recording_id")


def course(
    create: str, stream: str, other_stream: str, *, nothing: str, end: str, steps: dict[str, str]
) -> list[Asked]:
    """Return what each SDK asks for from a call's beginning to its end, in its own words.

    Args:
        create: Body that makes a call.
        stream: Body that starts a stream with every parameter.
        other_stream: Body that starts a stream with none.
        nothing: Body of a request to end something.
        end: What its bodies end with.
        steps: Its bodies for the rest, by path.

    """
    call, stream_path = "Call/{call}/", "Call/{call}/Stream/"
    return [
        Asked("POST", "Call/", create + end, 201, CREATED, {"call": "request_uuid"}),
        Asked("GET", "Call/?status=live", reads={"api_id": str, "calls": list}),
        Asked("GET", "Call/?status=queued", reads={"api_id": str, "calls": list}),
        Asked("GET", call + "?status=live", reads=LIVE),
        Asked("POST", stream_path, stream + end, 201, DONE | texts("stream_id"),
              {"stream": "stream_id"}),
        Asked("GET", stream_path, reads={"api_id": str, "meta": dict, "objects": list}),
        Asked("GET", stream_path + "{stream}/", reads=GO_STREAM),
        Asked("GET", stream_path + "{stream}", reads=GO_STREAM),
        Asked("DELETE", stream_path + "{stream}/", nothing, 204),
        Asked("POST", stream_path, other_stream + end, 201, DONE | texts("stream_id")),
        Asked("DELETE", stream_path, nothing, 204),
        Asked("POST", call + "Speak/", steps["Speak"] + end, 202, DONE),
        Asked("DELETE", call + "Speak/", nothing, 204),
        Asked("POST", call + "Play/", steps["Play"] + end, 202, DONE),
        Asked("DELETE", call + "Play/", nothing, 204),
        Asked("POST", call + "DTMF/", steps["DTMF"] + end, 202, DONE),
        Asked("POST", call + "Record/", steps["Record"] + end, 202, RECORDING),
        Asked("DELETE", call + "Record/", nothing, 204),
        Asked("POST", call, steps["transfer"] + end, 202, DONE),
        Asked("DELETE", call, nothing, 204),
        Asked("GET", call, reads=CALL),
        Asked("GET", "Call/?limit=5&offset=0", reads={"meta": dict, "objects": list}),
        Asked("POST", "Call/", steps["unanswered"] + end, 201, CREATED,
              {"request": "request_uuid"}),
        Asked("DELETE", "Request/{request}/", nothing, 204),
        Asked("POST", "Application/", steps["application"] + end, 201, DONE | texts("app_id"),
              {"app": "app_id"}),
        Asked("GET", "Application/?limit=5", reads={"meta": dict, "objects": list}),
        Asked("GET", "Application/{app}/", reads=APPLICATION),
        Asked("POST", "Application/{app}/", steps["change"] + end, 202, DONE),
        Asked("GET", "Number/14155550100/", reads=NUMBER),
        Asked("POST", "Number/14155550100/", steps["number"] + end, 202, DONE),
        Asked("GET", "Number/", reads={"meta": dict, "objects": list}),
        Asked("DELETE", "Application/{app}/", nothing, 204),
    ]  # fmt: skip


CALL_BODY = (
    '{"from":"+14155550100","to":"+14155550123","answer_url":"%(answer)s","answer_method":"GET"}'
)
UNANSWERED = '{"from":"+14155550100","to":"+14155550480","answer_url":"%(answer)s"}'
STEPS = {
    "Speak": '{"text":"hello","language":"en-US"}',
    "Play": '{"urls":"%(answer)s"}',
    "DTMF": '{"digits":"12"}',
    "Record": '{"time_limit":5}',
    "transfer": '{"legs":"aleg","aleg_url":"%(answer)s"}',
    "unanswered": UNANSWERED,
    "application": '{"app_name":"agent","answer_url":"%(answer)s"}',
    "change": '{"answer_url":"%(answer)s"}',
    "number": '{"app_id":"%(app)s","alias":"z"}',
}
GO = course(
    CALL_BODY,
    '{"service_url":"%(socket)s","bidirectional":true,"audio_track":"inbound","stream_timeout":60,'
    '"status_callback_url":"%(answer)s","status_callback_method":"POST",'
    '"content_type":"audio/x-mulaw;rate=8000","extra_headers":"agent=7"}',
    '{"service_url":"%(socket)s"}',
    nothing="",
    end="\n",
    # Its voice is sent as a length.
    steps=STEPS | {"Speak": '{"text":"hello","length":"WOMAN","language":"en-US"}'},
)
RUBY = course(
    CALL_BODY,
    '{"service_url":"%(socket)s","bidirectional":true,"audio_track":"inbound","stream_timeout":60,'
    '"status_callback_url":"%(answer)s","status_callback_method":"get",'
    '"content_type":"audio/x-l16;rate=16000","extra_headers":"agent=7"}',
    '{"service_url":"%(socket)s"}',
    nothing="",
    end="",
    steps=STEPS
    | {
        "Speak": '{"text":"hello","language":"en-US","voice":"WOMAN"}',
        "Record": '{"time_limit":5,"file_format":"wav"}',
        "transfer": '{"legs":"aleg","aleg_url":"%(answer)s","aleg_method":"GET"}',
    },
)
PHP = course(
    CALL_BODY,
    '{"service_url":"%(escaped)s","bidirectional":true,"audio_track":"inbound","stream_timeout":60,'
    '"content_type":"audio\\/x-mulaw;rate=8000","extra_headers":"agent=7",'
    '"status_callback_url":"%(answer)s","status_callback_method":"POST"}',
    '{"service_url":"%(escaped)s","content_type":"","bidirectional":false}',
    nothing="{}",
    end="",
    steps=STEPS,
)


@pytest.mark.parametrize("asked", [GO, RUBY, PHP], ids=["go", "ruby", "php"])
def test_every_request_of_an_sdk_is_answered_with_what_it_reads(
    on_api: OnApi, asked: list[Asked]
) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> list[str]:
        socket = platform.stream_url + "/ws"
        known = {
            "answer": platform.document("/answer", '<Wait length="60"/>'),
            "socket": socket,
            "escaped": socket.replace("/", "\\/"),
        }
        wrong: list[str] = []
        for each in asked:
            response = await api.request(
                each.method,
                each.path.format(**known),
                content=each.body % known if each.body else None,
                headers={"content-type": "application/json"},
            )
            answer = read(response)
            if (fault := fault_of(each, response, answer)) is not None:
                wrong.append(f"{each.method} {each.path}: {fault}: {response.text[:300]}")
            known |= {name: answer[source] for name, source in each.keeps.items()}
            if "call" in each.keeps:
                call = platform.exchange.calls[known["call"]]
                await call.answered.wait()
            if (each.method, each.path) == ("DELETE", "Call/{call}/"):
                await call.wait_ended()
        return wrong

    assert on_api(scenario, options={"rounded_bill_duration": "text"}) == []


def read(response: Response) -> dict[str, Any]:
    answer: dict[str, Any] = response.json() if response.content else {}
    return answer


def fault_of(asked: Asked, response: Response, answer: dict[str, Any]) -> str | None:
    """Return what is wrong with an answer: its status, its type, or a field."""
    if response.status_code != asked.status:
        return f"{response.status_code} instead of {asked.status}"
    # Ruby reads a body as JSON by this header alone, and needs it without a body too.
    if response.headers.get("content-type") != "application/json":
        return "not application/json"
    for name, kind in asked.reads.items():
        if name not in answer:
            return f"no {name}"
        value = answer[name]
        if value is not None and type(value) is not kind:
            return f"{name} is {value!r}, not {kind.__name__}"
    return None
