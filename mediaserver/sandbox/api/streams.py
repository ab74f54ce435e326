"""Audio streams of a call: to start, list, show and stop."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import Query, Request
from starlette.exceptions import HTTPException

from mediaserver.plivo import models
from mediaserver.sandbox.api.body import Lenient
from mediaserver.sandbox.api.description import errors
from mediaserver.sandbox.api.objects import Paging, stream_object
from mediaserver.sandbox.api.routing import (
    ACCOUNT,
    Ex,
    PlivoResponse,
    PlivoRouter,
    answered_call,
    call_record,
    live_call,
)
from mediaserver.sandbox.calls.exchange import Exchange
from mediaserver.sandbox.calls.streams import stream_plan


log = structlog.get_logger(__name__)

stream_routes = PlivoRouter(ACCOUNT + "/Call/{call_uuid}/Stream", "Audio stream")


@stream_routes.post("/", status_code=201, responses=errors(400, 404))
async def start_a_stream(
    exchange: Ex, call_uuid: str, asked: Lenient[models.StreamRequest]
) -> models.StreamCreated:
    """Start a stream."""
    call = answered_call(exchange, call_uuid)
    assert call.line is not None, "it has been answered"
    for warning in asked.warnings:
        log.warning("stream parameter ignored", call_uuid=call_uuid, warning=warning)
    try:
        stream = await call.streams.start(stream_plan(asked.service_url, asked), call.line)
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
    return models.StreamCreated(
        message="audio streaming started", stream_id=stream.record.stream_id
    )


@stream_routes.get("/", response_model=models.StreamList, responses=errors(400, 404))
async def list_streams(
    request: Request, exchange: Ex, auth_id: str, call_uuid: str, paging: Annotated[Paging, Query()]
) -> PlivoResponse:
    """List the streams of a call, live and ended."""
    call_record(exchange, call_uuid)
    records = [each for each in exchange.records.streams.values() if each.call_uuid == call_uuid]
    page = paging.page(request.url, [stream_object(auth_id, each) for each in records])
    return _shown(exchange, models.StreamList(**page))


@stream_routes.get("/{stream_id}/", response_model=models.StreamObject, responses=errors(404))
async def get_a_stream(exchange: Ex, auth_id: str, call_uuid: str, stream_id: str) -> PlivoResponse:
    """Show a stream."""
    record = exchange.records.streams.get(stream_id)
    if record is None or record.call_uuid != call_uuid:
        raise HTTPException(404, f"stream not found: {stream_id:.60}")
    return _shown(exchange, stream_object(auth_id, record))


def _shown(exchange: Exchange, answer: models.Answer) -> PlivoResponse:
    """Return streams with their rounded duration as the options say: a number, or text."""
    shown = answer.model_dump(mode="json", exclude_unset=True)
    if exchange.services.options.rounded_bill_duration == "text":
        for each in shown.get("objects", [shown]):
            each["rounded_bill_duration"] = str(each["rounded_bill_duration"])
    return PlivoResponse(shown)


@stream_routes.delete("/{stream_id}/", status_code=204, responses=errors(400, 404))
async def stop_a_stream(exchange: Ex, call_uuid: str, stream_id: str) -> None:
    """Stop a stream."""
    call_record(exchange, call_uuid)
    call = exchange.calls.get(call_uuid)
    if call is None or not await call.streams.stop(stream_id, "API request"):
        raise HTTPException(400, "No active stream found")


@stream_routes.delete("/", status_code=204, responses=errors(404))
async def stop_all_streams(exchange: Ex, call_uuid: str) -> None:
    """Stop every stream of a live call."""
    await live_call(exchange, call_uuid).streams.stop_all("API request")
