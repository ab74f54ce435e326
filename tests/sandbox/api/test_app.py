from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from httpx import AsyncClient, Response

from audiocodecs import write_wav
from mediaserver.plivo import models
from mediaserver.sandbox.account import RateLimiter
from mediaserver.sandbox.api.app import create_api
from mediaserver.sandbox.people.dialplan import Dialplan
from mediaserver.sandbox.people.person import Person


AUTH = ("MASANDBOXSANDBOXSAND", "a token for tests")
CALL = {"from": "+14155550100", "to": "+14155550123"}

PHONES = "http://sandbox.example/v1/sandbox/Call/"

Api = httpx.AsyncClient
Scenario = Callable[[Any, Api], Awaitable[Any]]


@pytest.fixture
def on_api(on_platform: Callable[..., Any]) -> Callable[..., Any]:
    """Run a scenario with a platform, and a client of its API."""

    def run(scenario: Scenario, *, limiter: RateLimiter | None = None, **options: Any) -> Any:
        async def main(platform: Any) -> Any:
            app = create_api(platform.exchange, limiter)
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url=f"http://sandbox.example/v1/Account/{AUTH[0]}/",
                auth=AUTH,
            ) as api:
                return await scenario(platform, api)

        return on_platform(main, **options)

    return run


async def call_in_progress(platform: Any, api: Api, *elements: str) -> str:
    """Make a call that somebody has answered."""
    url = platform.document("/answer", *(elements or ('<Wait length="60"/>',)))
    made = (await api.post("Call/", json=CALL | {"answer_url": url})).json()
    await platform.exchange.calls[made["request_uuid"]].answered.wait()
    uuid: str = made["request_uuid"]
    return uuid


def refusal(response: httpx.Response, status: int) -> str:
    """Return what a refusal says, having checked its shape."""
    body = response.json()
    assert (response.status_code, set(body)) == (status, {"api_id", "error"})
    error: str = body["error"]
    return error


class TestGate:
    @pytest.mark.parametrize("auth", [None, ("MASANDBOXSANDBOXSAND", "wrong"), ("MA", AUTH[1])])
    def test_wrong_credentials_are_refused(
        self, on_api: Callable[..., Any], auth: tuple[str, str] | None
    ) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            return await api.get("Call/", auth=auth)

        response = on_api(scenario)

        assert "credentials" in refusal(response, 401)
        assert response.headers["WWW-Authenticate"].startswith("Basic")

    def test_credentials_come_before_the_body(self, on_api: Any) -> None:
        async def scenario(_: Any, api: Api) -> httpx.Response:
            return await api.post("Call/", content=b"{", auth=("MA", "wrong"))

        assert "credentials" in refusal(on_api(scenario), 401)

    def test_another_account_is_refused(self, on_api: Callable[..., Any]) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            return await api.get("http://sandbox.example/v1/Account/MAXXXXXXXXXXXXXXXXXX/Call/")

        assert "MAXXXXXXXXXXXXXXXXXX" in refusal(on_api(scenario), 401)

    def test_too_many_requests_have_to_wait(self, on_api: Callable[..., Any]) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            answers = [await api.get("Call/") for _ in range(4)]
            await asyncio.sleep(5)
            return answers, await api.get("Call/")

        answers, later = on_api(scenario, limiter=RateLimiter(3, 5))

        assert [each.status_code for each in answers] == [200, 200, 200, 429]
        assert "3 requests in 5 seconds" in refusal(answers[-1], 429)
        assert answers[-1].headers["Retry-After"] == "5"
        assert later.status_code == 200

    @pytest.mark.parametrize(
        ("method", "path", "status"), [("GET", "Conference/", 404), ("PUT", "Call/", 405)]
    )
    def test_what_there_is_not_is_refused_in_the_same_shape(
        self, on_api: Callable[..., Any], method: str, path: str, status: int
    ) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            return await api.request(method, path)

        assert refusal(on_api(scenario), status)

    @pytest.mark.parametrize("path", ["Conference/", "", "Call/x/y/z/"])
    @pytest.mark.parametrize("method", ["GET", "PUT"])
    def test_what_there_is_not_is_told_to_nobody_else(
        self, on_api: Callable[..., Any], method: str, path: str
    ) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            return await api.request(method, path, auth=("MASANDBOXSANDBOXSAND", "wrong"))

        assert "credentials" in refusal(on_api(scenario), 401)


class TestMakeACall:
    def test_answers_as_plivo_does(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            url = platform.document("/answer", "<Hangup/>")
            return await api.post("Call/", json=CALL | {"answer_url": url})

        response = on_api(scenario)

        assert response.status_code == 201
        assert set(response.json()) == {"api_id", "message", "request_uuid"}
        assert response.json()["message"] == "call fired"

    def test_takes_a_form_and_no_slash_too(self, on_api: Callable[..., Any]) -> None:
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

    def test_calls_several_numbers(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            body = CALL | {
                "to": "+14155550123<+14155550124",
                "answer_url": platform.document("/answer", "<Hangup/>"),
            }
            made = await api.post("Call/", json=body)
            return made.json(), list(platform.exchange.calls)

        made, calls = on_api(scenario)

        assert made["request_uuid"] == calls
        assert len(calls) == 2

    def test_says_that_a_call_is_queued(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            body = CALL | {"answer_url": platform.document("/answer", "<Hangup/>")}
            made = [(await api.post("Call/", json=body)).json() for _ in range(2)]
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
    def test_refuses_what_plivo_refuses(
        self,
        on_api: Callable[..., Any],
        change: dict[str, None] | dict[str, int] | dict[str, str],
        says: str,
    ) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            return await api.post("Call/", json=CALL | {"answer_url": "http://h.example/"} | change)

        assert says in refusal(on_api(scenario), 400)

    @pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'"text"'])
    def test_refuses_what_is_no_request(self, on_api: Callable[..., Any], body: bytes) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            return await api.post("Call/", content=body)

        assert "body" in refusal(on_api(scenario), 400)

    def test_is_forbidden_beyond_the_accounts_concurrency(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            body = CALL | {"answer_url": platform.document("/answer", "<Hangup/>")}
            await api.post("Call/", json=body)
            return await api.post("Call/", json=body)

        assert "5030" in refusal(on_api(scenario, options={"concurrency": 1}), 403)


class TestCalls:
    def test_a_live_call_is_shown_and_listed(self, on_api: Callable[..., Any]) -> None:
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

    def test_a_call_that_has_ended_has_a_record(self, on_api: Callable[..., Any]) -> None:
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

    def test_are_listed_by_what_is_asked_for(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            for to in ("+14155550123", "+14155550486"):
                body = CALL | {"to": to, "answer_url": platform.document("/answer", "<Hangup/>")}
                await api.post("Call/", json=body)
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

    @pytest.mark.parametrize(
        "query", [{"limit": 21}, {"limit": 0}, {"offset": -1}, {"status": "x"}]
    )
    def test_are_not_listed_beyond_a_page(
        self, on_api: Callable[..., Any], query: dict[str, int] | dict[str, str]
    ) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            return await api.get("Call/", params=query)

        assert next(iter(query)) in refusal(on_api(scenario), 400)

    def test_are_hung_up_once(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            uuid = await call_in_progress(platform, api)
            return [await api.delete(f"Call/{uuid}/") for _ in range(2)]

        first, second = on_api(scenario)

        assert (first.status_code, first.content) == (204, b"")
        assert "no live call" in refusal(second, 404)

    def test_are_cancelled_before_the_answer_only(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            body = CALL | {"answer_url": platform.document("/answer", '<Wait length="9"/>')}
            early = (await api.post("Call/", json=body)).json()["request_uuid"]
            cancelled = await api.delete(f"Request/{early}/")
            late = await call_in_progress(platform, api)
            return cancelled, await api.delete(f"Request/{late}/")

        cancelled, refused = on_api(scenario)

        assert cancelled.status_code == 204
        assert "waits to be answered" in refusal(refused, 404)

    def test_are_transferred(self, on_api: Callable[..., Any]) -> None:
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
    def test_are_not_transferred_to_nowhere(
        self, on_api: Callable[..., Any], body: dict[str, str], status: int, says: str
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
    def test_that_there_are_not_are_not_found(
        self, on_api: Callable[..., Any], method: str, path: str
    ) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            return await api.request(method, path)

        assert "not found" in refusal(on_api(scenario), 404) or path == "Request/none/"


class TestStreams:
    def test_are_started_shown_listed_and_stopped(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            uuid = await call_in_progress(platform, api)
            body = {"service_url": platform.stream_url + "/ws", "audio_track": "both"}
            # The official SDK repeats the path's parameter in the body.
            made = await api.post(f"Call/{uuid}/Stream/", json=body | {"call_uuid": uuid})
            stream_id = made.json()["stream_id"]
            await platform.streams.until(1)
            await asyncio.sleep(27)
            listed = await api.get(f"Call/{uuid}/Stream/")
            stopped = await api.delete(f"Call/{uuid}/Stream/{stream_id}/")
            shown = await api.get(f"Call/{uuid}/Stream/{stream_id}")
            again = await api.delete(f"Call/{uuid}/Stream/{stream_id}/")
            return made, listed.json(), stopped, shown.json(), again

        made, listed, stopped, shown, again = on_api(scenario)

        assert (made.status_code, made.json()["message"]) == (201, "audio streaming started")
        assert set(made.json()) == {"api_id", "message", "stream_id"}
        assert (listed["meta"]["total_count"], listed["objects"][0]["end_time"]) == (1, None)
        assert (stopped.status_code, stopped.content) == (204, b"")
        assert refusal(again, 400) == "No active stream found"
        assert (shown["bill_duration"], shown["rounded_bill_duration"]) == (27, 60)
        assert (shown["billed_amount"], shown["audio_track"]) == ("0.00300", "both")
        assert (shown["bidirectional"], shown["content_type"]) == (False, "audio/x-l16;rate=8000")
        assert shown["start_time"] < shown["end_time"]

    def test_are_all_stopped_at_once(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            uuid = await call_in_progress(platform, api, platform.stream(keepCallAlive="true"))
            await platform.streams.until(1)
            stopped = await api.delete(f"Call/{uuid}/Stream/")
            return stopped, [each.end_reason for each in platform.exchange.records.streams.values()]

        stopped, reasons = on_api(scenario)

        assert (stopped.status_code, reasons) == (204, ["API request"])

    def test_are_one_at_a_time(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            uuid = await call_in_progress(platform, api)
            body = {"service_url": platform.stream_url + "/ws"}
            return await asyncio.gather(
                *(api.post(f"Call/{uuid}/Stream/", json=body) for _ in range(2))
            )

        first, second = sorted(on_api(scenario), key=lambda each: each.status_code)

        assert first.status_code == 201
        assert "already exists" in refusal(second, 400)

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ({}, "service_url parameter is required"),
            ({"service_url": "https://h.example/ws"}, "service_url: Must be a valid url"),
            ({"bidirectional": True, "audio_track": "both"}, "audio_track"),
            ({"content_type": "audio/x-l16;rate=44100"}, "content_type"),
            ({"stream_timeout": 0}, "stream_timeout"),
            ({"extra_headers": "a=" + "x" * 600}, "512"),
            ({"noise_cancellation": "true", "noise_cancellation_level": 59}, "60"),
            ({"noise_cancellation_level": 80}, "noise_cancellation"),
        ],
    )
    def test_are_not_started_as_plivo_would_not(
        self,
        on_api: Callable[..., Any],
        body: dict[str, bool | str] | dict[str, int | str] | dict[str, int] | dict[str, str],
        says: str,
    ) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            uuid = await call_in_progress(platform, api)
            if body:
                body.setdefault("service_url", platform.stream_url)
            return await api.post(f"Call/{uuid}/Stream/", json=body)

        assert says in refusal(on_api(scenario), 400)

    def test_are_not_started_on_a_call_that_rings_or_has_ended(
        self, on_api: Callable[..., Any]
    ) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            body = CALL | {"answer_url": platform.document("/answer", "<Hangup/>")}
            uuid = (await api.post("Call/", json=body)).json()["request_uuid"]
            stream = {"service_url": platform.stream_url}
            early = await api.post(f"Call/{uuid}/Stream/", json=stream)
            await platform.exchange.calls[uuid].wait_ended()
            return early, await api.post(f"Call/{uuid}/Stream/", json=stream)

        early, late = on_api(scenario)

        assert "not been answered" in refusal(early, 404)
        assert "no live call" in refusal(late, 404)

    def test_of_an_ended_call_are_still_listed_and_not_stopped(
        self, on_api: Callable[..., Any]
    ) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            uuid = await call_in_progress(platform, api, platform.stream(streamTimeout="3"))
            await platform.exchange.calls[uuid].wait_ended()
            listed = (await api.get(f"Call/{uuid}/Stream/")).json()
            (stream,) = listed["objects"]
            return stream, await api.delete(f"Call/{uuid}/Stream/{stream['stream_id']}/")

        stream, stopped = on_api(scenario)

        assert stream["status"] == "stopped"
        assert refusal(stopped, 400) == "No active stream found"


class TestLiveCall:
    def test_is_spoken_to(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            uuid = await call_in_progress(platform, api)
            answer = await api.post(f"Call/{uuid}/Speak/", json={"text": "Hello there"})
            await asyncio.sleep(5)
            stopped = await api.delete(f"Call/{uuid}/Speak/")
            return answer, stopped.status_code

        answer, stopped = on_api(scenario)

        assert (answer.status_code, answer.json()["message"]) == (202, "speech started")
        assert stopped == 204

    def test_is_sent_digits(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            uuid = await call_in_progress(platform, api)
            answer = await api.post(f"Call/{uuid}/DTMF/", json={"digits": "42"})
            await asyncio.sleep(1)
            line = platform.exchange.calls[uuid].line
            return answer, [key.digit for key in line.handset.digits_heard]

        answer, heard = on_api(scenario)

        assert (answer.status_code, heard) == (202, ["4", "2"])

    def test_is_recorded(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            uuid = await call_in_progress(platform, api)
            begun = (await api.post(f"Call/{uuid}/Record/", json={"time_limit": 30})).json()
            await asyncio.sleep(4)
            stopped = await api.delete(f"Call/{uuid}/Record/")
            path = platform.exchange.services.recording_path(begun["recording_id"])
            return begun, stopped.status_code, path.stat().st_size

        begun, stopped, size = on_api(scenario)

        assert begun["message"] == "call recording started"
        assert begun["recording_id"] in begun["url"]
        assert stopped == 204
        assert size == pytest.approx(4 * 16_000 * 4, rel=0.05)

    def test_is_played_to(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            uuid = await call_in_progress(platform, api)
            url = platform.customer.target("/music.wav")
            answer = await api.post(f"Call/{uuid}/Play/", json={"urls": url})
            await asyncio.sleep(1)
            return answer.status_code, len(platform.customer.at("/music.wav"))

        assert on_api(scenario) == (202, 1)


class TestNumbersAndApplications:
    def test_a_number_is_pointed_at_an_application(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            url = platform.document("/app", "<Hangup/>")
            made = await api.post("Application/", json={"app_name": "agent", "answer_url": url})
            app_id = made.json()["app_id"]
            before = (await api.get("Number/14155550100/")).json()
            changed = await api.post("Number/14155550100/", json={"app_id": app_id})
            after = (await api.get("Number/14155550100/")).json()
            listed = (await api.get("Number/")).json()
            return made, changed, models.Number(**before), models.Number(**after), listed

        made, changed, before, after, listed = on_api(scenario)

        assert (made.status_code, made.json()["message"]) == (201, "created")
        assert (changed.status_code, changed.json()["message"]) == (202, "changed")
        assert (before.app_id, after.app_id) == (None, made.json()["app_id"])
        assert [each["number"] for each in listed["objects"]] == ["14155550100"]

    def test_a_change_of_an_application_leaves_the_rest_alone(
        self, on_api: Callable[..., Any]
    ) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            first = {
                "app_name": "agent",
                "answer_url": "http://h.example/a",
                "hangup_url": "http://h.example/h",
            }
            app_id = (await api.post("Application/", json=first)).json()["app_id"]
            change = {"answer_url": "http://h.example/b", "answer_method": "GET"}
            await api.post(f"Application/{app_id}/", json=change)
            listed = (await api.get("Application/")).json()["objects"]
            return (await api.get(f"Application/{app_id}/")).json(), listed

        shown, listed = on_api(scenario)

        assert (shown["answer_url"], shown["answer_method"]) == ("http://h.example/b", "GET")
        assert shown["hangup_url"] == "http://h.example/h"
        assert [each["app_name"] for each in listed] == ["agent"]

    def test_an_application_that_is_deleted_leaves_its_numbers(
        self, on_api: Callable[..., Any]
    ) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            made = await api.post("Application/", json={"app_name": "agent"})
            app_id = made.json()["app_id"]
            await api.post("Number/14155550100/", json={"app_id": app_id})
            deleted = await api.delete(f"Application/{app_id}/")
            number = (await api.get("Number/14155550100/")).json()
            return deleted, number["application"], await api.get(f"Application/{app_id}/")

        deleted, application, gone = on_api(scenario)

        assert (deleted.status_code, application) == (204, None)
        assert "not found" in refusal(gone, 404)

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("Application/", {}, 400),
            ("Application/none/", {"answer_url": "http://h.example/"}, 404),
            ("Number/14155550100/", {"app_id": "none"}, 400),
            ("Number/1/", {"alias": "x"}, 404),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, on_api: Callable[..., Any], path: str, body: dict[str, str], status: int
    ) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            return await api.post(path, json=body)

        assert refusal(on_api(scenario), status)

    def test_a_name_is_taken_once(self, on_api: Callable[..., Any]) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            return [await api.post("Application/", json={"app_name": "agent"}) for _ in range(2)]

        assert "already taken" in refusal(on_api(scenario)[1], 400)


class TestPhones:
    @pytest.mark.parametrize(
        "person", ["/etc/passwd.yaml", "play /etc/motd.wav; hang up", "../x.wav", "tone.wav"]
    )
    def test_a_request_names_no_files(self, on_api: Callable[..., Any], person: str) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            body = {"to": "+14155550100", "person": person, "answer_url": "http://h.example/"}
            return await api.post(PHONES, json=body)

        assert "write steps" in refusal(on_api(scenario), 400)

    @pytest.mark.parametrize("person", ["tone.wav", "play tone.wav; hang up"])
    def test_a_request_names_files_of_one_folder(
        self, on_api: Callable[..., Any], tmp_path: Path, person: str
    ) -> None:
        write_wav(tmp_path / "tone.wav", np.zeros(800, np.int16), 8_000)

        async def scenario(platform: Any, api: AsyncClient) -> Any:
            body = {"to": "+14155550100", "person": person, "answer_url": "http://h.example/"}
            outside = body | {"person": f"../{person}"}
            return await api.post(PHONES, json=body), await api.post(PHONES, json=outside)

        made, refused = on_api(scenario, options={"files": tmp_path})

        assert made.status_code == 201
        assert refused.status_code == 400

    def test_a_number_is_dialled_from_a_phone(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            body = {
                "to": "+14155550100",
                "from": "+14155550177",
                "person": "wait 2; hang up",
                "answer_url": platform.document("/answer", '<GetDigits timeout="60"/>'),
            }
            made = await api.post(PHONES, json=body)
            call = platform.exchange.calls[made.json()["call_uuid"]]
            await call.wait_ended()
            return made.status_code, call.record

        status, record = on_api(scenario)

        assert (status, record.direction, record.from_number) == (201, "inbound", "+14155550177")
        assert (record.hangup_source, record.bill_duration) == ("Caller", 2)

    def test_its_application_answers(self, on_api: Callable[..., Any]) -> None:
        async def scenario(platform: Any, api: AsyncClient) -> Any:
            url = platform.document("/app", "<Hangup/>")
            made = await api.post("Application/", json={"app_name": "a", "answer_url": url})
            await api.post("Number/14155550100/", json={"app_id": made.json()["app_id"]})
            platform.exchange.dialplan = Dialplan(Person)
            called = await api.post(PHONES, json={"to": "+1 415 555 0100"})
            await platform.exchange.calls[called.json()["call_uuid"]].wait_ended()
            return platform.customer.at("/app")[0].params["Direction"]

        assert on_api(scenario) == "inbound"

    @pytest.mark.parametrize(
        ("body", "status", "says"),
        [
            ({"to": "+14155550100"}, 404, "no application"),
            ({"to": "+14155550100", "person": "dance"}, 400, "dance"),
            ({}, 400, "to parameter is required"),
        ],
    )
    def test_what_cannot_be_dialled_is_refused(
        self, on_api: Callable[..., Any], body: dict[str, str], status: int, says: str
    ) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            return await api.post(PHONES, json=body)

        assert says in refusal(on_api(scenario), status)


def test_openapi_describes_every_path(on_api: Callable[..., Any]) -> None:
    async def scenario(_: Any, api: AsyncClient) -> Any:
        return (await api.get("http://sandbox.example/openapi.json", auth=None)).json()

    described = on_api(scenario)

    account = "/v1/Account/{auth_id}"
    stream = described["paths"][account + "/Call/{call_uuid}/Stream/"]
    assert set(stream) == {"get", "post", "delete"}
    schema = described["components"]["schemas"]["StreamRequest"]
    assert schema["required"] == ["service_url"]
    assert set(described["paths"][account + "/Call/{call_uuid}/"]) == {"get", "post", "delete"}
    assert all(path.endswith(("/", ".wav")) for path in described["paths"])


def test_an_internal_error_has_the_same_shape(on_platform: Callable[..., Any]) -> None:
    async def scenario(platform: Any) -> Response:
        async def broken(*_: Any) -> None:
            raise RuntimeError("out of order")

        platform.exchange.services.speak = broken
        transport = httpx.ASGITransport(create_api(platform.exchange), raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url=f"http://h/v1/Account/{AUTH[0]}/", auth=AUTH
        ) as api:
            uuid = await call_in_progress(platform, api)
            return await api.post(f"Call/{uuid}/Speak/", json={"text": "Hello"})

    assert refusal(on_platform(scenario), 500) == "internal error"


class TestACallThatGoesOn:
    def test_has_no_record_yet(self, on_api: Callable[..., Any]) -> None:
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


class TestFilters:
    def test_find_calls_by_time(self, on_api: Callable[..., Any]) -> None:
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
    def test_that_are_not_known_are_refused(
        self, on_api: Callable[..., Any], status: dict[str, str]
    ) -> None:
        async def scenario(_: Any, api: AsyncClient) -> Any:
            return await api.get("Call/", params={"end_time__near": "now", **status})

        assert "cannot be filtered by 'end_time__near'" in refusal(on_api(scenario), 400)
