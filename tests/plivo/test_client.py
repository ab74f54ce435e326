"""The REST client: what it sends, how it reads what comes back, and when it asks again."""

import asyncio
import base64
import contextlib
import gzip
import json
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import plivo as sdk
import pytest
import requests
import uvicorn
from httpx import ConnectError, ConnectTimeout, PoolTimeout
from hypothesis import given
from hypothesis import strategies as st
from plivo.rest import Client
from pydantic import SecretStr
from requests import PreparedRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mediaserver.plivo import errors
from mediaserver.plivo.client import PlivoClient, Retries
from mediaserver.plivo.models import (
    ApplicationRequest,
    CallRequest,
    DigitsRequest,
    NumberRequest,
    StreamRequest,
    TransferRequest,
)


AUTH_ID = "MAXXXXXXXXXXXXXXXXXX"
TOKEN = "a-very-secret-token"
BASE = f"/v1/Account/{AUTH_ID}/"
CALL = "78737f83-4660-490d-98e1-025dfe4b5c8f"
STREAM = "20170ada-f610-433b-8758-c02a2aab3662"
ANSWER = "https://voice.example.com/answer"

NEW_CALL = CallRequest(from_="+14155550100", to="+14155550199", answer_url=ANSWER)
NEW_STREAM = StreamRequest(service_url="wss://voice.example.com/stream")
CREATED = {"api_id": "a-1", "message": "call fired", "request_uuid": CALL}
STARTED = {"api_id": "a-1", "message": "audio streaming started", "stream_id": STREAM}
NO_STREAM = {"api_id": "a-1", "error": "No active stream found"}


class Api:
    """Answers of Plivo in a row, an exception among them raised; the last one stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[Any] = []
        self.waits: list[Any] = []

    def answer(self, request: httpx.Request) -> Any:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, body, *headers = answer
        if body is None:
            return httpx.Response(status, headers=dict(*headers))
        if isinstance(body, str):
            return httpx.Response(status, text=body, headers=dict(*headers))
        return httpx.Response(status, json=body, headers=dict(*headers))

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    @property
    def sent(self) -> list[str]:
        return [f"{each.method} {each.url.raw_path.decode()}" for each in self.requests]

    def client(self, **options: Any) -> PlivoClient:
        transport = httpx.MockTransport(self.answer)
        return PlivoClient(AUTH_ID, TOKEN, transport=transport, sleep=self.sleep, **options)


# What is sent


async def every_request(client: PlivoClient) -> dict[str, Any]:
    """Use everything there is, and return the answers by name."""
    return {
        "create": await client.calls.create(NEW_CALL),
        "get": await client.calls.get(CALL),
        "list": await client.calls.list(limit=5, call_direction="inbound"),
        "live": await client.calls.live(CALL),
        "list_live": await client.calls.list_live(from_number="1415", offset=20),
        "hang_up": await client.calls.hang_up(CALL),
        "cancel": await client.calls.cancel(CALL),
        "transfer": await client.calls.transfer(CALL, TransferRequest(aleg_url=ANSWER)),
        "send_digits": await client.calls.send_digits(CALL, DigitsRequest(digits="1w2")),
        "start": await client.streams.start(CALL, NEW_STREAM),
        "get_stream": await client.streams.get(CALL, STREAM),
        "list_streams": await client.streams.list(CALL),
        "stop": await client.streams.stop(CALL, STREAM),
        "stop_all": await client.streams.stop_all(CALL),
        "get_number": await client.numbers.get("+14155550100"),
        "update_number": await client.numbers.update("14155550100", NumberRequest(app_id="77")),
        "get_application": await client.applications.get("77"),
        "list_applications": await client.applications.list(app_name="x"),
        "create_application": await client.applications.create(
            ApplicationRequest(app_name="x", answer_url=ANSWER)
        ),
        "update_application": await client.applications.update(
            "77", ApplicationRequest(answer_url=ANSWER)
        ),
    }


ANYTHING = {
    "request_uuid": CALL,
    "call_uuid": CALL,
    "stream_id": STREAM,
    "number": "14155550100",
    "app_id": "77",
    "message": "ok",
}


async def test_every_request_has_plivos_path_with_its_slash() -> None:
    api = Api((200, ANYTHING))
    async with api.client() as client:
        await every_request(client)
    assert [each.replace(BASE, "") for each in api.sent] == [
        "POST Call/",
        f"GET Call/{CALL}/",
        "GET Call/?limit=5&call_direction=inbound",
        f"GET Call/{CALL}/?status=live",
        "GET Call/?status=live&from_number=1415&offset=20",
        f"DELETE Call/{CALL}/",
        f"DELETE Request/{CALL}/",
        f"POST Call/{CALL}/",
        f"POST Call/{CALL}/DTMF/",
        f"POST Call/{CALL}/Stream/",
        f"GET Call/{CALL}/Stream/{STREAM}/",
        f"GET Call/{CALL}/Stream/",
        f"DELETE Call/{CALL}/Stream/{STREAM}/",
        f"DELETE Call/{CALL}/Stream/",
        "GET Number/14155550100/",
        "POST Number/14155550100/",
        "GET Application/77/",
        "GET Application/?app_name=x",
        "POST Application/",
        "POST Application/77/",
    ]


async def test_requests_go_to_plivo_with_basic_authentication_and_json() -> None:
    api = Api((201, CREATED))
    async with api.client() as client:
        await client.calls.create(NEW_CALL)
    (request,) = api.requests
    expected = base64.b64encode(f"{AUTH_ID}:{TOKEN}".encode()).decode()
    assert request.headers["authorization"] == f"Basic {expected}"
    assert request.headers["content-type"] == "application/json"
    assert request.url.host == "api.plivo.com"
    assert json.loads(request.content) == NEW_CALL.body()


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:9000", "http://127.0.0.1:9000/"])
async def test_another_base_url_leads_to_the_sandbox(base_url: str) -> None:
    api = Api((204, None))
    async with api.client(base_url=base_url) as client:
        await client.calls.hang_up(CALL)
    assert str(api.requests[0].url) == f"http://127.0.0.1:9000{BASE}Call/{CALL}/"


@pytest.mark.parametrize("value", ["", ".", "..", "a/b", "a?b", "ä", "a b", "a\n", "x" * 129])
async def test_an_id_that_is_none_is_refused_before_it_becomes_a_request_about_all_calls(
    value: str,
) -> None:
    api = Api((204, None))
    async with api.client() as client:
        for refused in (
            client.calls.hang_up(value),
            client.calls.cancel(value),
            client.streams.stop_all(value),
            client.streams.stop(CALL, value),
            client.applications.get(value),
        ):
            with pytest.raises(ValueError, match="must be an id"):
                await refused
    assert api.requests == []


@pytest.mark.parametrize("page", [{"limit": 0}, {"limit": 21}, {"offset": -1}])
async def test_a_page_has_at_most_20_objects(page: dict[str, int]) -> None:
    api = Api((200, {}))
    async with api.client() as client:
        with pytest.raises(ValueError, match=r"limit|offset"):
            await client.streams.list(CALL, **page)
    assert api.requests == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"auth_id": ""}, "auth id"),
        ({"auth_id": "MA/../x"}, "auth id"),
        ({"auth_token": ""}, "auth token"),
        ({"base_url": "api.plivo.com"}, "base_url"),
        ({"base_url": f"https://{AUTH_ID}:{TOKEN}@api.plivo.com"}, "base_url"),
    ],
)
def test_a_client_that_could_not_work_is_not_made(options: dict[str, str], reason: str) -> None:
    given: dict[str, Any] = {"auth_id": AUTH_ID, "auth_token": TOKEN}
    with pytest.raises(ValueError, match=reason) as caught:
        PlivoClient(**given | options)
    assert TOKEN not in str(caught.value)


# What the official SDK sends


class CapturedError(Exception):
    """In place of sending."""


@contextlib.contextmanager
def capture_sdk() -> Iterator[tuple[Client, list[Any]]]:
    """The SDK's client, and the requests it would have sent."""
    sent = []

    class Session(requests.Session):
        def send(self, request: PreparedRequest, **options: Any) -> Any:
            sent.append(request)
            raise CapturedError

    client = sdk.RestClient(AUTH_ID, TOKEN)
    headers, auth = client.session.headers, client.session.auth
    client.session = Session()
    client.session.headers, client.session.auth = headers, auth
    yield client, sent


DEFAULTS_THE_SDK_SPELLS_OUT = {
    "answer_method": "POST",
    "ring_method": "POST",
    "hangup_method": "POST",
    "fallback_method": "POST",
    "machine_detection_method": "POST",
    "machine_detection_time": 5000,
    "ring_timeout": 120,
    "error_if_parent_not_found": False,
    "message_method": "POST",
    "default_number_app": False,
    "default_endpoint_app": False,
    "log_incoming_messages": True,
    "limit": "20",
    "offset": "0",
}
NAMED_IN_THE_PATH_TOO = {"call_uuid", "stream_id", "number", "app_id"}

FULL_CALL: dict[str, Any] = {
    "answer_url": ANSWER,
    "answer_method": "GET",
    "ring_url": "https://voice.example.com/ring",
    "hangup_url": "https://voice.example.com/hangup",
    "fallback_url": "https://voice.example.com/fallback",
    "caller_name": "Ann",
    "send_digits": "1w2",
    "time_limit": 60,
    "machine_detection": "true",
    "machine_detection_time": 3000,
    "machine_detection_url": "https://voice.example.com/machine",
    "sip_headers": "a=1",
    "ring_timeout": 30,
}
FULL_STREAM: dict[str, Any] = {
    "service_url": "wss://voice.example.com/stream",
    "bidirectional": False,
    "audio_track": "both",
    "stream_timeout": 3600,
    "status_callback_url": "https://voice.example.com/status",
    "status_callback_method": "GET",
    "content_type": "audio/x-l16;rate=16000",
    "extra_headers": "key1=val1,key2=val2",
}
APP: dict[str, Any] = {"answer_url": ANSWER, "hangup_url": "https://voice.example.com/hangup"}

SAME: dict[str, Any] = {
    "make": (
        lambda c: c.calls.create("+14155550100", "14155550199<14155550198", **FULL_CALL),
        lambda c: c.calls.create(
            CallRequest.model_validate(
                {"from_": "+14155550100", "to": ["14155550199", "14155550198"], **FULL_CALL}
            )
        ),
    ),
    "hang up": (lambda c: c.calls.hangup(CALL), lambda c: c.calls.hang_up(CALL)),
    "cancel": (lambda c: c.calls.cancel(CALL), lambda c: c.calls.cancel(CALL)),
    "look up": (lambda c: c.calls.get(CALL), lambda c: c.calls.get(CALL)),
    "list": (lambda c: c.calls.list(limit=5), lambda c: c.calls.list(limit=5)),
    "live": (lambda c: c.live_calls.get(CALL), lambda c: c.calls.live(CALL)),
    "list live": (
        lambda c: c.live_calls.list_ids(call_direction="inbound"),
        lambda c: c.calls.list_live(call_direction="inbound"),
    ),
    "transfer": (
        lambda c: c.calls.transfer(CALL, legs="aleg", aleg_url=ANSWER, aleg_method="GET"),
        lambda c: c.calls.transfer(CALL, TransferRequest(aleg_url=ANSWER, aleg_method="GET")),
    ),
    "digits": (
        lambda c: c.calls.send_digits(CALL, "123", leg="bleg"),
        lambda c: c.calls.send_digits(CALL, DigitsRequest(digits="123", leg="bleg")),
    ),
    "start stream": (
        lambda c: c.calls.start_stream(CALL, **FULL_STREAM),
        lambda c: c.streams.start(CALL, StreamRequest(**FULL_STREAM)),
    ),
    "get stream": (
        lambda c: c.calls.get_details_of_specific_stream(CALL, STREAM),
        lambda c: c.streams.get(CALL, STREAM),
    ),
    "list streams": (
        lambda c: c.calls.get_all_streams(CALL),
        lambda c: c.streams.list(CALL),
    ),
    "stop stream": (
        lambda c: c.calls.delete_specific_stream(CALL, STREAM),
        lambda c: c.streams.stop(CALL, STREAM),
    ),
    "stop all streams": (
        lambda c: c.calls.delete_all_streams(CALL),
        lambda c: c.streams.stop_all(CALL),
    ),
    "get number": (
        lambda c: c.numbers.get("14155550100"),
        lambda c: c.numbers.get("+1 415 555 0100"),
    ),
    "update number": (
        lambda c: c.numbers.update("14155550100", app_id="77", alias="x"),
        lambda c: c.numbers.update("+14155550100", NumberRequest(app_id="77", alias="x")),
    ),
    "get application": (lambda c: c.applications.get("77"), lambda c: c.applications.get("77")),
    "list applications": (
        lambda c: c.applications.list(app_name="x"),
        lambda c: c.applications.list(app_name="x"),
    ),
    "create application": (
        lambda c: c.applications.create("x", **APP),
        lambda c: c.applications.create(ApplicationRequest(app_name="x", **APP)),
    ),
    "update application": (
        lambda c: c.applications.update("77", **APP),
        lambda c: c.applications.update("77", ApplicationRequest(**APP)),
    ),
}


@pytest.mark.parametrize("what", SAME)
async def test_the_official_sdk_sends_the_same(what: str) -> None:
    ask_sdk, ask = SAME[what]
    api = Api((200, ANYTHING))
    async with api.client() as client:
        await ask(client)
    with capture_sdk() as (sdk_client, sent), contextlib.suppress(CapturedError):
        ask_sdk(sdk_client)
    theirs, ours = httpx.URL(sent[0].url), api.requests[0].url
    assert (api.requests[0].method, ours.copy_with(query=None)) == (
        sent[0].method,
        theirs.copy_with(query=None),
    )
    assert api.requests[0].headers["authorization"] == sent[0].headers["Authorization"]
    assert dict(ours.params) == without_defaults(dict(theirs.params), dict(ours.params))
    body = json.loads(sent[0].body or "{}")
    our_body = json.loads(api.requests[0].content or "{}")
    assert our_body == without_defaults(body, our_body)


def without_defaults(
    theirs: dict[str, bool | str] | dict[str, int | str] | dict[str, str],
    ours: dict[str, int | str] | dict[str, str],
) -> dict[str, int | str] | dict[str, str]:
    """Take out what the SDK sends though nobody asked for it."""
    return {
        name: value
        for name, value in theirs.items()
        if name in ours
        or (name not in NAMED_IN_THE_PATH_TOO and DEFAULTS_THE_SDK_SPELLS_OUT.get(name) != value)
    }


# What comes back


async def test_answers_are_typed() -> None:
    api = Api((201, STARTED))
    async with api.client() as client:
        started = await client.streams.start(CALL, NEW_STREAM)
    assert started.stream_id == STREAM
    assert started.message == "audio streaming started"
    assert started.api_id == "a-1"


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_a_change_may_be_answered_with_nothing(status: int) -> None:
    api = Api((status, None))
    async with api.client() as client:
        accepted = await client.calls.transfer(CALL, TransferRequest(aleg_url=ANSWER))
    assert accepted.message is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"api_id": "a-1", "error": "bad"}, errors.InvalidRequestError),
        (401, "Could not verify", errors.AuthenticationError),
        (403, {"error": "Geo permission"}, errors.ForbiddenError),
        (403, {"error": "5030 limit"}, errors.ConcurrencyLimitError),
        (404, {"error": "not found"}, errors.NotFoundError),
        (405, None, errors.MethodNotAllowedError),
        (409, {"error": "exists"}, errors.ConflictError),
        (302, None, errors.UnexpectedResponseError),
    ],
)
async def test_a_refusal_is_an_error_of_its_kind_at_once(
    status: int, body: dict[str, str] | str | None, kind: Any
) -> None:
    api = Api((status, body))
    async with api.client() as client:
        with pytest.raises(kind) as caught:
            await client.calls.live(CALL)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.request == f"GET Call/{CALL}/"
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"api_id": "a-1"}, "request_uuid"),
        ({"api_id": "a-1", "error": "no credit"}, "no credit"),
        ("<html>", "dictionary"),
        (None, "dictionary"),
        ("[" * 100_000, "dictionary"),
    ],
)
async def test_a_success_without_what_was_asked_for_is_an_error(
    body: dict[str, str] | str | None, said: str
) -> None:
    api = Api((201, body))
    async with api.client() as client:
        with pytest.raises(errors.UnexpectedResponseError, match=said):
            await client.calls.create(NEW_CALL)
    assert len(api.requests) == 1


async def test_all_applications_come_page_by_page() -> None:
    first = {
        "meta": {"limit": 20, "offset": 0, "next": f"{BASE}Application/?limit=20&offset=20"},
        "objects": [{"app_id": "1"}, {"app_id": "2"}],
    }
    second = {"meta": {"limit": 20, "offset": 20, "next": None}, "objects": [{"app_id": "3"}]}
    api = Api((200, first), (200, second))
    async with api.client() as client:
        found = [each.app_id async for each in client.applications.all()]
    assert found == ["1", "2", "3"]
    assert [each.url.query for each in api.requests] == [
        b"limit=20&offset=0",
        b"limit=20&offset=20",
    ]


async def test_a_list_that_leads_back_to_its_own_page_ends() -> None:
    page = {"meta": {"next": "/x/?limit=20&offset=20"}, "objects": [{"app_id": "1"}]}
    api = Api((200, page))
    async with api.client() as client:
        found = [each.app_id async for each in client.applications.all()]
    assert found == ["1", "1"]


# Stopping what is gone


@pytest.mark.parametrize(
    ("answer", "was_there"),
    [
        ((204, None), True),
        ((200, {"message": "ok"}), True),
        ((404, {"error": "not found"}), False),
        ((404, None), False),
        ((400, NO_STREAM), False),
    ],
)
async def test_stopping_what_is_gone_is_success(
    answer: tuple[int, None] | tuple[int, dict[str, str]], was_there: bool
) -> None:
    api = Api(answer)
    async with api.client() as client:
        assert await client.streams.stop(CALL, STREAM) is was_there
        assert await client.streams.stop_all(CALL) is was_there
        assert await client.calls.hang_up(CALL) is was_there
        assert await client.calls.cancel(CALL) is was_there


async def test_another_400_is_no_success() -> None:
    api = Api((400, {"error": "stream_id is invalid"}))
    async with api.client() as client:
        with pytest.raises(errors.InvalidRequestError):
            await client.streams.stop(CALL, STREAM)


async def test_a_stop_whose_answer_was_lost_is_asked_again_and_is_success() -> None:
    api = Api(httpx.ReadTimeout("slow"), (404, {"error": "not found"}))
    async with api.client() as client:
        assert await client.calls.hang_up(CALL) is False
    assert len(api.requests) == 2


# Asking again

PASSING = [
    (429, {"error": "slow down"}),
    (500, {"error": "oops"}),
    (502, "<html>"),
    (503, None),
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("closed"),
    httpx.PoolTimeout("full"),
]


@pytest.mark.parametrize("failure", PASSING, ids=str)
async def test_a_lookup_is_repeated_after_what_passes(failure: Any) -> None:
    api = Api(failure, failure, (200, {"call_uuid": CALL}))
    async with api.client() as client:
        assert (await client.calls.live(CALL)).call_uuid == CALL
    assert len(api.requests) == 3
    assert len(api.waits) == 2


@pytest.mark.parametrize("failure", PASSING, ids=str)
async def test_a_stop_is_repeated_after_what_passes(failure: Any) -> None:
    api = Api(failure, (204, None))
    async with api.client() as client:
        assert await client.streams.stop(CALL, STREAM)
    assert len(api.requests) == 2


@pytest.mark.parametrize("failure", PASSING, ids=str)
async def test_the_last_failure_comes_out(failure: Any) -> None:
    api = Api(failure)
    async with api.client(retries=Retries(attempts=3)) as client:
        with pytest.raises(errors.PlivoError) as caught:
            await client.calls.live(CALL)
    assert len(api.requests) == 3
    assert caught.value.status == (failure[0] if isinstance(failure, tuple) else None)


MAY_HAVE_DONE_IT = [
    (500, {"error": "oops"}),
    (502, "<html>"),
    (503, None),
    (504, None),
    httpx.ReadTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.WriteError("broken pipe"),
    httpx.WriteTimeout("slow"),
    httpx.RemoteProtocolError("closed"),
]


@pytest.mark.parametrize("failure", MAY_HAVE_DONE_IT, ids=str)
async def test_what_may_have_been_done_is_never_sent_twice(failure: Any) -> None:
    api = Api(failure)
    async with api.client() as client:
        for ask in (
            client.calls.create(NEW_CALL),
            client.streams.start(CALL, NEW_STREAM),
            client.calls.transfer(CALL, TransferRequest(aleg_url=ANSWER)),
            client.calls.send_digits(CALL, DigitsRequest(digits="1")),
        ):
            with pytest.raises(errors.PlivoError) as caught:
                await ask
            assert getattr(caught.value, "may_have_arrived", True)
    assert len(api.requests) == 4
    assert api.waits == []


async def test_a_call_that_was_refused_for_haste_is_not_placed_again_by_itself() -> None:
    api = Api((429, {"error": "slow down"}, {"retry-after": "2"}))
    async with api.client() as client:
        with pytest.raises(errors.RateLimitedError) as caught:
            await client.calls.create(NEW_CALL)
    assert caught.value.retry_after == 2
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("")]
)
async def test_a_call_that_never_left_is_tried_again(
    failure: ConnectError | ConnectTimeout | PoolTimeout,
) -> None:
    api = Api(failure, failure, (201, CREATED))
    async with api.client() as client:
        assert (await client.calls.create(NEW_CALL)).call_uuid == CALL
    assert len(api.requests) == 3


async def test_a_call_that_can_not_leave_says_that_it_has_not() -> None:
    api = Api(httpx.ConnectError("refused"))
    async with api.client() as client:
        with pytest.raises(errors.PlivoUnreachableError, match="refused") as caught:
            await client.calls.create(NEW_CALL)
    assert caught.value.may_have_arrived is False


@given(st.integers(1, 10), st.floats(0.01, 5), st.floats(0.01, 60))
def test_waits_double_up_to_the_longest_and_are_spread(
    attempts: int, backoff: float, longest: float
) -> None:
    retries = Retries(attempts=attempts + 1, backoff=backoff, longest=longest)
    for attempt in range(1, attempts + 1):
        full = min(backoff * 2 ** (attempt - 1), longest)
        assert full / 2 <= retries.wait(attempt, None) <= full
    assert retries.wait(attempts + 1, None) is None


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured(status: int) -> None:
    api = Api((status, None, {"retry-after": "7"}), (200, {"call_uuid": CALL}))
    async with api.client() as client:
        await client.calls.live(CALL)
    assert api.waits == [7]


async def test_retry_after_may_be_a_date() -> None:
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    api = Api((429, None, {"retry-after": past}), (200, {"call_uuid": CALL}))
    async with api.client() as client:
        await client.calls.live(CALL)
    assert api.waits == [0]


async def test_a_retry_after_that_is_too_long_is_an_error_at_once() -> None:
    api = Api((429, None, {"retry-after": "3600"}))
    async with api.client() as client:
        with pytest.raises(errors.RateLimitedError) as caught:
            await client.calls.live(CALL)
    assert caught.value.retry_after == 3600
    assert api.waits == []


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e9", "٣"])
async def test_a_retry_after_that_is_none_is_passed_over(value: str) -> None:
    answer = httpx.Response(429, headers={b"retry-after": value.encode()})
    done = httpx.Response(200, json={"call_uuid": CALL})
    answers, waits = [answer, done], []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    transport = httpx.MockTransport(lambda request: answers.pop(0))
    async with PlivoClient(AUTH_ID, TOKEN, transport=transport, sleep=sleep) as client:
        await client.calls.live(CALL)
    assert 0.25 <= waits[0] <= 0.5


# The token


async def test_the_token_is_in_no_repr_log_or_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = base64.b64encode(f"{AUTH_ID}:{TOKEN}".encode()).decode()
    api = Api((400, {"error": f"bad token {TOKEN}"}), httpx.ReadError(f"to {TOKEN}"))
    said = []
    async with api.client() as client:
        said += [repr(client), str(client), repr(client.calls), repr(client.streams)]
        for _ in range(2):
            with pytest.raises(errors.PlivoError) as caught:
                await client.calls.create(NEW_CALL)
            said.append("".join(traceback.format_exception(caught.value)))
            said += [repr(caught.value), str(caught.value), repr(vars(caught.value))]
    said.append(caplog.text)
    assert not [text for text in said if TOKEN in text or secret in text]


def test_the_token_may_be_a_secret() -> None:
    client = PlivoClient(AUTH_ID, SecretStr(TOKEN))
    assert TOKEN not in repr(vars(client))


# A real server that is strict about what it gets


def strict_plivo(seen: list[Any]) -> Starlette:
    """Take only what Plivo documents, and answer as it does."""

    def refuse(status: int, error: str) -> JSONResponse:
        return JSONResponse({"api_id": "a-1", "error": error}, status)

    async def checked(request: Request) -> tuple[JSONResponse | None, Any]:
        expected = base64.b64encode(f"{AUTH_ID}:{TOKEN}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {expected}":
            return refuse(401, "Authentication failed"), None
        body = await request.body()
        if request.method != "POST":
            return (refuse(400, "unexpected body"), None) if body else (None, None)
        if request.headers["content-type"] != "application/json":
            return refuse(400, "not JSON"), None
        return None, json.loads(body)

    async def calls(request: Request) -> JSONResponse:
        refusal, body = await checked(request)
        if refusal:
            return refusal
        seen.append(("create", body))
        if set(body) - {"from", "to", "answer_url", "hangup_url"}:
            return refuse(400, "unknown parameter")
        return JSONResponse(CREATED, 201)

    async def one_call(request: Request) -> JSONResponse | Response:
        refusal, body = await checked(request)
        if refusal:
            return refusal
        seen.append((request.method, body))
        if request.method == "DELETE":
            return Response(status_code=204)
        return JSONResponse({"api_id": "a-1", "message": "call transferred"}, 202)

    async def streams(request: Request) -> JSONResponse:
        refusal, body = await checked(request)
        if refusal:
            return refusal
        seen.append((request.method, body))
        if request.method == "GET":
            meta = {"limit": 20, "offset": 0, "total_count": 1}
            return JSONResponse({"api_id": "a-1", "meta": meta, "objects": [{"stream_id": STREAM}]})
        if request.method == "DELETE":
            return JSONResponse(NO_STREAM, 400)
        if not isinstance(body["service_url"], str) or "call_uuid" in body:
            return refuse(400, "bad body")
        return JSONResponse(STARTED, 201)

    return Starlette(
        routes=[
            Route(f"{BASE}Call/", calls, methods=["POST"]),
            Route(f"{BASE}Call/{CALL}/", one_call, methods=["POST", "DELETE"]),
            Route(f"{BASE}Call/{CALL}/Stream/", streams, methods=["GET", "POST", "DELETE"]),
        ]
    )


@contextlib.asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[Any]:
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        task = asyncio.create_task(server.serve([sock]))
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


async def test_a_strict_server_takes_what_is_sent() -> None:
    seen: list[Any] = []
    async with (
        serving(strict_plivo(seen)) as url,
        PlivoClient(AUTH_ID, TOKEN, base_url=url) as client,
    ):
        created = await client.calls.create(NEW_CALL)
        started = await client.streams.start(created.call_uuid, NEW_STREAM)
        listed = await client.streams.list(created.call_uuid)
        await client.calls.transfer(created.call_uuid, TransferRequest(aleg_url=ANSWER))
        stopped = await client.streams.stop_all(created.call_uuid)
        hung_up = await client.calls.hang_up(created.call_uuid)
    assert [each.stream_id for each in listed.objects] == [started.stream_id]
    assert (stopped, hung_up) == (False, True)
    assert [what for what, _ in seen] == ["create", "POST", "GET", "POST", "DELETE", "DELETE"]


async def test_a_strict_server_refuses_another_token() -> None:
    async with (
        serving(strict_plivo([])) as url,
        PlivoClient(AUTH_ID, "another", base_url=url) as client,
    ):
        with pytest.raises(errors.AuthenticationError, match="Authentication failed"):
            await client.calls.create(NEW_CALL)


async def test_a_server_that_is_not_there_is_provably_not_reached() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        async with PlivoClient(AUTH_ID, TOKEN, base_url=url, retries=Retries(attempts=1)) as client:
            with pytest.raises(errors.PlivoUnreachableError) as caught:
                await client.calls.create(NEW_CALL)
    assert caught.value.may_have_arrived is False


async def test_a_server_that_hangs_up_in_place_of_an_answer_may_have_placed_the_call() -> None:
    requests_seen = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests_seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with PlivoClient(AUTH_ID, TOKEN, base_url=f"http://127.0.0.1:{port}") as client:
            with pytest.raises(errors.PlivoUnreachableError) as caught:
                await client.calls.create(NEW_CALL)
    assert caught.value.may_have_arrived
    assert len(requests_seen) == 1


async def test_an_answer_that_never_ends_is_given_up() -> None:
    dripping = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        try:
            with contextlib.suppress(ConnectionError):
                while not writer.is_closing():
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.005)
        finally:
            writer.close()
            dripping.set()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with PlivoClient(AUTH_ID, TOKEN, base_url=url, timeout=0.05) as client:
            with pytest.raises(
                errors.PlivoUnreachableError, match="no complete response"
            ) as caught:
                await client.calls.create(NEW_CALL)
        await dripping.wait()
    assert caught.value.may_have_arrived


@pytest.mark.parametrize("status", [200, 400])
async def test_an_answer_that_is_too_long_is_not_read(status: int) -> None:
    api = Api((status, "x" * (2**20 + 1)))
    async with api.client() as client:
        with pytest.raises(errors.UnexpectedResponseError, match="longer than 1048576"):
            await client.calls.create(NEW_CALL)
    assert len(api.requests) == 1


async def test_a_compressed_answer_is_read() -> None:
    async def compressed(request: Request) -> Response:
        body = gzip.compress(json.dumps(CREATED).encode())
        return Response(body, 201, {"content-encoding": "gzip"}, "application/json")

    app = Starlette(routes=[Route("/{path:path}", compressed, methods=["POST"])])
    async with serving(app) as url, PlivoClient(AUTH_ID, TOKEN, base_url=url) as client:
        assert (await client.calls.create(NEW_CALL)).call_uuid == CALL


async def test_answers_are_asked_for_as_they_are_and_never_expanded_beyond_their_limit() -> None:
    asked = []

    async def bomb(request: Request) -> Response:
        asked.append(request.headers["accept-encoding"])
        body = gzip.compress(bytes(20_000_000))
        encoding = "gzip" if len(asked) == 1 else "gzip, gzip"
        return Response(body, 201, {"content-encoding": encoding}, "application/json")

    app = Starlette(routes=[Route("/{path:path}", bomb, methods=["POST"])])
    async with serving(app) as url, PlivoClient(AUTH_ID, TOKEN, base_url=url) as client:
        for says in ("longer than 1048576", "encoded as gzip, gzip"):
            with pytest.raises(errors.UnexpectedResponseError, match=says):
                await client.calls.create(NEW_CALL)
    assert asked == ["identity", "identity"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving(strict_plivo([])) as url:
        url = url.replace("127.0.0.1", host)
        async with PlivoClient(AUTH_ID, TOKEN, base_url=url) as client:
            assert (await client.calls.create(NEW_CALL)).call_uuid
