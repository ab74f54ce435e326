from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from audiocodecs import Wav
from interop.application import Application
from interop.plivo_sandbox import AUTH_ID, PlivoSandbox
from interop.process import Process
from interop.sound import find


@pytest.fixture
def caller(application: Application, tmp_path: Path, rising_file: Path) -> Iterator[PlivoSandbox]:
    """A sandbox whose people say something, press keys, and hang up."""
    phone = f"wait agent; play {rising_file}; wait agent; press *0#; wait 2; hang up"
    with PlivoSandbox(application, tmp_path, phone=phone) as running:
        yield running


@pytest.fixture
def sdk_fastapi(reporting: dict[str, str]) -> Iterator[Process]:
    with Process("python", "-m", "interop.servers.sdk_fastapi", environment=reporting) as running:
        yield running


def test_the_fastapi_variant_takes_a_call_of_its_own_answer_url(
    caller: PlivoSandbox, application: Application, sdk_fastapi: Process
) -> None:
    call = caller.call(f"{sdk_fastapi.url}/answer")
    told = caller.ended(call)
    start = application.report("start", call=call)

    assert told["HangupSource"] == "Callee"
    assert start["account"] == AUTH_ID
    assert start["extra_headers"] == "{X-PH-agent: sdk}"
    assert_obeyed(application, start["stream"])


@pytest.mark.parametrize(
    "content_type",
    [
        "audio/x-mulaw;rate=8000",
        "audio/x-l16;rate=8000",
        "audio/x-l16;rate=16000",
        "audio/x-l16;rate=24000",
    ],
)
def test_the_websockets_variant_echoes_a_call(
    content_type: str,
    caller: PlivoSandbox,
    application: Application,
    sdk_websockets: Process,
    rising: Wav,
) -> None:
    call = caller.call_with(
        f'{caller.record}<Stream bidirectional="true" keepCallAlive="true"'
        f' contentType="{content_type}" statusCallbackUrl="{application.url}/status">'
        f"{sdk_websockets.url}</Stream>"
    )
    told = caller.ended(call)
    start = application.report("start", call=call)
    said, heard = caller.recorded(call).samples.T
    echo = find(rising.mono(), heard)

    assert told["HangupSource"] == "Callee"
    assert f"{start['encoding']};rate={start['rate']}" == content_type
    assert echo.likeness > 0.9
    assert echo.seconds > find(rising.mono(), said).seconds
    assert_obeyed(application, start["stream"])
    application.wait_for("/status", CallUUID=call, Event="StartStream")
    application.wait_for("/status", CallUUID=call, Event="PlayedStream", Name="so far")


def assert_obeyed(application: Application, stream: str) -> None:
    """Assert that all the SDK has callbacks for came, and nothing that it has none for."""
    application.report("disconnected", stream=stream)
    assert [each["digit"] for each in application.reports("key", stream=stream)] == list("*0#")
    assert [each["name"] for each in application.reports("played", stream=stream)] == ["so far"]
    assert len(application.reports("cleared", stream=stream)) == 1
    assert application.reports("error") == []
