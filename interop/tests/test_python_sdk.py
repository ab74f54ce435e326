from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from plivo.exceptions import (
    AuthenticationError,
    ResourceNotFoundError,
    ValidationError,
)

from interop.application import Application
from interop.plivo_sandbox import CALLED, CALLER, RINGING, PlivoSandbox, eventually, plivo_client
from interop.process import Process


STAY = '<Wait length="60"/>'


def test_a_call_is_made_transferred_and_hung_up(
    sandbox: PlivoSandbox, application: Application
) -> None:
    application.documents["/transferred"] = f"<Response>{STAY}</Response>"

    call = sandbox.call_with(STAY)
    live = sandbox.answered(call)
    moved = sandbox.sdk.calls.transfer(
        call, legs="aleg", aleg_url=f"{application.url}/transferred", aleg_method="POST"
    )
    asked = application.wait_for("/transferred", CallUUID=call)
    sandbox.sdk.calls.delete(call)
    told = sandbox.ended(call)
    past = sandbox.sdk.calls.get(call)

    assert live.to == CALLED.removeprefix("+")
    assert moved.message == "call transferred"
    assert asked["CallStatus"] == "in-progress"
    assert told["HangupCauseName"] == "Normal Hangup"
    assert told["HangupSource"] == "API Request"
    assert past.hangup_cause_code == int(told["HangupCauseCode"]) == 4000


def test_all_other_methods_for_calls_applications_and_numbers(
    sandbox: PlivoSandbox, application: Application
) -> None:
    sdk, calls = sandbox.sdk, sandbox.sdk.calls
    call = sandbox.call_with(STAY)
    sandbox.answered(call)

    assert call in sdk.live_calls.list_ids().calls
    assert sdk.queued_calls.list_ids().calls == []
    assert calls.speak(call, "hello").message == "speech started"
    calls.stop_speaking(call)
    assert calls.play(call, f"{application.url}/none.wav").message == "play started"
    calls.stop_playing(call)
    assert calls.send_digits(call, "12").message == "digits sent"
    assert calls.record(call, time_limit=5).recording_id
    # The URL and the method of its callback are required arguments.
    calls.stop_recording(call, None, None)
    calls.hangup(call)
    sandbox.ended(call)
    assert [each.call_uuid for each in calls.list(limit=5)] == [call]

    made = sdk.applications.create("python", answer_url=f"{application.url}/answer")
    sdk.applications.update(made.app_id, answer_url=f"{application.url}/other")
    assert sdk.applications.get(made.app_id).answer_url == f"{application.url}/other"
    assert [each.app_id for each in sdk.applications.list()] == [made.app_id]
    sdk.numbers.update(CALLER, app_id=made.app_id, alias="a")
    assert sdk.numbers.get(CALLER).alias == "a"
    assert [each.number for each in sdk.numbers.list()] == [CALLER.removeprefix("+")]
    sdk.applications.delete(made.app_id)


def test_a_call_is_cancelled_before_it_is_answered(sandbox: PlivoSandbox) -> None:
    call = sandbox.call_with(STAY, to=RINGING, ring_url=f"{sandbox.application.url}/ring")
    sandbox.application.wait_for("/ring", CallUUID=call)

    sandbox.sdk.calls.cancel(call)

    assert sandbox.ended(call)["HangupCauseName"] == "Canceled"


def test_streams_are_started_shown_listed_and_stopped(
    sandbox: PlivoSandbox, application: Application, sdk_websockets: Process
) -> None:
    calls = sandbox.sdk.calls
    call = sandbox.call_with(STAY)
    sandbox.answered(call)

    first = calls.start_stream(
        call,
        sdk_websockets.url,
        bidirectional=False,
        audio_track="both",
        stream_timeout=60,
        content_type="audio/x-l16;rate=16000",
        status_callback_url=f"{application.url}/status",
        extra_headers="agent=7",
    )
    start = application.report("start", stream=first.stream_id)
    for track in ("inbound", "outbound"):
        application.report("track", stream=first.stream_id, track=track)
    live = calls.get_details_of_specific_stream(call, first.stream_id)
    calls.delete_specific_stream(call, first.stream_id)
    application.report("disconnected", stream=first.stream_id)

    second = calls.start_stream(call, sdk_websockets.url, bidirectional=True)
    application.report("start", stream=second.stream_id)
    calls.delete_all_streams(call)
    application.report("disconnected", stream=second.stream_id)
    listed = calls.get_all_streams(call)

    assert first.message == "audio streaming started"
    assert start["tracks"] == ["inbound", "outbound"]
    assert (start["encoding"], start["rate"]) == ("audio/x-l16", 16_000)
    assert start["extra_headers"] == "{X-PH-agent: 7}"
    assert live.service_url == sdk_websockets.url
    assert live.end_time is None
    assert listed.meta.total_count == 2
    assert {each.stream_id for each in listed.objects} == {first.stream_id, second.stream_id}
    assert all(each.end_time and each.billed_amount for each in listed.objects)
    application.wait_for("/status", StreamID=first.stream_id, Event="StartStream")
    application.wait_for("/status", StreamID=first.stream_id, Event="StopStream")


def test_a_stream_that_times_out_says_so(
    sandbox: PlivoSandbox, application: Application, sdk_websockets: Process
) -> None:
    call = sandbox.call_with(STAY)
    sandbox.answered(call)

    stream = sandbox.sdk.calls.start_stream(
        call,
        sdk_websockets.url,
        stream_timeout=2,
        status_callback_url=f"{application.url}/status",
    )

    told = application.wait_for("/status", StreamID=stream.stream_id, Event="StopStream")
    assert told["StatusReason"] == "Stream timeout"
    application.report("disconnected", stream=stream.stream_id)


def test_wrong_credentials_are_an_authentication_error(sandbox: PlivoSandbox) -> None:
    stranger = plivo_client(sandbox.url, "another token")

    with pytest.raises(AuthenticationError):
        stranger.live_calls.list_ids()


def test_what_is_not_there_is_not_found(sandbox: PlivoSandbox) -> None:
    calls, nobody = sandbox.sdk.calls, str(uuid4())

    requests: tuple[Callable[[], object], ...] = (
        lambda: calls.get(nobody),
        lambda: calls.delete(nobody),
        lambda: calls.transfer(nobody, legs="aleg", aleg_url="http://127.0.0.1/"),
        lambda: calls.start_stream(nobody, "wss://example.com/"),
        lambda: calls.get_all_streams(nobody),
        lambda: calls.get_details_of_specific_stream(nobody, nobody),
    )
    for request in requests:
        with pytest.raises(ResourceNotFoundError):
            request()


def test_what_plivo_would_refuse_is_a_validation_error(
    sandbox: PlivoSandbox, sdk_websockets: Process
) -> None:
    calls, url = sandbox.sdk.calls, sdk_websockets.url
    call = sandbox.call_with(STAY)
    sandbox.answered(call)
    stream = calls.start_stream(call, url)

    requests: tuple[Callable[[], object], ...] = (
        lambda: calls.start_stream(call, url),
        lambda: calls.start_stream(call, "https://example.com/"),
        lambda: calls.start_stream(call, "wss://b.example", audio_track="sideways"),
        lambda: calls.start_stream(call, "wss://b.example", True, audio_track="both"),
        lambda: calls.start_stream(call, "wss://b.example", content_type="audio/mp3"),
        lambda: calls.start_stream(call, "wss://b.example", extra_headers=f"a={'x' * 512}"),
        lambda: calls.delete_specific_stream(call, str(uuid4())),
    )
    for request in requests:
        with pytest.raises(ValidationError):
            request()

    assert calls.get_all_streams(call).meta.total_count == 1
    assert calls.get_details_of_specific_stream(call, stream.stream_id).end_time is None


def test_a_stream_on_a_dead_call_is_refused(sandbox: PlivoSandbox, sdk_websockets: Process) -> None:
    call = sandbox.call_with("<Hangup/>")
    sandbox.ended(call)

    with pytest.raises(ResourceNotFoundError):
        sandbox.sdk.calls.start_stream(call, sdk_websockets.url)


def test_of_two_starts_at_once_one_is_taken(sandbox: PlivoSandbox, sdk_websockets: Process) -> None:
    call = sandbox.call_with(STAY)
    sandbox.answered(call)

    def start(_: int) -> object:
        try:
            return plivo_client(sandbox.url).calls.start_stream(call, sdk_websockets.url).stream_id
        except ValidationError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        came = list(pool.map(start, range(4)))

    assert sum(isinstance(each, str) for each in came) == 1
    eventually(lambda: sandbox.application.reports("start", call=call), "the stream that was taken")
