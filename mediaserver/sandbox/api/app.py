"""Plivo's REST API over an `Exchange`: paths, status codes and bodies as its pages have them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from mediaserver.plivo import models
from mediaserver.plivo.numbers import digits
from mediaserver.sandbox.account import Account, RateLimiter
from mediaserver.sandbox.api.body import BodyError, parsed, read_body
from mediaserver.sandbox.api.description import (
    COMPONENTS,
    DescribedApi,
    error_response,
    query_parameter,
)
from mediaserver.sandbox.api.filters import FILTERS, FilterError, call_filter
from mediaserver.sandbox.api.objects import (
    PageError,
    application_object,
    call_object,
    live_call_object,
    number_object,
    page,
    stream_object,
)
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.exchange import (
    DEFAULT_CALLER,
    Exchange,
)
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.calls.streams import StreamPlan, StreamRefusedError
from mediaserver.sandbox.errors import (
    CallLimitError,
    NotInProgressError,
    TransferLimitError,
    UnknownNumberError,
)
from mediaserver.sandbox.people.person import ScriptError
from mediaserver.sandbox.people.script import files_below, person_from_option
from mediaserver.sandbox.records.records import ApplicationRecord, CallRecord, NumberRecord
from mediaserver.sandbox.webhooks import Target


class ApiError(Exception):
    """What the API answers instead; `error` is what the client reads."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.headers = dict(headers or {})


class SpeakRequest(BaseModel):
    """Something to say to a live call."""

    text: Annotated[str, Field(min_length=1)]
    language: str = "en-US"


class PlayRequest(BaseModel):
    """Files to play to a live call: URLs of WAV files, separated by commas."""

    urls: Annotated[str, Field(min_length=1)]
    loop: bool = False


class RecordRequest(BaseModel):
    """A recording of a live call."""

    time_limit: Annotated[int, Field(ge=1)] = 60
    callback_url: models.WebUrl | None = None
    callback_method: models.HttpMethod | None = None


class DialInRequest(BaseModel):
    """A number dialled from a phone: what this sandbox has and Plivo has not."""

    to: str
    from_: str = Field(default=DEFAULT_CALLER, alias="from")
    caller_name: str = ""
    person: str | None = None
    answer_url: models.WebUrl | None = None
    answer_method: models.HttpMethod | None = None
    hangup_url: models.WebUrl | None = None
    hangup_method: models.HttpMethod | None = None
    fallback_url: models.WebUrl | None = None
    fallback_method: models.HttpMethod | None = None


class NumberList(BaseModel):
    """A page of numbers."""

    api_id: str
    meta: models.Meta
    objects: list[models.Number]


class DialledIn(BaseModel):
    """The call that was placed from a phone."""

    api_id: str
    message: str
    call_uuid: str


def create_api(exchange: Exchange, limiter: RateLimiter | None = None) -> DescribedApi:
    """Make the application that serves the API of an exchange."""
    app = DescribedApi(
        title="Plivo sandbox",
        description="Plivo's REST API for calls and audio streams, on a machine of one's own.",
        version="1",
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.exchange = exchange
    gate = Gate(exchange.services.account, limiter or RateLimiter())
    for router in (_calls(), _live_calls(), _streams(), _numbers(), _phones()):
        app.include_router(router, dependencies=[Depends(gate)])
    app.include_router(_recordings())
    app.add_exception_handler(ApiError, _refuse)

    async def no_route(request: Request, error: Exception) -> Response:
        # What there is below /v1/ is told to those alone who may use it.
        if request.url.path.startswith("/v1/"):
            try:
                await gate(request)
            except ApiError as refusal:
                return await _refuse(request, refusal)
        return await _no_route(request, error)

    app.add_exception_handler(HTTPException, no_route)
    app.add_exception_handler(Exception, _broken)
    return app


class Gate:
    """Lets in who has the account's credentials, as often as the rate limit allows."""

    def __init__(self, account: Account, limiter: RateLimiter) -> None:
        self._account = account
        self._limiter = limiter

    async def __call__(self, request: Request) -> None:
        """Let the request pass, or raise `ApiError`."""
        if not self._account.admits(request.headers.get("authorization")):
            raise ApiError(
                401,
                "Could not verify your access level for that URL."
                " You have to login with proper credentials: auth id and auth token",
                {"WWW-Authenticate": 'Basic realm="Plivo API"'},
            )
        auth_id = request.path_params.get("auth_id", self._account.auth_id)
        if auth_id != self._account.auth_id:
            raise ApiError(401, f"the credentials are not those of account {auth_id:.40}")
        wait = self._limiter.admit(asyncio.get_running_loop().time())
        if wait:
            raise ApiError(
                429,
                f"rate limit exceeded: {self._limiter}",
                {"Retry-After": str(math.ceil(wait))},
            )


async def _exchange(request: Request) -> Exchange:
    exchange: Exchange = request.app.state.exchange
    return exchange


Ex = Annotated[Exchange, Depends(_exchange)]


# Answers.


def _answer(code: int, /, **fields: Any) -> JSONResponse:
    return JSONResponse({"api_id": str(uuid4()), **fields}, code)


def _nothing() -> Response:
    return Response(status_code=204)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    body = {"api_id": str(uuid4()), "error": error.error}
    return JSONResponse(body, error.status, headers=error.headers)


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "not found", 405: "method not allowed"}
    body = {"api_id": str(uuid4()), "error": words.get(error.status_code, str(error.detail))}
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _broken(_: Request, error: Exception) -> Response:
    # Starlette raises it again once this is sent, for the log.
    return JSONResponse({"api_id": str(uuid4()), "error": "internal error"}, 500)


def _invalid(error: Exception) -> ApiError:
    return ApiError(400, str(error))


async def _body(request: Request, model: type[Any]) -> Any:
    try:
        return parsed(model, await read_body(request))
    except BodyError as error:
        raise _invalid(error) from None


def _page(request: Request, objects: list[dict[str, Any]]) -> JSONResponse:
    try:
        return _answer(200, **page(objects, request.url.path, dict(request.query_params)))
    except PageError as error:
        raise _invalid(error) from None


# Routes.


_ACCOUNT = "/v1/Account/{auth_id}"
_PAGING = ("limit", "offset")


class _Router(APIRouter):
    """Has every path with a slash at its end, as documented, and without."""

    def on(
        self,
        method: str,
        path: str,
        *,
        takes: type[BaseModel] | None = None,
        query: Iterable[str] = (),
        **options: Any,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        described: dict[str, Any] = {"parameters": [query_parameter(name) for name in query]}
        if takes is not None:
            schema = takes.model_json_schema(mode="serialization", ref_template=COMPONENTS)
            content = {
                kind: {"schema": schema}
                for kind in ("application/json", "application/x-www-form-urlencoded")
            }
            described["requestBody"] = {"content": content, "required": True}
        options |= {"methods": [method], "response_model": None, "openapi_extra": described}

        def add(endpoint: Callable[..., Any]) -> Callable[..., Any]:
            self.add_api_route(path, endpoint, **options)
            self.add_api_route(path.removesuffix("/"), endpoint, **options, include_in_schema=False)
            return endpoint

        return add


def _says(status: int, model: object = None) -> dict[int | str, Any]:
    return {status: {"model": model} if model is not None else {"description": "No content"}}


def _calls() -> APIRouter:
    router = _Router(tags=["Call"])

    @router.on(
        "POST",
        _ACCOUNT + "/Call/",
        takes=models.CallRequest,
        status_code=201,
        responses=_says(201, models.CallCreated) | {403: error_response("403")},
    )
    async def make_a_call(request: Request, exchange: Ex) -> Response:
        asked: models.CallRequest = await _body(request, models.CallRequest)
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
        except CallLimitError as error:
            for call in calls:
                call.hang_up_by_api()
            raise ApiError(403, f"5030: {error}") from None
        uuids = [call.record.request_uuid for call in calls]
        many = len(uuids) > 1
        fired = "calls fired" if many else "call fired"
        return JSONResponse(
            {
                "api_id": api_id,
                "message": "call queued" if any(call.wait for call in calls) else fired,
                "request_uuid": uuids if many else uuids[0],
            },
            201,
        )

    @router.on(
        "GET",
        _ACCOUNT + "/Call/",
        query=("status", *_PAGING, *FILTERS),
        responses=_says(200, models.CallList | models.LiveCallList),
    )
    async def list_calls(request: Request, exchange: Ex) -> Response:
        query = request.query_params
        try:
            asked_for = call_filter(query)
        except FilterError as error:
            raise _invalid(error) from None
        status = query.get("status")
        if status in ("live", "queued"):
            wanted = {"live": ("ringing", "in-progress"), "queued": ("queued",)}[status]
            records = [call.record for call in exchange.calls.values()]
            records = [each for each in records if each.status in wanted and asked_for(each)]
            return _answer(200, calls=[each.call_uuid for each in records])
        if status is not None:
            raise ApiError(400, f"status must be live or queued, not {status!r:.40}")
        records = [each for each in exchange.records.calls.values() if not each.live]
        newest_first = [each for each in reversed(records) if asked_for(each)]
        auth_id = exchange.services.account.auth_id
        return _page(request, [call_object(auth_id, each) for each in newest_first])

    @router.on(
        "GET",
        _ACCOUNT + "/Call/{call_uuid}/",
        query=("status",),
        responses=_says(200, models.Call | models.LiveCall),
    )
    async def get_a_call(request: Request, exchange: Ex, call_uuid: str) -> Response:
        if request.query_params.get("status") in ("live", "queued"):
            return _answer(200, **live_call_object(_live(exchange, call_uuid).record))
        record = _record(exchange, call_uuid)
        if record.live:
            raise ApiError(
                404, f"call not found: {call_uuid:.60} has not ended; ask with status=live"
            )
        return _answer(200, **call_object(exchange.services.account.auth_id, record))

    @router.on(
        "POST",
        _ACCOUNT + "/Call/{call_uuid}/",
        takes=models.TransferRequest,
        status_code=202,
        responses=_says(202, models.Accepted),
    )
    async def transfer_a_call(request: Request, exchange: Ex, call_uuid: str) -> Response:
        asked: models.TransferRequest = await _body(request, models.TransferRequest)
        call = _live(exchange, call_uuid)
        moves: list[tuple[SandboxCall, Target]] = []
        if asked.legs in ("bleg", "both") and asked.bleg_url is not None:
            if call.b_leg is None:
                raise ApiError(404, f"call {call_uuid} has no b leg")
            moves.append((call.b_leg, Target(asked.bleg_url, asked.bleg_method or "POST")))
        if asked.legs in ("aleg", "both") and asked.aleg_url is not None:
            moves.append((call, Target(asked.aleg_url, asked.aleg_method or "POST")))
        try:
            for leg, target in moves:
                leg.transfer(target)
        except NotInProgressError as error:
            raise ApiError(404, str(error)) from None
        except TransferLimitError as error:
            raise _invalid(error) from None
        return _answer(202, message="call transferred", call_uuids=[leg.uuid for leg, _ in moves])

    @router.on("DELETE", _ACCOUNT + "/Call/{call_uuid}/", status_code=204, responses=_says(204))
    async def hang_up_a_call(exchange: Ex, call_uuid: str) -> Response:
        _live(exchange, call_uuid).hang_up_by_api()
        return _nothing()

    @router.on(
        "DELETE", _ACCOUNT + "/Request/{request_uuid}/", status_code=204, responses=_says(204)
    )
    async def cancel_a_call(exchange: Ex, request_uuid: str) -> Response:
        for call in exchange.calls.values():
            waiting = call.record.answered is None and not call.over
            if call.record.request_uuid == request_uuid and waiting:
                call.hang_up_by_api()
                return _nothing()
        raise ApiError(404, f"no call of request {request_uuid:.60} waits to be answered")

    return router


def _plan(asked: models.CallRequest) -> CallPlan:
    return CallPlan(
        Target(asked.answer_url, asked.answer_method or "POST"),
        fallback=_maybe(asked.fallback_url, asked.fallback_method),
        ring=_maybe(asked.ring_url, asked.ring_method),
        hangup=_maybe(asked.hangup_url, asked.hangup_method),
        ring_timeout=120.0 if asked.ring_timeout is None else asked.ring_timeout,
        time_limit=asked.time_limit or 14_400.0,
        hangup_on_ring=asked.hangup_on_ring,
        send_digits=asked.send_digits or "",
        machine_detection=asked.machine_detection,
        machine_detection_time=(asked.machine_detection_time or 5_000) / 1000,
        machine_detection_callback=_maybe(
            asked.machine_detection_url, asked.machine_detection_method
        ),
        headers=_sip_headers(asked.sip_headers or ""),
    )


def _sip_headers(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {f"X-PH-{name.strip()}": value.strip() for name, _, value in pairs}


def _record(exchange: Exchange, call_uuid: str) -> CallRecord:
    record = exchange.records.calls.get(call_uuid)
    if record is None:
        raise ApiError(404, f"call not found: {call_uuid:.60}")
    return record


def _live(exchange: Exchange, call_uuid: str) -> SandboxCall:
    call = exchange.calls.get(call_uuid)
    if call is None or call.over:
        raise ApiError(404, f"call not found: {call_uuid:.60} is no live call")
    return call


def _in_progress(exchange: Exchange, call_uuid: str) -> SandboxCall:
    call = _live(exchange, call_uuid)
    if call.line is None:
        raise ApiError(404, f"call not found: {call_uuid:.60} has not been answered yet")
    return call


def _live_calls() -> APIRouter:
    """What can be done to a call while it goes on."""
    router = _Router(tags=["Live call"])
    call_path = _ACCOUNT + "/Call/{call_uuid}"

    @router.on(
        "POST",
        call_path + "/Speak/",
        takes=SpeakRequest,
        status_code=202,
        responses=_says(202, models.Accepted),
    )
    async def speak(request: Request, exchange: Ex, call_uuid: str) -> Response:
        asked: SpeakRequest = await _body(request, SpeakRequest)
        call = _in_progress(exchange, call_uuid)
        wav = await exchange.services.speak(asked.text, asked.language)
        if call.line is not None:
            call.line.play(wav.mono(), wav.rate)
        return _answer(202, message="speech started")

    @router.on(
        "POST",
        call_path + "/Play/",
        takes=PlayRequest,
        status_code=202,
        responses=_says(202, models.Accepted),
    )
    async def play(request: Request, exchange: Ex, call_uuid: str) -> Response:
        asked: PlayRequest = await _body(request, PlayRequest)
        call = _in_progress(exchange, call_uuid)
        call.play_urls([each.strip() for each in asked.urls.split(",")], loop=asked.loop)
        return _answer(202, message="play started")

    async def stop_playing(exchange: Ex, call_uuid: str) -> Response:
        _in_progress(exchange, call_uuid).stop_playing()
        return _nothing()

    for what in ("Speak", "Play"):
        router.on(
            "DELETE",
            f"{call_path}/{what}/",
            status_code=204,
            name=f"stop_{what.lower()}",
            responses=_says(204),
        )(stop_playing)

    @router.on(
        "POST",
        call_path + "/DTMF/",
        takes=models.DigitsRequest,
        status_code=202,
        responses=_says(202, models.Accepted),
    )
    async def send_digits(request: Request, exchange: Ex, call_uuid: str) -> Response:
        asked: models.DigitsRequest = await _body(request, models.DigitsRequest)
        call = _in_progress(exchange, call_uuid)
        leg = call.b_leg if asked.leg == "bleg" else call
        if leg is None:
            raise ApiError(404, f"call {call_uuid} has no b leg")
        leg.press(asked.digits)
        return _answer(202, message="digits sent")

    @router.on(
        "POST",
        call_path + "/Record/",
        takes=RecordRequest,
        status_code=202,
        responses=_says(202, models.Accepted),
    )
    async def record(request: Request, exchange: Ex, call_uuid: str) -> Response:
        asked: RecordRequest = await _body(request, RecordRequest)
        call = _in_progress(exchange, call_uuid)
        callback = None
        if asked.callback_url is not None:
            callback = Target(asked.callback_url, asked.callback_method or "POST")
        recording = call.start_recording(asked.time_limit, callback)
        return _answer(
            202,
            message="call recording started",
            recording_id=recording.id,
            url=recording.url,
        )

    @router.on("DELETE", call_path + "/Record/", status_code=204, responses=_says(204))
    async def stop_recording(exchange: Ex, call_uuid: str) -> Response:
        for recording in _in_progress(exchange, call_uuid).recordings:
            await recording.stop()
        return _nothing()

    return router


def _streams() -> APIRouter:
    router = _Router(tags=["Audio stream"])
    all_streams = _ACCOUNT + "/Call/{call_uuid}/Stream/"
    one_stream = all_streams + "{stream_id}/"

    @router.on(
        "POST",
        all_streams,
        takes=models.StreamRequest,
        status_code=201,
        responses=_says(201, models.StreamCreated),
    )
    async def start_a_stream(request: Request, exchange: Ex, call_uuid: str) -> Response:
        asked: models.StreamRequest = await _body(request, models.StreamRequest)
        call = _in_progress(exchange, call_uuid)
        assert call.line is not None, "it is in progress"
        try:
            stream = await call.streams.start(_stream_plan(asked), call.line)
        except (StreamRefusedError, ValueError) as error:
            raise _invalid(error) from None
        return _answer(201, message="audio streaming started", stream_id=stream.record.stream_id)

    @router.on("GET", all_streams, query=_PAGING, responses=_says(200, models.StreamList))
    async def list_streams(request: Request, exchange: Ex, call_uuid: str) -> Response:
        _record(exchange, call_uuid)
        streams = [
            each for each in exchange.records.streams.values() if each.call_uuid == call_uuid
        ]
        auth_id = exchange.services.account.auth_id
        return _page(request, [stream_object(auth_id, each) for each in streams])

    @router.on("GET", one_stream, responses=_says(200, models.StreamObject))
    async def get_a_stream(exchange: Ex, call_uuid: str, stream_id: str) -> Response:
        record = exchange.records.streams.get(stream_id)
        if record is None or record.call_uuid != call_uuid:
            raise ApiError(404, f"stream not found: {stream_id:.60}")
        return _answer(200, **stream_object(exchange.services.account.auth_id, record))

    @router.on(
        "DELETE",
        one_stream,
        status_code=204,
        responses=_says(204) | {400: error_response("400")},
    )
    async def stop_a_stream(exchange: Ex, call_uuid: str, stream_id: str) -> Response:
        _record(exchange, call_uuid)
        call = exchange.calls.get(call_uuid)
        if call is None or not await call.streams.stop(stream_id, "API request"):
            raise ApiError(400, "No active stream found")
        return _nothing()

    @router.on("DELETE", all_streams, status_code=204, responses=_says(204))
    async def stop_all_streams(exchange: Ex, call_uuid: str) -> Response:
        await _live(exchange, call_uuid).streams.stop_all("API request")
        return _nothing()

    return router


def _stream_plan(asked: models.StreamRequest) -> StreamPlan:
    defaults = StreamPlan(asked.service_url)
    return StreamPlan(
        url=asked.service_url,
        bidirectional=bool(asked.bidirectional),
        track=asked.audio_track or defaults.track,
        content_type=asked.content_type or defaults.content_type,
        timeout=asked.stream_timeout or defaults.timeout,
        status_callback_url=asked.status_callback_url,
        status_callback_method=asked.status_callback_method or "POST",
        extra_headers=asked.extra_headers or "",
        noise_cancellation=asked.noise_cancellation == "true",
        noise_cancellation_level=(
            asked.noise_cancellation_level or defaults.noise_cancellation_level
        ),
    )


def _numbers() -> APIRouter:
    router = _Router(tags=["Number and application"])
    applications = _ACCOUNT + "/Application/"
    application = applications + "{app_id}/"
    numbers = _ACCOUNT + "/Number/"

    @router.on(
        "GET",
        applications,
        query=("app_name", *_PAGING),
        responses=_says(200, models.ApplicationList),
    )
    async def list_applications(request: Request, exchange: Ex) -> Response:
        auth_id = exchange.services.account.auth_id
        records = exchange.records.applications.values()
        name = request.query_params.get("app_name")
        return _page(
            request,
            [
                application_object(auth_id, each)
                for each in records
                if name is None or each.app_name == name
            ],
        )

    @router.on(
        "POST",
        applications,
        takes=models.ApplicationRequest,
        status_code=201,
        responses=_says(201, models.ApplicationCreated),
    )
    async def create_an_application(request: Request, exchange: Ex) -> Response:
        asked: models.ApplicationRequest = await _body(request, models.ApplicationRequest)
        if asked.app_name is None:
            raise ApiError(400, "app_name parameter is required")
        if any(each.app_name == asked.app_name for each in exchange.records.applications.values()):
            raise ApiError(400, f"app_name {asked.app_name!r:.80} is already taken")
        app_id = str(uuid4().int % 10**17).zfill(17)
        record = ApplicationRecord(app_id=app_id, app_name=asked.app_name)
        _change_application(record, asked)
        await exchange.records.remember(record)
        return _answer(201, message="created", app_id=app_id)

    @router.on("GET", application, responses=_says(200, models.Application))
    async def get_an_application(exchange: Ex, app_id: str) -> Response:
        record = _application(exchange, app_id)
        return _answer(200, **application_object(exchange.services.account.auth_id, record))

    @router.on(
        "POST",
        application,
        takes=models.ApplicationRequest,
        status_code=202,
        responses=_says(202, models.Accepted),
    )
    async def update_an_application(request: Request, exchange: Ex, app_id: str) -> Response:
        asked: models.ApplicationRequest = await _body(request, models.ApplicationRequest)
        record = _application(exchange, app_id)
        _change_application(record, asked)
        await exchange.records.remember(record)
        return _answer(202, message="changed")

    @router.on("DELETE", application, status_code=204, responses=_says(204))
    async def delete_an_application(exchange: Ex, app_id: str) -> Response:
        record = _application(exchange, app_id)
        for number in exchange.records.numbers.values():
            if number.app_id == app_id:
                number.app_id = None
                await exchange.records.remember(number)
        await exchange.records.forget(record)
        return _nothing()

    @router.on("GET", numbers, query=_PAGING, responses=_says(200, NumberList))
    async def list_numbers(request: Request, exchange: Ex) -> Response:
        auth_id, rates = exchange.services.account.auth_id, exchange.services.rates
        records = exchange.records.numbers.values()
        return _page(request, [number_object(auth_id, each, rates) for each in records])

    @router.on("GET", numbers + "{number}/", responses=_says(200, models.Number))
    async def get_a_number(exchange: Ex, number: str) -> Response:
        record = await _number(exchange, number)
        return _answer(
            200, **number_object(exchange.services.account.auth_id, record, exchange.services.rates)
        )

    @router.on(
        "POST",
        numbers + "{number}/",
        takes=models.NumberRequest,
        status_code=202,
        responses=_says(202, models.Accepted),
    )
    async def update_a_number(request: Request, exchange: Ex, number: str) -> Response:
        asked: models.NumberRequest = await _body(request, models.NumberRequest)
        record = await _number(exchange, number)
        if asked.app_id is not None:
            if asked.app_id not in exchange.records.applications:
                raise ApiError(400, f"app_id {asked.app_id!r:.40} is no application")
            record.app_id = asked.app_id
        if asked.alias is not None:
            record.alias = asked.alias
        await exchange.records.remember(record)
        return _answer(202, message="changed")

    return router


_APPLICATION_FIELDS = (
    "app_name",
    "answer_url",
    "answer_method",
    "hangup_url",
    "hangup_method",
    "fallback_answer_url",
    "fallback_method",
    "message_url",
    "message_method",
    "default_endpoint_app",
    "public_uri",
)


def _change_application(record: ApplicationRecord, asked: models.ApplicationRequest) -> None:
    """Change what is named, and leave the rest alone, the hangup URL included."""
    for name in _APPLICATION_FIELDS:
        value = getattr(asked, name)
        if value is not None:
            setattr(record, name, value)
    if asked.default_number_app is not None:
        record.default_app = asked.default_number_app


def _application(exchange: Exchange, app_id: str) -> ApplicationRecord:
    record = exchange.records.applications.get(app_id)
    if record is None:
        raise ApiError(404, f"application not found: {app_id:.40}")
    return record


async def _number(exchange: Exchange, number: str) -> NumberRecord:
    """Return a number of the account, of which any is one as soon as it is asked for."""
    bare = digits(number)
    if bare is None:
        raise ApiError(404, f"number not found: {number:.40}")
    record = exchange.records.numbers.get(bare)
    if record is None:
        record = NumberRecord(number=bare, added=exchange.services.now())
        await exchange.records.remember(record)
    return record


def _phones() -> APIRouter:
    """What is not Plivo's: the phones on the other side."""
    router = _Router(tags=["Sandbox"], prefix="/v1/sandbox")

    @router.on(
        "POST",
        "/Call/",
        takes=DialInRequest,
        status_code=201,
        responses=_says(201, DialledIn) | {each: error_response(str(each)) for each in (403, 404)},
    )
    async def dial_in(request: Request, exchange: Ex) -> Response:
        """Dial a number of the account from a phone."""
        asked: DialInRequest = await _body(request, DialInRequest)
        plan = None
        if asked.answer_url is not None:
            plan = CallPlan(
                Target(asked.answer_url, asked.answer_method or "POST"),
                fallback=_maybe(asked.fallback_url, asked.fallback_method),
                hangup=_maybe(asked.hangup_url, asked.hangup_method),
            )
        try:
            person = None
            if asked.person is not None:
                person = person_from_option(
                    asked.person, find=files_below(exchange.services.options.files)
                )
                await person.prepare()
            call = await exchange.dial_in(
                asked.to,
                caller=asked.from_,
                person=person,
                plan=plan,
                caller_name=asked.caller_name,
            )
        except ScriptError as error:
            raise _invalid(error) from None
        except UnknownNumberError as error:
            raise ApiError(404, str(error)) from None
        except CallLimitError as error:
            raise ApiError(403, f"5030: {error}") from None
        return _answer(201, message="call placed", call_uuid=call.uuid)

    return router


def _maybe(url: str | None, method: str | None) -> Target | None:
    return None if url is None else Target(url, method or "POST")


def _recordings() -> APIRouter:
    router = APIRouter(tags=["Recording"])

    @router.get(
        "/recordings/{recording_id}.wav",
        response_model=None,
        response_class=FileResponse,
        responses={200: {"content": {"audio/wav": {}}, "description": "A WAV file"}},
    )
    async def get_a_recording(exchange: Ex, recording_id: str) -> Response:
        path = exchange.services.recording_path(recording_id)
        # A name is a UUID or it is none of ours: nothing outside the directory can be meant.
        if not _is_uuid(recording_id) or not path.exists():
            raise ApiError(404, f"recording not found: {recording_id:.60}")
        return FileResponse(path, media_type="audio/wav")

    return router


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
