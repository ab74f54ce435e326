import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from httpx import AsyncClient
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from structlog.testing import capture_logs

from mediaserver.handler import Handler
from mediaserver.routes import Route
from mediaserver.server.admin.app import (
    LONGEST_TEXT,
    create_admin_app,
    create_metrics_app,
    masked,
)
from mediaserver.server.admin.commands import (
    CallCommand,
    CallFilter,
    CallPage,
    Delivery,
    DeliveryStatus,
    WorkerEntry,
)
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings
from mediaserver.testing import run_virtual
from tests.server.admin.live import CALLED, CALLER, URL, FakeControl, Live, client_of, hold, turns


Start = Callable[..., Awaitable[Runtime]]


class Talker(Handler):
    async def on_say(self, text: str) -> None: ...


@pytest.fixture
async def runtime(start_runtime: Start) -> Runtime:
    return await start_runtime(Route(hold), Route(Talker, "/talk"))


@pytest.fixture
def directory(runtime: Runtime) -> OwnCalls:
    runtime.process = "3f9a/1"
    return OwnCalls(runtime, FakeControl())


@pytest.fixture
async def client(directory: OwnCalls) -> AsyncIterator[AsyncClient]:
    async with client_of(directory) as client:
        yield client


class Answering(OwnCalls):
    """Answers what it is told to."""

    def __init__(self, delivery: Delivery | None = None, page: CallPage | None = None) -> None:
        self.delivery = delivery
        self.page = page
        self.listed: list[WorkerEntry] = []
        self.asked: list[Any] = []

    async def calls(self, wanted: CallFilter) -> CallPage:
        self.asked.append(wanted)
        assert self.page is not None
        return self.page

    async def send(self, command: CallCommand) -> Delivery:
        self.asked.append(command)
        assert self.delivery is not None
        return self.delivery

    async def workers(self) -> list[WorkerEntry]:
        return self.listed

    async def reload(self) -> Delivery:
        raise LookupError("a bug")


# Calls


async def test_live_calls_are_listed(client: AsyncClient, runtime: Runtime) -> None:
    Live(runtime)
    Live(runtime, "call-2", "stream-2", caller=None, path="/talk")
    await turns()
    response = await client.get("/calls")
    assert response.status_code == 200
    body = response.json()
    assert (body["total"], body["next"]) == (2, None)
    first, second = body["calls"]
    assert first["call_id"] == "call-1"
    assert first["started_at"].endswith("+00:00")
    assert (first["caller"], first["called"]) == ("…0100", "…0199")
    assert second["caller"] is None
    assert "cursor" not in first
    assert "silent" not in body
    assert (await client.get("/calls/stream-2")).json() == second | {
        "seconds": pytest.approx(second["seconds"], abs=0.1)
    }


async def test_whole_numbers_are_shown_only_where_personal_data_is(
    directory: OwnCalls, runtime: Runtime
) -> None:
    Live(runtime)
    settings = Settings(admin="127.0.0.1:8001", admin_personal_data=True)
    async with client_of(directory, settings) as client:
        call = (await client.get("/calls/call-1")).json()
    assert (call["caller"], call["called"]) == (CALLER, CALLED)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, None),
        ("+14155550100", "…0100"),
        ("sip:+14155550100@phone.plivo.com", "…0100"),
        ("sip:alice1234@example.com", "…"),
        ("112", "…"),
        ("anonymous", "…"),
        ("", "…"),
    ],
)
def test_of_a_number_four_digits_are_shown(number: str | None, shown: str | None) -> None:
    assert masked(number) == shown


async def test_calls_are_found_by_what_the_request_says(
    client: AsyncClient, runtime: Runtime
) -> None:
    Live(runtime)
    Live(runtime, "call-2", "stream-2", caller="+14155550142", path="/talk")

    async def found(query: str) -> list[str]:
        body = (await client.get(f"/calls?{query}")).json()
        return [each["call_id"] for each in body["calls"]]

    # A plus that is not escaped is a space.
    assert await found("number=+14155550142") == ["call-2"]
    assert await found("number=%2B1%20415%20555-0100") == ["call-1"]
    assert await found(f"handler={Route(Talker).name}&state=live") == ["call-2"]
    assert await found("state=lost") == []


async def test_pages_follow_one_another(client: AsyncClient, runtime: Runtime) -> None:
    for each in range(3):
        Live(runtime, f"call-{each}", f"stream-{each}")
    first = (await client.get("/calls?limit=2")).json()
    assert [each["call_id"] for each in first["calls"]] == ["call-0", "call-1"]
    assert first["total"] == 3
    second = (await client.get("/calls", params={"limit": 2, "after": first["next"]})).json()
    assert [each["call_id"] for each in second["calls"]] == ["call-2"]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "error", "hint"),
    [
        ("numbr=1", "there is no filter 'numbr'", "number, handler"),
        ("number=anonymous", "'anonymous' is not a phone number", "country code"),
        ("state=dead", "there is no state 'dead'", "starting, live, lost, ending"),
        ("limit=0", "limit is '0'", "from 1 to 200"),
        ("limit=201", "limit is '201'", "from 1 to 200"),
        ("limit=99999999999", "limit is '99999999999'", "from 1 to 200"),
        ("limit=many", "limit is 'many'", "from 1 to 200"),
    ],
)
async def test_a_wrong_filter_is_told(
    client: AsyncClient, query: str, error: str, hint: str
) -> None:
    response = await client.get(f"/calls?{query}")
    assert response.status_code == 422
    assert response.json()["error"] == error
    assert hint in response.json()["hint"]


async def test_an_unknown_call_is_told(client: AsyncClient) -> None:
    response = await client.get("/calls/call-7")
    assert response.status_code == 404
    assert response.json() == {
        "error": "no live call or stream has the id 'call-7'",
        "hint": "GET /calls lists the live calls",
    }


async def test_of_two_streams_of_a_call_one_must_be_named(
    client: AsyncClient, runtime: Runtime
) -> None:
    Live(runtime)
    Live(runtime, stream_id="stream-2")
    response = await client.get("/calls/call-1")
    assert response.status_code == 409
    assert response.json()["hint"] == "ask for one of them: stream-1, stream-2"


async def test_a_worker_that_does_not_answer_is_told() -> None:
    async with client_of(Answering(page=CallPage([], 0, silent=["3f9a/2.1"]))) as client:
        assert (await client.get("/calls")).json()["silent"] == ["3f9a/2.1"]
        response = await client.get("/calls/call-1")
    assert response.status_code == 503
    assert "3f9a/2.1" in response.json()["hint"]


# Commands


async def test_commands_are_carried_out_and_audited(client: AsyncClient, runtime: Runtime) -> None:
    Live(runtime)
    live = Live(runtime, "call-2", "stream-2", path="/talk")
    await turns()
    with capture_logs() as logged:
        said = await client.post("/calls/call-2/say", json={"text": " Hello. "})
        cleared = await client.post("/calls/call-2/clear")
        hung_up = await client.post("/calls/call-2/hangup")
        unable = await client.post("/calls/call-1/say", json={"text": "Hello."})
    assert [each.status_code for each in (said, cleared, hung_up, unable)] == [200, 200, 200, 501]
    assert hung_up.json() == {
        "outcome": "done",
        "detail": "the call was hung up",
        "call": "call-2",
    }
    assert set(unable.json()) == {"error", "hint", "outcome", "call"}
    assert live.link.closed == (1000, "hung up by an operator")
    audit = [each for each in logged if each["event"] == "operator command"]
    assert [(each["action"], each["outcome"], each["call"]) for each in audit] == [
        ("say", "done", "call-2"),
        ("clear", "done", "call-2"),
        ("hangup", "done", "call-2"),
        ("say", "unable", "call-1"),
    ]
    assert {each["by"] for each in audit} == {"127.0.0.1"}
    assert audit[0]["characters"] == len("Hello.")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("done", 200),
        ("begun", 202),
        ("unknown_call", 404),
        ("unknown_node", 404),
        ("refused", 409),
        ("too_many", 429),
        ("unable", 501),
        ("failed", 502),
        ("not_delivered", 503),
    ],
)
async def test_every_outcome_has_its_status(status: DeliveryStatus, code: int) -> None:
    directory = Answering(Delivery(status, "what happened", "what would be right"))
    async with client_of(directory) as client:
        response = await client.post("/calls/call-1/transfer", json={"url": URL})
    assert directory.asked == [CallCommand("transfer", "call-1", url=URL)]
    assert response.status_code == code
    body = response.json()
    assert body["outcome"] == status
    if code < 400:
        assert body["detail"] == "what happened"
    else:
        assert (body["error"], body["hint"]) == ("what happened", "what would be right")


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("say", b"", 400, "there is no body"),
        ("say", b"Hello.", 400, "the body is not JSON"),
        ("say", b'"Hello."', 422, "Expected `object`"),
        ("say", b"{}", 422, "missing required field `text`"),
        ("say", b'{"text": 1}', 422, "Expected `str`"),
        ("say", b'{"text": "a", "at_once": 1}', 422, "unknown field `at_once`"),
        ("say", b'{"text": "  "}', 422, "text is empty"),
        ("say", b'{"text": "%s"}' % (b"a" * 2001), 422, "2001 characters"),
        ("say", b'{"text": "\xff"}', 400, "the body is not JSON"),
        ("transfer", b'{"url": "example.com"}', 422, "must be an http:// or https:// URL"),
        ("transfer", b'{"url": "off"}', 422, "url is empty"),
        ("hangup", b'{"text": "a"}', 422, "hangup takes no body"),
        ("dance", b"", 404, "there is no action 'dance'"),
    ],
)
async def test_a_wrong_body_is_told(path: str, body: bytes, status: int, error: str) -> None:
    directory = Answering()
    async with client_of(directory) as client:
        response = await client.post(f"/calls/call-1/{path}", content=body)
    assert response.status_code == status
    assert error in response.json()["error"]
    assert response.json()["hint"]
    assert not directory.asked
    assert LONGEST_TEXT == 2_000


# The server


async def test_workers_and_nodes_are_listed_and_drained(client: AsyncClient) -> None:
    (worker,) = (await client.get("/workers")).json()["workers"]
    assert (worker["worker"], worker["state"], worker["calls"]) == ("3f9a/1", "ready", 0)
    (node,) = (await client.get("/nodes")).json()["nodes"]
    assert (node["node"], node["self"]) == ("3f9a", True)
    with capture_logs() as logged:
        drained = await client.post("/nodes/3f9a/drain")
        unknown = await client.post("/nodes/other/drain")
        reloaded = await client.post("/reload")
    assert [each.status_code for each in (drained, unknown, reloaded)] == [200, 404, 200]
    assert [(each["action"], each["outcome"]) for each in logged] == [
        ("drain", "done"),
        ("drain", "unknown_node"),
        ("reload", "done"),
    ]
    assert logged[1]["node"] == "other"


async def test_health_is_that_of_the_best_worker() -> None:
    directory = Answering()
    async with client_of(directory) as client:
        assert (await client.get("/healthz")).text == "ok\n"
        assert (await client.get("/readyz")).text == "not ready\n"
        directory.listed = [
            WorkerEntry("1", 1, "ready", unready={"chat": "no answer"}),
            WorkerEntry("2", 2, "draining"),
            WorkerEntry("3", 3, "ready", unready={"chat": "no answer"}),
        ]
        response = await client.get("/readyz")
        assert (response.status_code, response.text) == (503, "not ready: chat: no answer\n")
        directory.listed.append(WorkerEntry("4", 4, "ready"))
        assert (await client.get("/readyz")).status_code == 200


async def test_metrics_are_here_unless_they_are_off(
    directory: OwnCalls, client: AsyncClient
) -> None:
    names = {
        each.name for each in text_string_to_metric_families((await client.get("/metrics")).text)
    }
    assert "mediaserver_calls_active" in names
    settings = Settings(admin="127.0.0.1:8001", metrics="off")
    async with client_of(directory, settings) as other:
        assert (await other.get("/metrics")).status_code == 404


async def test_metrics_alone_ask_for_their_own_token(directory: OwnCalls) -> None:
    app = create_metrics_app(directory, SecretStr("a-token"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://metrics") as client:
        assert (await client.get("/metrics")).status_code == 401
        headers = {"authorization": "Bearer a-token"}
        assert b"mediaserver_calls" in (await client.get("/metrics", headers=headers)).content
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/calls", headers=headers)).status_code == 404


# Errors


async def test_a_request_that_is_cut_short_does_nothing() -> None:
    directory = Answering()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/calls/call-1/say",
        "raw_path": b"/calls/call-1/say",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8001),
        "scheme": "http",
        "http_version": "1.1",
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    app = create_admin_app(directory, Settings(admin="127.0.0.1:8001"))
    await app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert not directory.asked


async def test_who_has_no_access_is_told_and_written_down(directory: OwnCalls) -> None:
    settings = Settings(admin="0.0.0.0:8001", admin_token="sixteen-characters")  # type: ignore[arg-type]
    async with client_of(directory, settings, client=("192.0.2.7", 1)) as client:
        with capture_logs() as logged:
            response = await client.post("/reload")
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert set(response.json()) == {"error", "hint"}
        (line,) = logged
        assert (line["event"], line["by"]) == ("operator request denied", "192.0.2.7")
        headers = {"authorization": "Bearer sixteen-characters"}
        assert (await client.post("/reload", headers=headers)).status_code == 200


async def test_a_path_that_does_not_exist_says_what_does(client: AsyncClient) -> None:
    response = await client.get("/answer")
    assert response.status_code == 404
    assert response.json()["error"] == "there is no /answer"
    assert "/calls/{id}/hangup" in response.json()["hint"]


async def test_a_wrong_method_says_which_is_right(client: AsyncClient) -> None:
    response = await client.get("/reload")
    assert response.status_code == 405
    assert response.json() == {"error": "GET is not for this path", "hint": "it takes POST"}
    assert response.headers["allow"] == "POST"


async def test_a_bug_is_an_error_as_json() -> None:
    async with client_of(Answering()) as client:
        response = await client.post("/reload")
    assert response.status_code == 500
    assert "log" in response.json()["hint"]


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
    path=st.lists(
        st.sampled_from(["calls", "call-1", "say", "transfer", "nodes", "drain", "%00", "..", "é"]),
        max_size=4,
    ),
    query=st.text(max_size=20),
    body=st.one_of(
        st.binary(max_size=20),
        st.dictionaries(
            st.sampled_from(["text", "url"]), st.one_of(st.text(max_size=9), st.none())
        ).map(lambda fields: json.dumps(fields).encode()),
    ),
)
@settings_of(max_examples=40)
def test_no_request_is_too_odd_for_an_answer_in_json(
    method: str, path: list[str], query: str, body: bytes
) -> None:
    async def ask() -> None:
        directory = Answering(Delivery("done"), CallPage([], 0))
        async with client_of(directory) as client:
            url = f"/{'/'.join(path)}"
            response = await client.request(method, url, params={"q": query}, content=body)
            assert response.status_code < 500, response.text
            if method != "HEAD":
                assert isinstance(response.json(), dict)

    run_virtual(ask())
