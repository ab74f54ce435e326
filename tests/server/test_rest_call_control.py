import json
from typing import Any

import httpx
import pytest
from httpx import ConnectError, ReadTimeout, Request, Response

from mediaserver.plivo.client import PlivoClient, Retries
from mediaserver.server.rest_call_control import RestCallControl
from mediaserver.stream import CallControlError


CALL = "78737f83-4660-490d-98e1-025dfe4b5c8f"
URL = "https://voice.example.com/next"


class FakeStream:
    def __init__(self) -> None:
        self.call_id = CALL
        self.closed = False

    def close(self) -> None:
        self.closed = True


def control(
    answer: ConnectError | ReadTimeout | Response, seen: list[Any] | None = None
) -> RestCallControl:
    def respond(request: Request) -> Response:
        if seen is not None:
            body = json.loads(request.content or "null")
            seen.append((request.method, request.url.path.rpartition("MA1/")[2], body))
        if isinstance(answer, Exception):
            raise answer
        return answer

    transport = httpx.MockTransport(respond)
    return RestCallControl(
        PlivoClient("MA1", "token", transport=transport, retries=Retries(attempts=1))
    )


@pytest.mark.parametrize("status", [204, 404])
async def test_a_call_is_hung_up_or_has_been(status: Any) -> None:
    seen: list[Any] = []
    stream: Any = FakeStream()
    await control(httpx.Response(status), seen).hang_up(stream)
    assert seen == [("DELETE", f"Call/{CALL}/", None)]
    assert stream.closed


async def test_a_hang_up_that_fails_says_so_and_leaves_the_stream() -> None:
    stream: Any = FakeStream()
    with pytest.raises(CallControlError, match=r"cannot hang up .*503"):
        await control(httpx.Response(503)).hang_up(stream)
    assert not stream.closed


async def test_a_transfer_is_asked_for_before_the_stream_is_closed() -> None:
    stream: Any = FakeStream()
    seen: list[Any] = []

    class Watching(list[Any]):
        def append(self, item: tuple[str, str, dict[str, str]]) -> None:
            seen.append((*item, stream.closed))

    await control(httpx.Response(202, json={"message": "call transferred"}), Watching()).transfer(
        stream, URL
    )
    assert seen == [("POST", f"Call/{CALL}/", {"legs": "aleg", "aleg_url": URL}, False)]
    assert stream.closed


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(404, json={"error": "call not found"}), "it is over.*call not found"),
        (httpx.Response(400, json={"error": "aleg_url is invalid"}), "aleg_url is invalid"),
        (httpx.Response(500), "500"),
        (httpx.ConnectError("refused"), "was not transferred: "),
        (httpx.ReadTimeout("slow"), r"was not transferred \(or may have been"),
    ],
)
async def test_a_transfer_that_fails_leaves_the_stream_to_the_handler(
    answer: Any, said: str
) -> None:
    stream: Any = FakeStream()
    with pytest.raises(CallControlError, match=said):
        await control(answer).transfer(stream, URL)
    assert not stream.closed


async def test_a_transfer_to_what_is_no_url_is_not_asked_for() -> None:
    stream: Any = FakeStream()
    seen: list[Any] = []
    with pytest.raises(CallControlError, match=r"to 'next': aleg_url: must be a URL that"):
        await control(httpx.Response(202), seen).transfer(stream, "next")
    assert seen == []
    assert not stream.closed
