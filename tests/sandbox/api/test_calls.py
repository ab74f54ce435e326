from __future__ import annotations

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient, Response

from mediaserver.plivo import models
from tests.sandbox.api.conftest import CALL, Ask, OnApi, call_in_progress, refusal


async def place(platform: Any, api: AsyncClient, **more: str) -> Response:
    """Make a call that its answer document ends."""
    body = CALL | {"answer_url": platform.document("/answer", "<Hangup/>")} | more
    return await api.post("Call/", json=body)


def test_making_a_call_answers_as_plivo_does(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        return await place(platform, api)

    response = on_api(scenario)

    assert response.status_code == 201
    assert set(response.json()) == {"api_id", "message", "request_uuid"}
    assert response.json()["message"] == "call fired"


def test_a_call_is_made_from_a_form_and_without_a_slash_too(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        form = CALL | {
            "answer_url": platform.document("/answer", "<Hangup/>"),
            "time_limit": "90",
            "machine_detection": "true",
            "unknown": "1",
        }
        made = await api.post("Call", data=form)
        return made.status_code, platform.exchange.calls[made.json()["request_uuid"]].plan

    status, plan = on_api(scenario)

    assert (status, plan.time_limit, plan.machine_detection) == (201, 90, "true")


def test_several_numbers_are_called(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        made = await place(platform, api, to="+14155550123<+14155550124")
        return made.json(), list(platform.exchange.calls)

    made, calls = on_api(scenario)

    assert made["request_uuid"] == calls
    assert len(calls) == 2


def test_the_answer_says_that_a_call_is_queued(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        made = [(await place(platform, api)).json() for _ in range(2)]
        await asyncio.sleep(0.5)
        queued = (await api.get("Call/", params={"status": "queued"})).json()
        return made, queued

    (first, second), queued = on_api(scenario, options={"calls_per_second": 0.1})

    assert (first["message"], second["message"]) == ("call fired", "call queued")
    assert queued["calls"] == [second["request_uuid"]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"answer_url": None}, "answer_url parameter is required"),
        ({"answer_url": "nowhere"}, "Must be a valid url"),
        ({"to": "somebody"}, "to:"),
        ({"machine_detection_time": 1}, "machine_detection_time"),
        ({"answer_method": "PUT"}, "answer_method"),
    ],
)
def test_a_call_that_plivo_refuses_is_refused(
    ask: Ask, change: dict[str, None] | dict[str, int] | dict[str, str], says: str
) -> None:
    assert says in refusal(
        ask("POST", "Call/", json=CALL | {"answer_url": "http://h.example/"} | change), 400
    )


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'"text"'])
def test_a_body_without_parameters_is_refused(ask: Ask, body: bytes) -> None:
    assert "body" in refusal(ask("POST", "Call/", content=body), 400)


def test_a_call_beyond_the_accounts_concurrency_is_forbidden(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        await place(platform, api)
        return await place(platform, api)

    assert "5030" in refusal(on_api(scenario, options={"concurrency": 1}), 403)


def test_a_live_call_is_shown_and_listed(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        live = await api.get(f"Call/{uuid}/", params={"status": "live"})
        return uuid, live, (await api.get("Call/", params={"status": "live"})).json()

    uuid, live, listed = on_api(scenario)

    assert listed["calls"] == [uuid]
    shown = models.LiveCall.model_validate(live.json())
    assert (shown.call_uuid, shown.call_status, shown.direction) == (
        uuid,
        "in-progress",
        "outbound",
    )
    assert (shown.from_, shown.to) == ("+14155550100", "14155550123")


def test_a_call_that_has_ended_has_a_record(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api, '<Wait length="61"/>')
        await platform.exchange.calls[uuid].wait_ended()
        gone = await api.get(f"Call/{uuid}/", params={"status": "live"})
        return gone, (await api.get(f"Call/{uuid}/")).json(), (await api.get("Call/")).json()

    gone, record, listed = on_api(scenario)

    assert "not found" in refusal(gone, 404)
    assert (record["bill_duration"], record["billed_duration"]) == (61, 120)
    assert (record["total_amount"], record["total_rate"]) == ("0.02000", "0.01000")
    assert (record["hangup_cause_code"], record["hangup_source"]) == (4010, "Plivo")
    assert record["answer_time"].endswith("+00:00")
    assert record.keys() - listed["objects"][0].keys() == {"api_id"}
    assert listed["meta"]["total_count"] == 1


def test_calls_are_listed_by_what_is_asked_for(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        for to in ("+14155550123", "+14155550486"):
            await place(platform, api, to=to)
        calls = list(platform.exchange.calls.values())
        await asyncio.gather(*(call.wait_ended() for call in calls))
        queries = (
            {"to_number": "14155550486"},
            {"hangup_cause_code": 3010},
            {"call_direction": "inbound"},
            {"hangup_source": "Answer XML"},
        )
        answers = [(await api.get("Call/", params=query)).json() for query in queries]
        return [[each["to_number"] for each in answer["objects"]] for answer in answers]

    assert on_api(scenario) == [["14155550486"], ["14155550486"], [], ["14155550123"]]


@pytest.mark.parametrize("query", [{"limit": 21}, {"limit": 0}, {"offset": -1}, {"status": "x"}])
def test_calls_are_not_listed_beyond_a_page(
    ask: Ask, query: dict[str, int] | dict[str, str]
) -> None:
    assert next(iter(query)) in refusal(ask("GET", "Call/", params=query), 400)


def test_calls_are_hung_up_once(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        return [await api.delete(f"Call/{uuid}/") for _ in range(2)]

    first, second = on_api(scenario)

    assert (first.status_code, first.content) == (204, b"")
    assert "not a live call" in refusal(second, 404)


def test_calls_are_cancelled_before_the_answer_only(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        body = CALL | {"answer_url": platform.document("/answer", '<Wait length="9"/>')}
        early = (await api.post("Call/", json=body)).json()["request_uuid"]
        cancelled = await api.delete(f"Request/{early}/")
        late = await call_in_progress(platform, api)
        return cancelled, await api.delete(f"Request/{late}/")

    cancelled, refused = on_api(scenario)

    assert cancelled.status_code == 204
    assert "waits to be answered" in refusal(refused, 404)


def test_calls_are_transferred(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        url = platform.document("/other", "<Hangup/>")
        call = platform.exchange.calls[uuid]
        moved = await api.post(f"Call/{uuid}/", json={"legs": "aleg", "aleg_url": url})
        await call.wait_ended()
        return moved, call.record.hangup_source

    moved, source = on_api(scenario)

    assert (moved.status_code, moved.json()["message"]) == (202, "call transferred")
    assert source == "Answer XML"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"legs": "aleg"}, 400, "aleg_url"),
        ({"legs": "neither", "aleg_url": "http://h.example/"}, 400, "legs"),
        ({"legs": "bleg", "bleg_url": "http://h.example/"}, 404, "no b leg"),
    ],
)
def test_calls_are_not_transferred_to_nowhere(
    on_api: OnApi, body: dict[str, str], status: int, says: str
) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        return await api.post(f"Call/{uuid}/", json=body)

    assert says in refusal(on_api(scenario), status)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "Call/none/"),
        ("DELETE", "Call/none/"),
        ("DELETE", "Request/none/"),
        ("GET", "Call/none/Stream/"),
        ("GET", "Call/none/Stream/none/"),
        ("DELETE", "Call/none/Stream/"),
        ("DELETE", "Call/none/Stream/none/"),
        ("DELETE", "Call/none/Speak/"),
        ("DELETE", "Call/none/Record/"),
    ],
)
def test_calls_that_do_not_exist_are_not_found(ask: Ask, method: str, path: str) -> None:
    assert "not found" in refusal(ask(method, path), 404) or path == "Request/none/"


def test_a_call_that_goes_on_has_no_record_yet(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        early = await api.get(f"Call/{uuid}/")
        live = await api.get(f"Call/{uuid}/", params={"status": "live"})
        platform.exchange.calls[uuid].hang_up_by_api()
        await platform.exchange.calls[uuid].wait_ended()
        return early, live, await api.get(f"Call/{uuid}/")

    early, live, late = on_api(scenario)

    assert "has not ended" in refusal(early, 404)
    assert (live.status_code, live.json()["call_status"]) == (200, "in-progress")
    assert (late.status_code, late.json()["call_state"]) == (200, "completed")


def test_filters_find_calls_by_time(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        platform.exchange.calls[uuid].hang_up_by_api()
        await platform.exchange.calls[uuid].wait_ended()
        ended = (await api.get(f"Call/{uuid}/")).json()["end_time"]
        queries = [{"end_time__gte": ended}, {"end_time__gt": ended}, {"end_time": ended}]
        return [(await api.get("Call/", params=query)).json() for query in queries]

    counts = [each["meta"]["total_count"] for each in on_api(scenario)]

    assert counts == [1, 0, 1]


@pytest.mark.parametrize("status", [{}, {"status": "live"}])
def test_unknown_filters_are_refused(ask: Ask, status: dict[str, str]) -> None:
    assert "cannot be filtered by 'end_time__near'" in refusal(
        ask("GET", "Call/", params={"end_time__near": "now", **status}), 400
    )
