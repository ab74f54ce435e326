from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.application import Application
from interop.plivo_sandbox import PlivoSandbox
from interop.process import Process


@pytest.fixture
def faulty(reporting: dict[str, str]) -> Iterator[Process]:
    with Process("python", "-m", "interop.servers.faulty", environment=reporting) as running:
        yield running


def streaming(application: Application, url: str) -> str:
    """XML of a stream, after which the call goes on to its end."""
    return (
        '<Stream bidirectional="true" keepCallAlive="true" contentType="audio/x-l16;rate=24000"'
        f' statusCallbackUrl="{application.url}/status">{url}</Stream><Hangup/>'
    )


def events(application: Application, call: str) -> list[str]:
    return [each.fields["Event"] for each in application.requests("/status", CallUUID=call)]


def test_a_server_that_refuses_is_asked_three_times(
    sandbox: PlivoSandbox, application: Application, faulty: Process
) -> None:
    call = sandbox.call_with(streaming(application, f"{faulty.url}/refuses"))

    told = sandbox.ended(call)
    dropped = application.wait_for("/status", CallUUID=call, Event="DroppedStream")

    assert told["HangupSource"] == "Answer XML"
    assert "503" in dropped["Error"]
    assert events(application, call) == ["DroppedStream"]
    assert len(application.reports("refused")) == 3


@pytest.mark.parametrize(
    ("path", "event"), [("/breaks", "StopStream"), ("/sends_too_much", "DroppedStream")]
)
def test_a_stream_that_breaks_leaves_the_call_to_the_next_element(
    path: str, event: str, sandbox: PlivoSandbox, application: Application, faulty: Process
) -> None:
    call = sandbox.call_with(streaming(application, f"{faulty.url}{path}"))

    assert sandbox.ended(call)["HangupSource"] == "Answer XML"
    assert len(application.reports("connected")) == 1
    assert application.wait_for("/status", CallUUID=call, Event=event)["Error"]
    assert events(application, call) == ["StartStream", event]


def test_a_stream_is_stopped_while_it_is_being_connected(
    sandbox: PlivoSandbox, application: Application, faulty: Process
) -> None:
    calls = sandbox.sdk.calls
    call = sandbox.call_with('<Wait length="60"/>')
    sandbox.answered(call)
    stream = calls.start_stream(
        call, f"{faulty.url}/hangs", status_callback_url=f"{application.url}/status"
    ).stream_id
    application.report("left hanging")

    calls.delete_specific_stream(call, stream)
    shown = calls.get_details_of_specific_stream(call, stream)
    calls.delete(call)
    sandbox.ended(call)

    assert shown.end_time
    assert len(application.reports("left hanging")) == 1
    assert "StartStream" not in events(application, call)


@pytest.mark.parametrize("path", ["/says_nothing", "/talks_rubbish"])
def test_a_server_of_no_use_does_the_call_no_harm(
    path: str, application: Application, tmp_path: Path, faulty: Process
) -> None:
    with PlivoSandbox(application, tmp_path, phone="say Hello?; wait 2; hang up") as sandbox:
        call = sandbox.call_with(streaming(application, f"{faulty.url}{path}"))
        told = sandbox.ended(call)
        application.report("closed", path=path)
        stream = sandbox.sdk.calls.get_all_streams(call).objects[0]

    assert told["HangupSource"] == "Callee"
    assert stream.end_time
    assert events(application, call)[0] == "StartStream"
    assert "DroppedStream" not in events(application, call)


def test_a_server_that_stops_reading_is_warned_of_and_dropped(
    application: Application, tmp_path: Path, faulty: Process
) -> None:
    with PlivoSandbox(application, tmp_path, phone="wait 90") as sandbox:
        call = sandbox.call_with(streaming(application, f"{faulty.url}/stops_reading"))
        told = sandbox.ended(call, 90)
        application.wait_for("/status", CallUUID=call, Event="DroppedStream")

    assert told["HangupSource"] == "Answer XML"
    assert 40 <= int(told["Duration"]) < 60
    assert events(application, call) == [
        "StartStream",
        *["DegradedStream"] * 3,
        "DroppedStream",
    ]


def test_a_sandbox_that_was_killed_forgets_nothing(
    application: Application, tmp_path: Path, sdk_websockets: Process
) -> None:
    database = tmp_path / "plivo.db"
    with PlivoSandbox(application, tmp_path, phone="wait 60", database=database) as before:
        call = before.call_with(
            f'<Stream bidirectional="true" keepCallAlive="true">{sdk_websockets.url}</Stream>'
        )
        stream = application.report("start", call=call)["stream"]
        port = int(before.url.rpartition(":")[2])
        before.kill()
    application.report("disconnected", stream=stream)
    assert application.requests("/hangup") == []

    with PlivoSandbox(application, tmp_path, database=database, port=port) as after:
        told = after.ended(call)
        past = after.sdk.calls.get(call)
        shown = after.sdk.calls.get_details_of_specific_stream(call, stream)
        live = after.sdk.live_calls.list_ids().calls
        another = after.call_with("<Hangup/>")
        after.ended(another)

    assert told["HangupCauseName"] == "Internal Error"
    assert past.hangup_cause_code == 5010
    assert shown.end_time
    assert shown.billed_amount
    assert call not in live


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ("this is not XML", "Invalid Answer XML"),
        ("<Response><Dance/></Response>", "Invalid Answer XML"),
        (None, "Error Reaching Answer URL"),
    ],
)
def test_an_answer_url_of_no_use_ends_the_call(
    answer: str | None, cause: str, sandbox: PlivoSandbox, application: Application
) -> None:
    if answer is None:
        call = sandbox.call("http://127.0.0.1:9/answer")
    else:
        application.documents["/answer"] = answer
        call = sandbox.call(f"{application.url}/answer")

    assert sandbox.ended(call)["HangupCauseName"] == cause
