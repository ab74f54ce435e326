import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import httpx
import pytest
from httpx import AsyncClient, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Message
from structlog.testing import capture_logs

from mediaserver.agents import Echo
from mediaserver.handler import Handler
from mediaserver.plivo.callbacks import AnswerRequest, HangupRequest, StreamStatusRequest
from mediaserver.plivo.signatures import sign_headers
from mediaserver.routes import Route
from mediaserver.server.neighbours import Alone, ToldWebhook, kind_and_fields, told_webhook
from mediaserver.server.process.app import create_app
from mediaserver.server.runtime import Runtime
from mediaserver.server.trust.seen import SEEN_HEADER
from mediaserver.server.trust.tokens import Claims


CALL = {"CallUUID": "call-1", "From": "14155550100", "To": "14155550199", "Event": "StartApp"}
STATUS = {"CallUUID": "call-1", "StreamID": "stream-1", "Event": "PlayedStream", "Name": "a"}
PUBLIC = "https://voice.example.com"
TOKEN = "an auth token"


def client_of(runtime: Runtime, **transport: Any) -> AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(runtime), **transport),
        base_url="http://testserver",
    )


@pytest.fixture
async def runtime(start_runtime: Callable[..., Any]) -> Any:
    return await start_runtime(public_url=PUBLIC)


@pytest.fixture
async def client(runtime: Runtime) -> AsyncIterator[Any]:
    async with client_of(runtime) as client:
        yield client


@pytest.fixture
async def guarded(start_runtime: Callable[..., Any]) -> Any:
    return await start_runtime(public_url=PUBLIC, auth_token=TOKEN, trusted_proxies="127.0.0.1")


def xml(response: Response) -> Element:
    return ElementTree.fromstring(response.content)


def stream_url(response: Response) -> Any:
    return xml(response)[0].text


def tags(response: Response) -> list[str]:
    return [child.tag for child in xml(response)]


async def test_a_request_of_very_many_fields_is_refused(client: AsyncClient) -> None:
    many = CALL | {f"X-PH-{number}": "" for number in range(300)}
    for response in (
        await client.post("/answer", data=many),
        await client.get("/answer", params=many),
        await client.post("/status", data=STATUS | many),
    ):
        assert response.status_code == 400
        assert response.text == "the request has more than 256 fields\n"


# /answer


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/answer", {"hello": "world"}),
        ("/hangup", {"hello": "world"}),
        ("/status", {"CallUUID": "call-1"}),
        ("/fallback", {"CallUUID": "x" * 5_000}),
    ],
)
async def test_a_400_is_logged_with_who_asked_for_what(
    start_runtime: Callable[..., Any], path: str, body: dict[str, str]
) -> None:
    runtime = await start_runtime(public_url=PUBLIC, trusted_proxies="127.0.0.1")
    async with client_of(runtime) as client:
        with capture_logs() as logged:
            response = await client.post(path, data=body, headers={"X-Forwarded-For": "192.0.2.7"})
    assert response.status_code == 400
    (line,) = [each for each in logged if each["event"] == "webhook refused"]
    assert (line["status"], line["method"], line["path"]) == (400, "POST", path)
    assert line["client"] == "192.0.2.7"
    assert line["reason"]
    assert len(line["reason"]) <= 201


async def test_the_answer_to_a_get_is_xml(client: AsyncClient, runtime: Runtime) -> None:
    response = await client.get("/answer", params=CALL)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/xml"
    assert stream_url(response).startswith("wss://voice.example.com/stream?token=")
    assert runtime.counters.webhooks == {"stream": 1}


async def test_the_answer_to_a_post_is_the_same(client: AsyncClient) -> None:
    response = await client.post("/answer", data=CALL)
    assert stream_url(response).startswith("wss://voice.example.com/stream?token=")


async def test_the_query_of_a_post_counts_too(client: AsyncClient) -> None:
    assert (await client.post("/answer", params=CALL)).status_code == 200


async def test_the_query_can_name_the_stream(start_runtime: Callable[..., Any]) -> None:
    runtime = await start_runtime(Route(Echo, "/one"), Route(Echo, "/two"))
    async with client_of(runtime) as client:
        response = await client.post("/answer?path=/two", data=CALL)
    assert "/two?token=" in stream_url(response)


async def test_a_body_that_is_no_form_is_refused(client: AsyncClient) -> None:
    response = await client.post("/answer", json=CALL)
    assert response.status_code == 400
    assert "application/json; Plivo sends application/x-www-form-urlencoded" in response.text


async def test_a_request_that_is_none_of_plivos_is_refused(
    client: AsyncClient, runtime: Runtime
) -> None:
    response = await client.post("/answer", data={"hello": "world"})
    assert response.status_code == 400
    assert "CallUUID is missing" in response.text
    assert runtime.counters.webhooks == {"malformed": 1}


async def test_a_caller_turned_away_is_counted(start_runtime: Callable[..., Any]) -> None:
    runtime = await start_runtime(max_calls=1)
    runtime.admission.admit()
    async with client_of(runtime) as client:
        await client.post("/answer", data=CALL)
    assert runtime.counters.refused == {"busy": 1}


async def test_without_a_public_url_the_host_header_is_believed_and_said_so_once(
    start_runtime: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings = []
    monkeypatch.setattr(
        "mediaserver.server.webhooks.log.warning", lambda event, **more: warnings.append(event)
    )
    runtime = await start_runtime()
    async with client_of(runtime) as client:
        for _ in range(2):
            response = await client.post("/answer", data=CALL, headers={"host": "a.example:81"})
            assert stream_url(response).startswith("ws://a.example:81/stream?")
    assert warnings == ["public URL not set"]


async def test_a_trusted_proxy_says_what_the_public_url_is(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(trusted_proxies="10.0.0.0/8")
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-host": "voice.example.com"}
    async with client_of(runtime, client=("10.0.0.9", 1)) as client:
        response = await client.post("/answer", data=CALL, headers=forwarded)
        assert stream_url(response).startswith("wss://voice.example.com/stream?")
    async with client_of(runtime, client=("198.51.100.1", 1)) as client:
        response = await client.post("/answer", data=CALL, headers=forwarded)
        assert stream_url(response).startswith("ws://testserver/stream?")


@pytest.mark.parametrize("host", ["a/b", "[", "", "user@h"])
async def test_a_host_that_is_none_is_refused(start_runtime: Callable[..., Any], host: str) -> None:
    runtime = await start_runtime()
    async with client_of(runtime) as client:
        response = await client.post("/answer", data=CALL, headers={"host": host})
    assert response.status_code == 400
    assert "--public-url" in response.text


async def test_another_method_is_not_allowed(client: AsyncClient) -> None:
    assert (await client.delete("/answer")).status_code == 405


async def test_the_token_is_not_logged(
    client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = await client.post("/answer", data=CALL)
    token = stream_url(response).partition("token=")[2]
    assert token not in caplog.text


async def test_a_request_without_a_call_is_told_what_plivo_sends(client: AsyncClient) -> None:
    response = await client.post("/answer", data={**CALL, "CallUUID": "  "})
    assert response.status_code == 400
    assert "Plivo sends CallUUID, From, To and Event to an answer URL" in response.text


async def test_an_absurdly_long_field_is_refused(client: AsyncClient) -> None:
    response = await client.post("/answer", data={**CALL, "From": "1" * 300})
    assert response.status_code == 400
    assert "From has 300 characters; at most 256" in response.text


@pytest.mark.parametrize("changes", [{"Event": "Hangup"}, {"Event": "", "CallStatus": "completed"}])
async def test_the_end_of_a_call_gets_no_stream_and_frees_its_place(
    client: AsyncClient, runtime: Runtime, changes: dict[str, str]
) -> None:
    await client.post("/answer", data=CALL)
    response = await client.post("/answer", data={**CALL, **changes})
    assert tags(response) == []
    assert runtime.admission.idle
    assert runtime.answered.has_ended("call-1")
    assert runtime.counters.webhooks == {"stream": 1, "ended": 1}


@pytest.mark.parametrize("event", ["Ring", "MachineDetection"])
async def test_other_callbacks_about_a_call_get_no_stream(
    client: AsyncClient, runtime: Runtime, event: str
) -> None:
    response = await client.post("/answer", data={**CALL, "Event": event})
    assert tags(response) == []
    assert runtime.admission.idle
    assert runtime.counters.webhooks == {"ignored": 1}


@pytest.mark.parametrize("event", ["PlayedStream", "stopped", "failed"])
async def test_status_callbacks_at_the_answer_url_get_no_stream(
    client: AsyncClient, runtime: Runtime, event: str
) -> None:
    response = await client.post("/answer", data={**STATUS, "Event": event})
    assert tags(response) == []
    assert runtime.admission.idle
    assert runtime.counters.webhooks == {"status": 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from([*CALL, "StreamID", "X-PH-a"]), st.text(max_size=40)),
    st.sampled_from(["/answer", "/fallback", "/hangup", "/status"]),
)
async def test_any_fields_get_well_formed_xml_or_a_clear_refusal(
    client: AsyncClient, fields: dict[str, str], path: str
) -> None:
    fields = {name: text.encode("utf-8", "replace").decode() for name, text in fields.items()}
    response = await client.post(path, data=fields)
    if response.status_code == 200:
        assert xml(response).tag == "Response"
        assert fields["CallUUID"].strip()
    else:
        assert response.status_code == 400
        assert "Plivo" in response.text or "characters" in response.text


# /fallback


async def test_the_fallback_streams_a_call_as_well(client: AsyncClient) -> None:
    response = await client.post("/fallback", data=CALL)
    assert stream_url(response).startswith("wss://voice.example.com/stream?token=")


async def test_a_caller_hears_something_when_even_the_fallback_fails(
    client: AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.routes, "for_number", lambda called: 1 / 0)
    response = await client.post("/fallback", data=CALL)
    assert tags(response) == ["Speak", "Hangup"]
    assert runtime.counters.webhooks == {"busy": 1}


# /hangup


async def test_after_a_hangup_the_call_is_over_and_a_late_answer_does_not_revive_it(
    client: AsyncClient, runtime: Runtime
) -> None:
    await client.post("/answer", data=CALL)
    response = await client.post("/hangup", data={**CALL, "Event": "Hangup"})
    assert tags(response) == []
    assert runtime.answered.has_ended("call-1")
    assert runtime.admission.idle
    told: list[Any] = []
    runtime.listeners.append(told.append)
    for event in ("StartApp", "Redirect"):
        late = await client.post("/answer", data={**CALL, "Event": event})
        assert (late.status_code, tags(late)) == (200, [])
    assert runtime.answered.has_ended("call-1")
    assert runtime.admission.idle
    assert runtime.counters.webhooks == {"stream": 1, "ended": 3}
    assert told == []


async def test_what_comes_to_the_hangup_url_is_a_hangup_even_if_it_does_not_say_so(
    client: AsyncClient, runtime: Runtime
) -> None:
    await client.get("/hangup", params={**CALL, "Event": ""})
    assert runtime.answered.has_ended("call-1")


# /status


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_status_callback_is_counted_once(
    client: AsyncClient, runtime: Runtime, method: Any
) -> None:
    fields: dict[str, Any] = {"params" if method == "GET" else "data": STATUS}
    for _ in range(2):
        response = await client.request(method, "/status", **fields)
        assert (response.status_code, tags(response)) == (200, [])
    assert runtime.counters.stream_statuses == {"played": 1}
    assert runtime.counters.webhooks == {"status": 1, "repeated": 1}


async def test_both_schemes_are_the_same_event(client: AsyncClient, runtime: Runtime) -> None:
    await client.post("/status", data={**STATUS, "Event": "StartStream"})
    await client.post("/status", data={**STATUS, "Event": "started"})
    assert runtime.counters.stream_statuses == {"connected": 1}


async def test_an_event_nobody_knows_is_passed_over(client: AsyncClient, runtime: Runtime) -> None:
    response = await client.post("/status", data={**STATUS, "Event": "WarmedStream"})
    assert response.status_code == 200
    assert runtime.counters.webhooks == {"ignored": 1}


async def test_a_status_callback_has_a_stream(client: AsyncClient) -> None:
    response = await client.post("/status", data=CALL)
    assert response.status_code == 400
    assert "StreamID is missing" in response.text


# Listeners


async def test_listeners_are_told_what_plivo_told(client: AsyncClient, runtime: Runtime) -> None:
    told: list[Any] = []
    runtime.listeners.append(told.append)
    await client.post("/answer", data=CALL)
    await client.post("/status", data=STATUS)
    await client.post("/status", data=STATUS)
    await client.post("/hangup", data={**CALL, "Event": "Hangup"})
    assert [type(each) for each in told] == [AnswerRequest, StreamStatusRequest, HangupRequest]


# Signatures


@pytest.mark.parametrize("path", ["/answer", "/fallback", "/hangup", "/status"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_with_a_token_only_plivo_gets_an_answer(
    guarded: Runtime, path: str, method: str
) -> None:
    async with client_of(guarded) as client:
        response = await client.request(method, path, params=CALL)
    assert response.status_code == 403
    assert "X-Plivo-Signature-V3" in response.text
    assert guarded.counters.webhooks == {"forbidden": 1}
    assert guarded.counters.refused == {"signature": 1}
    assert guarded.admission.idle
    assert not guarded.answered.has_ended("call-1")


@pytest.mark.parametrize("path", ["/answer", "/fallback", "/hangup", "/status"])
async def test_only_a_signed_request_is_told_how_it_was_seen(guarded: Runtime, path: str) -> None:
    async with client_of(guarded) as client:
        told = await client.post(path, headers=sign_headers("POST", f"{PUBLIC}{path}", TOKEN, {}))
        assert told.status_code == 400
        assert SEEN_HEADER in told.headers
        stranger = await client.post(path)
    assert stranger.status_code == 403
    assert SEEN_HEADER not in stranger.headers


async def test_a_signed_post_is_taken(guarded: Runtime) -> None:
    headers = sign_headers("POST", f"{PUBLIC}/answer?path=/stream", TOKEN, CALL)
    async with client_of(guarded) as client:
        response = await client.post("/answer?path=/stream", data=CALL, headers=headers)
        assert tags(response) == ["Stream", "Hangup"]
        forged = {**CALL, "To": "14155550142"}
        response = await client.post("/answer?path=/stream", data=forged, headers=headers)
        assert response.status_code == 403
        response = await client.post("/answer?path=/other", data=CALL, headers=headers)
        assert response.status_code == 403


async def test_a_signed_get_is_taken(guarded: Runtime) -> None:
    request = httpx.Request("GET", f"{PUBLIC}/answer", params={**CALL, "CallerName": "Zoë & Co"})
    headers = sign_headers("GET", str(request.url), TOKEN)
    async with client_of(guarded) as client:
        response = await client.get(f"/answer?{request.url.query.decode()}", headers=headers)
    assert tags(response) == ["Stream", "Hangup"]


async def test_the_public_url_counts_whatever_a_proxy_says(guarded: Runtime) -> None:
    headers = {
        **sign_headers("POST", "https://other.example.com/answer", TOKEN, CALL),
        "x-forwarded-host": "other.example.com",
        "x-forwarded-proto": "https",
    }
    async with client_of(guarded) as client:
        assert (await client.post("/answer", data=CALL, headers=headers)).status_code == 403


@pytest.mark.parametrize(("peer", "status"), [("10.0.0.9", 200), ("198.51.100.1", 403)])
async def test_without_a_public_url_only_a_trusted_proxy_says_what_was_signed(
    start_runtime: Callable[..., Any], peer: str, status: int
) -> None:
    runtime = await start_runtime(auth_token=TOKEN, trusted_proxies="10.0.0.0/8")
    headers = {
        **sign_headers("POST", f"{PUBLIC}/answer", TOKEN, CALL),
        "x-forwarded-host": "voice.example.com",
        "x-forwarded-proto": "https",
    }
    async with client_of(runtime, client=(peer, 1)) as client:
        response = await client.post("/answer", data=CALL, headers=headers)
    assert response.status_code == status


async def test_health_and_metrics_need_no_signature(guarded: Runtime) -> None:
    async with client_of(guarded) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.get(path)).status_code == 200


async def test_the_fields_of_an_answer_are_known_until_the_stream_comes(
    client: AsyncClient, runtime: Runtime
) -> None:
    await client.post("/answer", data={**CALL, "Direction": "outbound", "SIP-H-To": "<sip:a@b>"})
    request = runtime.answered.request(Claims("call-1", None, None, 0))
    assert request.is_outbound
    assert request.headers == {"SIP-H-To": "<sip:a@b>"}


async def test_the_auth_token_is_in_no_reply_or_log(
    guarded: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with client_of(guarded) as client:
            response = await client.post("/answer", data=CALL)
    assert TOKEN not in response.text + caplog.text + repr(guarded.settings)


# On the wire


async def exchange(
    runtime: Any,
    *incoming: Any,
    raw_path: bytes | None = None,
    headers: Any = (),
    path: str = "/answer",
) -> list[Message]:
    """Play the server's part of ASGI, and return what was sent."""
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 5),
    } | ({} if raw_path is None else {"raw_path": raw_path})
    messages, sent = iter(incoming), []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    await create_app(runtime)(scope, receive, send)
    return sent


async def test_a_request_that_is_cut_short_is_no_call(runtime: Runtime) -> None:
    start, _ = await exchange(runtime, {"type": "http.disconnect"})
    assert start["status"] == 400
    assert runtime.admission.idle


@pytest.mark.parametrize("raw_path", [None, b"/answer"])
async def test_the_path_is_checked_as_it_was_written_where_the_host_tells(
    guarded: Runtime, raw_path: bytes | None
) -> None:
    body = {"type": "http.request", "body": b"CallUUID=call-1"}
    headers = sign_headers("POST", f"{PUBLIC}/answer", TOKEN, {"CallUUID": "call-1"})
    start, _ = await exchange(guarded, body, headers=headers.items(), raw_path=raw_path)
    assert start["status"] == 200


# Neighbours


class Neighbour(Alone):
    """Tells one other process, which is told as over a wire."""

    def __init__(self, other: Runtime) -> None:
        self.other = other
        self.told: list[str] = []

    def tell(self, webhook: ToldWebhook) -> None:
        kind, fields = kind_and_fields(webhook)
        self.told.append(kind)
        self.other.overhear(told_webhook(kind, fields))


@pytest.fixture
async def pair(start_runtime: Callable[..., Any]) -> tuple[Runtime, Runtime]:
    """Two processes that serve the same calls."""
    prepares = Route(GetsReady, "/stream")
    first = await start_runtime(prepares, public_url=PUBLIC)
    second = await start_runtime(prepares, public_url=PUBLIC)
    first.neighbours, second.neighbours = Neighbour(second), Neighbour(first)
    return first, second


class GetsReady(Handler):
    async def on_answer(self, request: AnswerRequest, shared: Any) -> None:
        pass


async def test_a_hangup_ends_what_another_process_keeps_for_the_call(
    pair: tuple[Runtime, Runtime],
) -> None:
    first, second = pair
    heard: list[Any] = []
    first.listeners.append(heard.append)
    async with client_of(first) as client:
        await client.post("/answer", data=CALL)
    assert (len(first.prepared), first.admission.reserved) == (1, 1)
    async with client_of(second) as client:
        response = await client.post("/hangup", data={**CALL, "Event": "Hangup"})
    assert response.status_code == 200
    assert (len(first.prepared), first.admission.reserved) == (0, 0)
    assert first.answered.has_ended("call-1")
    assert [type(each) for each in heard] == [AnswerRequest, HangupRequest]
    assert cast(Neighbour, second.neighbours).told == ["hangup"]
    assert cast(Neighbour, first.neighbours).told == [], "it is not told again"


async def test_a_status_callback_is_counted_by_the_process_that_got_it_and_once_by_all(
    pair: tuple[Runtime, Runtime],
) -> None:
    for runtime in (*pair, *pair):
        async with client_of(runtime) as client:
            await client.post("/status", data=STATUS)
    first, second = (runtime.counters for runtime in pair)
    assert (first.stream_statuses, second.stream_statuses) == ({"played": 1}, {})
    assert first.webhooks == {"status": 1, "repeated": 1}
    assert second.webhooks == {"repeated": 2}
    for runtime in pair:
        (early,) = runtime.statuses.kept("stream-1")
        assert early.name == "a", "it waits for its stream in both"


async def test_a_call_comes_back_at_resume_by_the_url_in_its_xml(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(resume_calls=1, public_url="http://testserver")
    async with client_of(runtime) as client:
        redirect = xml(await client.post("/answer", data=CALL))[1]
        assert redirect.text is not None
        ended = await client.post(redirect.text, data={**CALL, "Event": "Redirect"})
        assert [element.tag for element in xml(ended)] == ["Hangup"]
        lone = await client.post("/resume", data=CALL)
        assert (lone.status_code, lone.text[:20]) == (400, "the token is missing")
        hung_up = await client.post(redirect.text, data={**CALL, "Event": "Hangup"})
        assert hung_up.status_code == 200
    assert runtime.counters.webhooks == {"stream": 1, "finished": 1, "malformed": 1, "ended": 1}
