import pytest
from httpx import AsyncClient
from structlog.testing import capture_logs

from mediaserver.server.admin.commands import (
    CallPage,
)
from mediaserver.server.runtime import Runtime
from tests.server.admin.live import Answering, Live, client_of, turns


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


async def test_pages_follow_one_another(client: AsyncClient, runtime: Runtime) -> None:
    for each in range(3):
        Live(runtime, f"call-{each}", f"stream-{each}")
    first = (await client.get("/calls?limit=2")).json()
    assert [each["call_id"] for each in first["calls"]] == ["call-0", "call-1"]
    assert first["total"] == 3
    second = (await client.get("/calls", params={"limit": 2, "after": first["next"]})).json()
    assert [each["call_id"] for each in second["calls"]] == ["call-2"]
    assert second["next"] is None


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


async def test_a_call_that_is_followed_is_noted_by_the_audit(
    client: AsyncClient, runtime: Runtime
) -> None:
    live = Live(runtime)
    live.call.session.close("over")
    await turns()
    with capture_logs() as logs:
        response = await client.get("/calls/call-1/trace")
    assert response.status_code == 409
    (line,) = [each for each in logs if each["event"] == "operator command"]
    assert (line["action"], line["outcome"], line["call"]) == ("trace", "refused", "call-1")
