from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from audiocodecs import Wav
from interop.application import Application
from interop.plivo_sandbox import AUTH_ID, AUTH_TOKEN, CALLED, CALLER, PlivoSandbox
from interop.process import Process
from interop.servers.handlers import TRANSFER_URL
from interop.sound import find


ECHO, OPERATOR = "interop.servers.handlers:echo", "interop.servers.handlers:operator"


@pytest.fixture
def caller(application: Application, tmp_path: Path, rising_file: Path) -> Iterator[PlivoSandbox]:
    """A sandbox whose people say something, press keys, and hang up."""
    phone = f"wait agent; play {rising_file}; wait agent; press 12*#; wait 0.5; hang up"
    with PlivoSandbox(application, tmp_path, phone=phone) as running:
        yield running


@pytest.fixture
def server(reporting: dict[str, str]) -> Iterator[Process]:
    with mediaserver(ECHO, reporting) as running:
        yield running


def mediaserver(handler: str, environment: dict[str, str], **account: str) -> Process:
    variables = {
        "MEDIASERVER_AUTH_ID": AUTH_ID,
        "MEDIASERVER_AUTH_TOKEN": AUTH_TOKEN,
        "MEDIASERVER_PORT": "0",
        "MEDIASERVER_LOG_FORMAT": "json",
        "MEDIASERVER_STATUS_CALLBACKS": "true",
    }
    variables |= {f"MEDIASERVER_{name.upper()}": value for name, value in account.items()}
    return Process(
        *("mediaserver", "serve", handler),
        ready=r'"url": ?"(http[^"]+)"',
        environment=environment | variables,
    )


@pytest.mark.parametrize(
    "content_type",
    [
        "audio/x-mulaw;rate=8000",
        "audio/x-l16;rate=8000",
        "audio/x-l16;rate=16000",
        "audio/x-l16;rate=24000",
    ],
)
def test_a_call_is_echoed_in_every_format(
    content_type: str,
    caller: PlivoSandbox,
    application: Application,
    server: Process,
    rising: Wav,
) -> None:
    url = server.url.replace("http", "ws")
    call = caller.call_with(
        f'{caller.record}<Stream bidirectional="true" keepCallAlive="true"'
        f' contentType="{content_type}" extraHeaders="agent=7,customer=ann">{url}/stream</Stream>'
    )
    told = caller.ended(call)
    start = application.report("start", call=call)
    said, heard = caller.recorded(call).samples.T
    echo = find(rising.mono(), heard)

    assert told["HangupSource"] == "Callee"
    assert start["format"] == content_type
    assert start["headers"] == {"agent": "7", "customer": "ann"}
    assert echo.likeness > 0.9
    assert echo.seconds > find(rising.mono(), said).seconds
    application.report("key", call=call, digit="#")
    assert [each["digit"] for each in application.reports("key", call=call)] == list("12*#")


def test_the_answer_url_of_the_server_takes_a_call(
    caller: PlivoSandbox, application: Application, server: Process
) -> None:
    call = caller.call(f"{server.url}/answer")
    told = caller.ended(call)

    assert told["HangupSource"] == "Callee"
    assert application.report("start", call=call)["format"] == "audio/x-mulaw;rate=8000"
    application.report("key", call=call, digit="#")
    assert len(application.reports("key", call=call)) == 4


def test_a_handler_hangs_up_by_rest(
    application: Application, tmp_path: Path, reporting: dict[str, str]
) -> None:
    with (
        PlivoSandbox(application, tmp_path, phone="wait agent; press 1; wait 30") as caller,
        mediaserver(OPERATOR, reporting, api_url=caller.url) as server,
    ):
        call = caller.call(f"{server.url}/answer")
        told = caller.ended(call)
        start = application.report("start", call=call)

    assert told["HangupSource"] == "API Request"
    assert start["caller"] == CALLER.removeprefix("+")
    assert start["called"] == CALLED.removeprefix("+")


def test_a_handler_transfers_the_call(
    application: Application, tmp_path: Path, reporting: dict[str, str]
) -> None:
    application.documents["/transferred"] = "<Response><Hangup/></Response>"
    environment = reporting | {TRANSFER_URL: f"{application.url}/transferred"}
    with (
        PlivoSandbox(application, tmp_path, phone="wait agent; press 2; wait 30") as caller,
        mediaserver(OPERATOR, environment, api_url=caller.url) as server,
    ):
        call = caller.call(f"{server.url}/answer")
        asked = application.wait_for("/transferred", CallUUID=call)
        told = caller.ended(call)

    assert asked["CallStatus"] == "in-progress"
    assert told["HangupSource"] == "Answer XML"
    assert told["HangupCauseName"] == "Normal Hangup"


def test_a_server_with_another_token_takes_neither_webhook_nor_stream(
    sandbox: PlivoSandbox, application: Application, reporting: dict[str, str]
) -> None:
    with mediaserver(ECHO, reporting, auth_token="not the account's") as server:
        refused = sandbox.call(f"{server.url}/answer")
        url = server.url.replace("http", "ws")
        streaming = sandbox.call_with(
            f'<Stream bidirectional="true" keepCallAlive="true"'
            f' statusCallbackUrl="{application.url}/status">{url}/stream</Stream>'
        )
        assert sandbox.ended(refused)["HangupCauseName"] == "Error Reaching Answer URL"
        assert sandbox.ended(streaming)["HangupCauseName"] == "End Of XML Instructions"
        dropped = application.wait_for("/status", CallUUID=streaming, Event="DroppedStream")

    assert "403" in dropped["Error"]
    assert application.reports("start") == []
