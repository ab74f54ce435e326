"""Calls: to place, list, show, transfer, hang up and cancel."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

from fastapi import Query, Request
from starlette.exceptions import HTTPException

from mediaserver.plivo import models
from mediaserver.sandbox.api.body import Lenient
from mediaserver.sandbox.api.description import errors
from mediaserver.sandbox.api.filters import CallQuery
from mediaserver.sandbox.api.objects import call_object, live_call_object
from mediaserver.sandbox.api.routing import ACCOUNT, Ex, PlivoRouter, call_record, live_call
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.errors import CallLimitError
from mediaserver.sandbox.webhooks import Target


call_routes = PlivoRouter(ACCOUNT, "Call")


@call_routes.post("/Call/", status_code=201, responses=errors(400, 403))
async def make_a_call(exchange: Ex, asked: Lenient[models.CallRequest]) -> models.CallCreated:
    """Place a call, or a call to each of several numbers."""
    api_id = str(uuid4())
    calls: list[SandboxCall] = []
    try:
        for number in asked.destinations:
            call = await exchange.call(
                number,
                caller=asked.from_,
                plan=_plan(asked),
                caller_name=asked.caller_name or "",
                api_id=api_id,
            )
            calls.append(call)
    except CallLimitError:
        for call in calls:
            call.hang_up_by_api()
        raise
    uuids = [call.record.request_uuid for call in calls]
    many = len(uuids) > 1
    fired = "calls fired" if many else "call fired"
    return models.CallCreated(
        api_id=api_id,
        message="call queued" if any(call.wait for call in calls) else fired,
        request_uuid=uuids if many else uuids[0],
    )


@call_routes.get("/Call/", responses=errors(400))
async def list_calls(
    request: Request, exchange: Ex, auth_id: str, query: Annotated[CallQuery, Query()]
) -> models.CallList | models.LiveCallList:
    """List calls that have ended, newest first, or the ids of live or queued ones."""
    if query.status is not None:
        wanted = {"live": ("ringing", "in-progress"), "queued": ("queued",)}[query.status]
        records = [call.record for call in exchange.calls.values()]
        found = [each for each in records if each.status in wanted and query.matches(each)]
        return models.LiveCallList(calls=[each.call_uuid for each in found])
    newest_first = reversed(exchange.records.calls.values())
    found = [each for each in newest_first if not each.live and query.matches(each)]
    page = query.page(request.url, [call_object(auth_id, each) for each in found])
    return models.CallList(**page)


@call_routes.get("/Call/{call_uuid}/", responses=errors(400, 404))
async def get_a_call(
    exchange: Ex,
    auth_id: str,
    call_uuid: str,
    status: Annotated[str | None, Query(json_schema_extra={"enum": ["live", "queued"]})] = None,
) -> models.Call | models.LiveCall:
    """Show a call that has ended, or a live one with `status=live`."""
    if status in ("live", "queued"):
        return live_call_object(live_call(exchange, call_uuid).record)
    record = call_record(exchange, call_uuid)
    if record.live:
        raise HTTPException(
            404, f"call not found: {call_uuid:.60} has not ended; ask with status=live"
        )
    return call_object(auth_id, record)


class Transferred(models.Accepted):
    """Response to a transfer: the legs that now go on elsewhere."""

    call_uuids: list[str]


@call_routes.post("/Call/{call_uuid}/", status_code=202, responses=errors(400, 404))
async def transfer_a_call(
    exchange: Ex, call_uuid: str, asked: Lenient[models.TransferRequest]
) -> Transferred:
    """Have a live call go on with the document at another URL."""
    call = live_call(exchange, call_uuid)
    moves: list[tuple[SandboxCall, Target]] = []
    if asked.legs in ("bleg", "both") and asked.bleg_url is not None:
        if call.b_leg is None:
            raise HTTPException(404, f"call {call_uuid} has no b leg")
        moves.append((call.b_leg, Target(asked.bleg_url, asked.bleg_method or "POST")))
    if asked.legs in ("aleg", "both") and asked.aleg_url is not None:
        moves.append((call, Target(asked.aleg_url, asked.aleg_method or "POST")))
    for leg, target in moves:
        leg.transfer(target)
    return Transferred(message="call transferred", call_uuids=[leg.uuid for leg, _ in moves])


@call_routes.delete("/Call/{call_uuid}/", status_code=204, responses=errors(404))
async def hang_up_a_call(exchange: Ex, call_uuid: str) -> None:
    """Hang up a live call."""
    live_call(exchange, call_uuid).hang_up_by_api()


@call_routes.delete("/Request/{request_uuid}/", status_code=204, responses=errors(404))
async def cancel_a_call(exchange: Ex, request_uuid: str) -> None:
    """Hang up a call that has not been answered yet."""
    for call in exchange.calls.values():
        waiting = call.record.answered is None and not call.over
        if call.record.request_uuid == request_uuid and waiting:
            call.hang_up_by_api()
            return
    raise HTTPException(404, f"no call of request {request_uuid:.60} waits to be answered")


def _plan(asked: models.CallRequest) -> CallPlan:
    return CallPlan(
        Target(asked.answer_url, asked.answer_method or "POST"),
        fallback=Target.optional(asked.fallback_url, asked.fallback_method),
        ring=Target.optional(asked.ring_url, asked.ring_method),
        hangup=Target.optional(asked.hangup_url, asked.hangup_method),
        ring_timeout=120.0 if asked.ring_timeout is None else asked.ring_timeout,
        time_limit=asked.time_limit or 14_400.0,
        hangup_on_ring=asked.hangup_on_ring,
        send_digits=asked.send_digits or "",
        machine_detection=asked.machine_detection,
        machine_detection_time=(asked.machine_detection_time or 5_000) / 1000,
        machine_detection_callback=Target.optional(
            asked.machine_detection_url, asked.machine_detection_method
        ),
        headers=_sip_headers(asked.sip_headers or ""),
    )


def _sip_headers(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {f"X-PH-{name.strip()}": value.strip() for name, _, value in pairs}
