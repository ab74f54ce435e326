from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from audiocodecs import MULAW_8K
from mediaserver.plivo import xml
from mediaserver.plivo.callbacks import StreamStatusRequest
from mediaserver.plivo.models import StreamRequest
from mediaserver.plivo.signatures import verify_upgrade
from mediaserver.protocol import PlayAudio
from mediaserver.sandbox.audio.noise import NoiseCancellationError
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.streams import (
    ActiveStream,
    StreamPlan,
    StreamRefusedError,
    stream_plan,
)
from mediaserver.sandbox.people.person import Person
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from tests.sandbox.conftest import OnPlatform


async def start(call: SandboxCall, asked: StreamPlan) -> ActiveStream:
    assert call.line is not None
    return await call.streams.start(asked, call.line)


def plan(platform: Any, **more: Any) -> StreamPlan:
    return StreamPlan(platform.stream_url + "/ws", **more)


def statuses(platform: Any) -> list[StreamStatusRequest]:
    return [StreamStatusRequest.parse(asked.params) for asked in platform.customer.at("/status")]


def test_audio_in_another_format_is_told_at_the_first_message(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.call(platform.stream(bidirectional="true", keepCallAlive="true"))
        await platform.streams.until(1)
        with capture_logs() as lines:
            for _ in range(100):
                platform.streams.connections[0].send(PlayAudio(bytes(160), MULAW_8K))
            await asyncio.sleep(1)
        return lines, len(call.streams)

    lines, streams = on_platform(scenario)

    assert streams == 1, "the stream goes on"
    (line,) = [each for each in lines if each["event"] == "error"]
    assert line["log_level"] == "warning"
    assert "audio/x-mulaw;rate=8000 is not heard: the stream is audio/x-l16" in line["what"]


def test_a_stream_is_billed_from_its_connection_to_its_end(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered('<Wait length="100"/>')
        stream = await start(call, plan(platform))
        await platform.streams.until(1)
        await asyncio.sleep(61.5)
        await call.streams.stop(stream.record.stream_id, "API request")
        return stream.record

    record = on_platform(scenario)

    assert (record.bill_duration, record.rounded_bill_duration) == (62, 120)
    assert record.billed_amount == "0.00600"


def test_a_stream_that_never_connected_costs_nothing(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        stream = await start(call, StreamPlan("ws://127.0.0.1:1/ws"))
        await stream.ended.wait()
        return stream.record

    record = on_platform(scenario)

    assert (record.started, record.bill_duration, record.billed_amount) == (None, 0, "0.00000")
    assert (record.status, record.end_reason) == ("failed", "Connection error")


@pytest.mark.parametrize("scheme", ["A", "B"])
def test_the_status_callback_is_told_in_order(on_platform: OnPlatform, scheme: str) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        url = platform.customer.target("/status")
        # The first callback takes longest, and is still the first to be done.
        platform.customer.replies["/status"] = lambda asked: asyncio.sleep(
            5 if asked.event in ("StartStream", "started") else 0, ""
        )
        stream = await start(call, plan(platform, status_callback_url=url))
        await platform.streams.until(1)
        await call.streams.stop(stream.record.stream_id, "API request")
        await platform.exchange.services.webhooks.delivered()
        return stream.record, statuses(platform)

    record, told = on_platform(scenario, options={"callback_scheme": scheme})

    assert [each.kind for each in told] == ["connected", "stopped"]
    assert {each.stream_id for each in told} == {record.stream_id}
    assert {each.call_id for each in told} == {record.call_uuid}


def test_the_status_callback_is_told_of_a_stream_that_failed(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        url = platform.customer.target("/status")
        stream = await start(call, StreamPlan("ws://127.0.0.1:1/ws", status_callback_url=url))
        await stream.ended.wait()
        await platform.exchange.services.webhooks.delivered()
        return platform.customer.at("/status")

    (told,) = on_platform(scenario)

    assert told.event == "DroppedStream"
    assert "127.0.0.1" in told.params["Error"]


def test_the_request_that_opens_the_socket_is_signed(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        asked = StreamPlan(platform.stream_url + "/ws?agent=7")
        await start(call, asked)
        await platform.streams.until(1)
        return asked.url, platform.streams.connections[0].requests[0].headers

    url, headers = on_platform(scenario)

    assert verify_upgrade(list(headers.raw_items()), url, "a token for tests").url.startswith(
        "http"
    )


def test_extra_headers_arrive_with_the_start(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        await start(call, plan(platform, extra_headers="agent=7,mood=good"))
        await platform.streams.until(1)
        return platform.streams.connections[0].events("start")[0]["extra_headers"]

    assert on_platform(scenario) == "{X-PH-agent: 7, X-PH-mood: good}"


def test_of_two_starts_at_once_one_is_refused(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        answers = await asyncio.gather(
            *(start(call, plan(platform)) for _ in range(2)),
            return_exceptions=True,
        )
        await platform.streams.until(1)
        return answers, len(platform.streams.connections)

    (_, refused), connections = on_platform(scenario)

    assert isinstance(refused, StreamRefusedError)
    assert "already exists" in str(refused)
    assert connections == 1


def test_a_call_has_one_stream_at_a_time(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        first = await start(call, plan(platform))
        with pytest.raises(StreamRefusedError, match="one at a time"):
            await start(call, StreamPlan(platform.stream_url + "/other"))
        await call.streams.stop(first.record.stream_id, "API request")
        await start(call, StreamPlan(platform.stream_url + "/other"))
        return len(call.streams)

    assert on_platform(scenario) == 1


def test_a_stream_can_be_stopped_while_it_connects(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered()

        async def never(*_: Any, **__: Any) -> Any:
            await asyncio.get_running_loop().create_future()

        platform.exchange.services.connect = never
        stream = await start(call, plan(platform))
        await asyncio.sleep(3)
        stopped = await call.streams.stop(stream.record.stream_id, "API request")
        return stopped, stream.record

    stopped, record = on_platform(scenario)

    assert stopped
    assert (record.started, record.end_reason) == (None, "API request")


def test_stopping_what_has_ended_is_told_apart(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        stream = await start(call, plan(platform))
        ids = [stream.record.stream_id] * 2
        return [await call.streams.stop(each, "API request") for each in ids]

    assert on_platform(scenario) == [True, False]


def test_the_end_of_the_call_ends_its_stream(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        stream = await start(call, plan(platform))
        await platform.streams.until(1)
        call.hang_up_by_api()
        await call.wait_ended()
        return stream.record, len(call.streams)

    record, left = on_platform(scenario)

    assert (record.end_reason, record.status, left) == ("Call hangup", "stopped", 0)


def test_a_stream_cannot_be_of_a_format_that_plivo_has_not(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        with pytest.raises(ValueError, match="allowed"):
            await start(call, plan(platform, content_type="audio/x-l16;rate=44100"))
        return len(call.streams)

    assert on_platform(scenario) == 0


def test_without_a_noise_suppressor_a_stream_that_wants_one_is_refused(
    on_platform: OnPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise NoiseCancellationError("there is no noise suppressor here")

    monkeypatch.setattr("mediaserver.sandbox.wire.media_stream.NoiseCanceller", missing)

    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        with pytest.raises(StreamRefusedError, match="no noise suppressor"):
            await start(call, plan(platform, noise_cancellation=True))
        await start(call, plan(platform))
        return len(call.streams)

    assert on_platform(scenario) == 1


def test_a_stream_ends_although_it_cannot_be_saved(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        async def full(*_: Any) -> None:
            raise OSError("no space left on device")

        call = await platform.answered()
        url = platform.customer.target("/status")
        stream = await start(call, plan(platform, status_callback_url=url))
        await platform.streams.until(1)
        platform.exchange.records.store.save = full
        stopped = await call.streams.stop(stream.record.stream_id, "API request")
        await platform.exchange.services.webhooks.delivered()
        return stopped, len(call.streams), [each.kind for each in statuses(platform)]

    assert on_platform(scenario) == (True, 0, ["connected", "stopped"])


@pytest.mark.parametrize(
    ("person", "options", "number"),
    [
        (Misbehaviour(), Misbehaviour(), 1),
        (Misbehaviour(), Misbehaviour(string_numbers=True), "1"),
        (Misbehaviour(string_numbers=True), Misbehaviour(missing_numbers=True), "1"),
    ],
)
def test_a_stream_misbehaves_as_its_person_does_or_as_all_do(
    on_platform: OnPlatform, person: Misbehaviour, options: Misbehaviour, number: object
) -> None:
    async def scenario(platform: Any) -> list[Any]:
        call = await platform.answered()
        await start(call, plan(platform))
        await platform.streams.until(5, "media")
        return [each["media"]["chunk"] for each in platform.streams.connections[0].events("media")]

    chunks = on_platform(
        scenario, person=Person(misbehaviour=person), options={"misbehaviour": options}
    )

    assert chunks[0] == number


def test_a_plan_has_what_the_attributes_of_stream_say() -> None:
    element = xml.Stream(
        "wss://h/ws",
        bidirectional=True,
        content_type="audio/x-mulaw;rate=8000",
        stream_timeout=60,
        status_callback_url="https://h/status",
        status_callback_method="GET",
        extra_headers="a=1",
        noise_cancellation=True,
        noise_cancellation_level=70,
    )

    assert stream_plan(element.url, element) == StreamPlan(
        "wss://h/ws",
        bidirectional=True,
        content_type="audio/x-mulaw;rate=8000",
        timeout=60,
        status_callback_url="https://h/status",
        status_callback_method="GET",
        extra_headers="a=1",
        noise_cancellation=True,
        noise_cancellation_level=70,
    )


def test_a_plan_has_the_defaults_of_the_pages() -> None:
    assert stream_plan("wss://h/ws", xml.Stream("wss://h/ws")) == StreamPlan(
        "wss://h/ws", track="inbound", content_type="audio/x-l16;rate=8000", timeout=86_400
    )


@pytest.mark.parametrize(("asked", "cancelled"), [("true", True), ("false", False), (None, False)])
def test_a_request_asks_for_noise_cancellation_in_words(asked: str | None, cancelled: bool) -> None:
    fields = {"service_url": "wss://h/ws", "noise_cancellation": asked}

    assert (
        stream_plan("wss://h/ws", StreamRequest.model_validate(fields)).noise_cancellation
        is cancelled
    )
