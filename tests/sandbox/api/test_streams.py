from __future__ import annotations

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient

from tests.sandbox.api.conftest import CALL, OnApi, call_in_progress, refusal


def test_streams_are_started_shown_listed_and_stopped(on_api: OnApi) -> None:
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
    # Plivo's Ruby SDK reads the body as JSON only then.
    assert stopped.headers["content-type"] == "application/json"
    assert refusal(again, 400) == "No active stream found"
    assert (shown["bill_duration"], shown["rounded_bill_duration"]) == (27, 60)
    assert (shown["billed_amount"], shown["audio_track"]) == ("0.00300", "both")
    assert (shown["bidirectional"], shown["content_type"]) == (False, "audio/x-l16;rate=8000")
    assert shown["start_time"] < shown["end_time"]


def test_a_rounded_duration_is_text_where_the_options_say_so(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        stream = platform.stream(streamTimeout="3", keepCallAlive="true")
        uuid = await call_in_progress(platform, api, stream)
        await platform.exchange.calls[uuid].wait_ended()
        listed = (await api.get(f"Call/{uuid}/Stream/")).json()
        (stream,) = listed["objects"]
        shown = await api.get(f"Call/{uuid}/Stream/{stream['stream_id']}/")
        return stream, shown.json()

    for shown in on_api(scenario, options={"rounded_bill_duration": "text"}):
        assert (shown["rounded_bill_duration"], shown["bill_duration"]) == ("60", 3)


def test_streams_are_all_stopped_at_once(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api, platform.stream(keepCallAlive="true"))
        await platform.streams.until(1)
        stopped = await api.delete(f"Call/{uuid}/Stream/")
        return stopped, [each.end_reason for each in platform.exchange.records.streams.values()]

    stopped, reasons = on_api(scenario)

    assert (stopped.status_code, reasons) == (204, ["API request"])


def test_streams_are_one_at_a_time(on_api: OnApi) -> None:
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
        ({"extra_headers": "nope"}, "key1=value1,key2=value2"),
        ({"content_type": "audio/wav"}, "audio/x-mulaw;rate=8000, not 'audio/wav'"),
        ({"bidirectional": "yes"}, "bidirectional: must be true or false, not 'yes'"),
    ],
)
def test_streams_are_not_started_as_plivo_would_not(
    on_api: OnApi, body: dict[str, Any], says: str
) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        own_url = {"service_url": platform.stream_url} if body else {}
        return await api.post(f"Call/{uuid}/Stream/", json=own_url | body)

    assert says in refusal(on_api(scenario), 400)


def test_a_noise_level_without_noise_cancellation_is_ignored(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        body = {"service_url": platform.stream_url, "noise_cancellation_level": 80}
        return await api.post(f"Call/{uuid}/Stream/", json=body)

    assert on_api(scenario).status_code == 201


def test_streams_are_not_started_on_a_call_that_rings_or_has_ended(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        body = CALL | {"answer_url": platform.document("/answer", "<Hangup/>")}
        uuid = (await api.post("Call/", json=body)).json()["request_uuid"]
        stream = {"service_url": platform.stream_url}
        early = await api.post(f"Call/{uuid}/Stream/", json=stream)
        await platform.exchange.calls[uuid].wait_ended()
        return early, await api.post(f"Call/{uuid}/Stream/", json=stream)

    early, late = on_api(scenario)

    assert "not been answered" in refusal(early, 404)
    assert "not a live call" in refusal(late, 404)


def test_streams_of_an_ended_call_are_still_listed_and_not_stopped(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api, platform.stream(streamTimeout="3"))
        await platform.exchange.calls[uuid].wait_ended()
        listed = (await api.get(f"Call/{uuid}/Stream/")).json()
        (stream,) = listed["objects"]
        return stream, await api.delete(f"Call/{uuid}/Stream/{stream['stream_id']}/")

    stream, stopped = on_api(scenario)

    assert stream["status"] == "stopped"
    assert refusal(stopped, 400) == "No active stream found"
