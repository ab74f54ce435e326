"""The parameters of a call's callbacks, taken from its record."""

from __future__ import annotations

from mediaserver.sandbox.records.records import CallRecord
from mediaserver.sandbox.records.timestamps import spaced, spaced_precise


def call_params(record: CallRecord, auth_id: str, event: str) -> dict[str, str]:
    """Return the parameters that every callback of a call has."""
    params = {
        "CallUUID": record.call_uuid,
        "From": record.from_number.removeprefix("+"),
        "To": record.to_number.removeprefix("+"),
        "Direction": record.direction,
        "CallStatus": record.status,
        "Event": event,
        "RequestUUID": record.request_uuid,
        "SessionStart": spaced_precise(record.initiated),
        "BillRate": record.rate,
        "ParentAuthID": auth_id,
        "STIRVerification": "Not Applicable",
    }
    if record.direction == "outbound":
        params |= {"ALegUUID": record.call_uuid, "ALegRequestUUID": record.request_uuid}
    else:
        params["CallerName"] = record.caller_name or params["From"]
    if record.parent_call_uuid is not None:
        params["ParentCallUUID"] = record.parent_call_uuid
    return params | record.headers


def hangup_params(record: CallRecord, auth_id: str) -> dict[str, str]:
    """Return the parameters of the hangup callback of a call that has ended."""
    assert record.end_shown is not None
    return call_params(record, auth_id, "Hangup") | {
        "HangupCause": record.hangup_cause or "",
        "HangupCauseCode": str(record.hangup_cause_code),
        "HangupCauseName": record.hangup_cause_name or "",
        "HangupSource": record.hangup_source or "",
        "Duration": str(record.seconds),
        "BillDuration": str(record.billed_duration),
        "TotalCost": record.total_amount,
        "StartTime": spaced(record.initiated),
        "AnswerTime": "" if record.answered is None else spaced(record.answered),
        "EndTime": spaced(record.end_shown),
        "CarrierFailoverTriggered": "false",
    }
