"""Calls, streams, applications and numbers as Plivo's API shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from mediaserver.sandbox.records.billing import Rates
from mediaserver.sandbox.records.records import (
    ApplicationRecord,
    CallRecord,
    NumberRecord,
    StreamRecord,
)
from mediaserver.sandbox.records.timestamps import offset, offset_precise, spaced_precise


MAX_PAGE = 20
"""Objects on a page, at most and unless told otherwise."""


class PageError(ValueError):
    """A page that there cannot be; it says what is allowed."""


def call_object(auth_id: str, record: CallRecord) -> dict[str, Any]:
    """A call's detail record."""
    duration = 0
    if record.ended is not None and record.answered is not None:
        duration = round(record.ended - record.answered)
    return {
        "answer_time": _time(record.answered),
        "bill_duration": record.bill_duration,
        "billed_duration": record.billed_duration,
        "call_direction": record.direction,
        "call_duration": duration,
        "call_state": record.status,
        "call_uuid": record.call_uuid,
        "end_time": _time(record.ended),
        "from_number": record.from_number,
        "hangup_cause_code": record.hangup_cause_code,
        "hangup_cause_name": record.hangup_cause_name,
        "hangup_source": record.hangup_source,
        "initiation_time": offset(record.initiated),
        "parent_call_uuid": record.parent_call_uuid,
        "request_uuid": record.request_uuid,
        "resource_uri": f"/v1/Account/{auth_id}/Call/{record.call_uuid}/",
        "stir_verification": "Not Applicable",
        "to_number": record.to_number.removeprefix("+"),
        "total_amount": record.total_amount,
        "total_rate": record.rate,
    }


def live_call_object(record: CallRecord) -> dict[str, Any]:
    """A call that goes on."""
    return {
        "call_status": record.status,
        "call_uuid": record.call_uuid,
        "caller_name": record.caller_name,
        "direction": record.direction,
        "from": record.from_number,
        "request_uuid": record.request_uuid,
        "session_start": spaced_precise(record.initiated),
        "stir_verification": "Not Applicable",
        "to": record.to_number.removeprefix("+"),
    }


def stream_object(auth_id: str, record: StreamRecord) -> dict[str, Any]:
    """An audio stream: what both pages show, and what older pages and SDKs have."""
    return {
        "audio_track": record.audio_track,
        "bidirectional": record.bidirectional,
        "bill_duration": record.bill_duration,
        "billed_amount": record.billed_amount,
        "call_uuid": record.call_uuid,
        "content_type": record.content_type,
        "created_at": offset_precise(record.created),
        "end_time": _time(record.ended),
        "plivo_auth_id": auth_id,
        "resource_uri": (
            f"/v1/Account/{auth_id}/Call/{record.call_uuid}/Stream/{record.stream_id}/"
        ),
        "rounded_bill_duration": record.rounded_bill_duration,
        "service_url": record.service_url,
        "start_time": _time(record.started),
        "status": record.status,
        "status_callback_url": record.status_callback_url or "",
        "stream_id": record.stream_id,
    }


def application_object(auth_id: str, record: ApplicationRecord) -> dict[str, Any]:
    """An application."""
    return {
        "answer_method": record.answer_method,
        "answer_url": record.answer_url,
        "app_id": record.app_id,
        "app_name": record.app_name,
        "default_app": record.default_app,
        "default_endpoint_app": record.default_endpoint_app,
        "enabled": True,
        "fallback_answer_url": record.fallback_answer_url,
        "fallback_method": record.fallback_method,
        "hangup_method": record.hangup_method,
        "hangup_url": record.hangup_url,
        "log_incoming_messages": True,
        "message_method": record.message_method,
        "message_url": record.message_url,
        "public_uri": record.public_uri,
        "resource_uri": f"/v1/Account/{auth_id}/Application/{record.app_id}/",
        "sip_uri": f"sip:{record.app_id}@app.plivo.com",
        "sub_account": None,
    }


def number_object(auth_id: str, record: NumberRecord, rates: Rates) -> dict[str, Any]:
    """A number of the account."""
    application = None
    if record.app_id is not None:
        application = f"/v1/Account/{auth_id}/Application/{record.app_id}/"
    return {
        "active": True,
        "added_on": offset(record.added)[:10],
        "alias": record.alias,
        "application": application,
        "carrier": "Plivo",
        "monthly_rental_rate": "0.80000",
        "number": record.number,
        "number_type": "local",
        "region": "Sandbox",
        "resource_uri": f"/v1/Account/{auth_id}/Number/{record.number}/",
        "sms_enabled": False,
        "sms_rate": "0.00000",
        "sub_account": None,
        "voice_enabled": True,
        "voice_rate": rates.inbound.rate,
    }


def page(
    objects: Sequence[Mapping[str, Any]], path: str, query: Mapping[str, str]
) -> dict[str, Any]:
    """Return the page of a list that `limit` and `offset` of the query ask for.

    Args:
        objects: The whole list.
        path: Of the request, for the links to the pages beside it.
        query: Of the request.

    Raises:
        PageError: `limit` is not 1 to 20, or `offset` not 0 or more.

    """
    limit = _whole(query, "limit", MAX_PAGE, range(1, MAX_PAGE + 1), f"1 to {MAX_PAGE}")
    start = _whole(query, "offset", 0, range(2**31), "0 or more")
    others = {name: value for name, value in query.items() if name not in ("limit", "offset")}

    def link(at: int) -> str:
        return f"{path}?{urlencode({**others, 'limit': limit, 'offset': at})}"

    more = start + limit < len(objects)
    return {
        "meta": {
            "limit": limit,
            "next": link(start + limit) if more else None,
            "offset": start,
            "previous": link(max(0, start - limit)) if start else None,
            "total_count": len(objects),
        },
        "objects": list(objects[start : start + limit]),
    }


def _whole(query: Mapping[str, str], name: str, default: int, allowed: range, words: str) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 10 or int(text) not in allowed:
        raise PageError(f"{name} must be {words}, not {text!r:.40}")
    return int(text)


def _time(epoch: float | None) -> str | None:
    return None if epoch is None else offset(epoch)
