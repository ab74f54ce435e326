from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from mediaserver.plivo.signatures import MA_V3_HEADER, V3_HEADER, verify_headers
from mediaserver.plivo.xml import MAX_DOCUMENT
from mediaserver.sandbox.account import Account
from mediaserver.sandbox.webhooks import (
    MAX_AUDIO,
    Patience,
    WebhookClient,
    WebhookError,
)
from mediaserver.testing import run_virtual


URL = "https://customer.example/answer"
PARAMS = {"CallUUID": "c1", "From": "14155550100", "Event": "StartApp"}
ACCOUNT = Account("MA" + "X" * 18, SecretStr("token"))

Handler = Callable[[httpx.Request], Any]


def sending(
    handler: Handler,
    scenario: Callable[[WebhookClient], Awaitable[Any]],
    *,
    account: Account = ACCOUNT,
    patience: Patience | None = None,
) -> tuple[Any, list[httpx.Request]]:
    """Run a scenario whose requests `handler` answers; return what it returns, and the requests."""
    requests: list[httpx.Request] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        answer = handler(request)
        response: httpx.Response
        response = await answer if asyncio.iscoroutine(answer) else answer
        return response

    async def main() -> Any:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
            return await scenario(WebhookClient(account, client, patience))

    return run_virtual(main()), requests


def fetching(handler: Handler, url: str = URL, method: str = "POST", **options: Any) -> Any:
    return sending(handler, lambda webhooks: webhooks.fetch(url, method, PARAMS), **options)


def test_a_document_comes_back() -> None:
    body, (request,) = fetching(lambda _: httpx.Response(200, content=b"<Response/>"))

    assert body == b"<Response/>"
    assert request.content == b"CallUUID=c1&From=14155550100&Event=StartApp"


def test_bodies_are_asked_for_as_they_are() -> None:
    async def both(webhooks: WebhookClient) -> None:
        await webhooks.fetch(URL, "POST", PARAMS)
        await webhooks.fetch_audio(URL)

    _, requests = sending(lambda _: httpx.Response(200), both)
    assert [each.headers["accept-encoding"] for each in requests] == ["identity", "identity"]


@pytest.mark.parametrize(
    ("encoding", "failure"), [("gzip", "too_large"), ("gzip, gzip", "unreadable")]
)
@pytest.mark.parametrize("what", ["document", "audio"])
def test_a_small_body_that_expands_to_a_large_one_is_refused(
    encoding: str, failure: str, what: str
) -> None:
    bomb = gzip.compress(bytes(MAX_AUDIO + 1))

    async def body() -> AsyncIterator[bytes]:
        yield bomb

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": encoding}, content=body())

    async def fetch(webhooks: WebhookClient) -> bytes:
        if what == "audio":
            return await webhooks.fetch_audio(URL)
        return await webhooks.fetch(URL, "POST", PARAMS)

    with pytest.raises(WebhookError) as refused:
        sending(answer, fetch)
    assert refused.value.failure == failure


def test_a_get_has_the_parameters_after_the_query_of_the_url() -> None:
    _, (request,) = fetching(lambda _: httpx.Response(200), URL + "?agent=a%20b", "GET")

    assert str(request.url) == (URL + "?agent=a%20b&CallUUID=c1&From=14155550100&Event=StartApp")
    assert verify_headers(request.headers, "GET", str(request.url), "token")


def test_a_subaccounts_requests_are_signed_by_the_main_account_too() -> None:
    account = Account("SA" + "X" * 18, SecretStr("sub"), SecretStr("main"))
    _, (request,) = fetching(lambda _: httpx.Response(200), account=account)

    assert request.headers[V3_HEADER] != request.headers[MA_V3_HEADER]
    for token in ("sub", "main"):
        assert verify_headers(request.headers, "POST", URL, token, PARAMS)


def test_every_attempt_has_a_nonce_of_its_own() -> None:
    answers = iter((httpx.ConnectError("refused"), httpx.Response(200)))

    def answer(_: httpx.Request) -> httpx.Response:
        given = next(answers)
        if isinstance(given, Exception):
            raise given
        return given

    _, requests = fetching(answer)

    assert len({request.headers["X-Plivo-Signature-V3-Nonce"] for request in requests}) == 2


@pytest.mark.parametrize("status", [301, 401, 404, 500])
def test_any_other_status_is_a_failure_that_is_not_retried(status: int) -> None:
    with pytest.raises(WebhookError, match=f"HTTP {status}") as failure:
        fetching(lambda _: httpx.Response(status, headers={"Location": "/elsewhere"}))

    assert (failure.value.failure, failure.value.status) == ("status", status)


@pytest.mark.parametrize(
    ("fragment", "status", "requests"),
    [
        ("rp=5xx&rc=3", 503, 4),
        ("rp=5xx&rc=3", 404, 1),
        ("rp=4xx,5xx&rc=2", 404, 3),
        ("rp=all", 404, 2),
        ("rc=0", 503, 1),
    ],
)
def test_the_fragment_says_what_is_retried(fragment: str, status: int, requests: int) -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status)

    with pytest.raises(WebhookError):
        fetching(answer, f"{URL}#{fragment}")

    assert [str(each.url) for each in seen] == [URL] * requests


def test_the_fragment_says_how_long_to_wait() -> None:
    async def scenario(webhooks: WebhookClient) -> float:
        loop = asyncio.get_running_loop()
        with pytest.raises(WebhookError, match="did not answer in 3 s"):
            await webhooks.fetch(URL + "#rt=3000&ct=500&rc=2", "POST", PARAMS)
        return loop.time()

    took, requests = sending(lambda _: asyncio.sleep(100), scenario)

    assert (took, len(requests)) == (pytest.approx(3 * 3.5), 3)


def test_all_attempts_together_have_a_limit_too() -> None:
    async def scenario(webhooks: WebhookClient) -> float:
        with pytest.raises(WebhookError, match="no answer in 20 s"):
            await webhooks.fetch(URL + "#tt=20000&rc=9", "POST", PARAMS)
        return asyncio.get_running_loop().time()

    took, _ = sending(lambda _: asyncio.sleep(100), scenario)

    assert took == pytest.approx(20)


@pytest.mark.parametrize("fragment", ["rt=soon", "ct=0", "rc=-1", "rp=always"])
def test_a_fragment_that_cannot_be_is_a_failure(fragment: str) -> None:
    with pytest.raises(WebhookError, match=fragment[:2]):
        fetching(lambda _: httpx.Response(200), f"{URL}#{fragment}")


@given(
    st.builds(
        Patience,
        connect=st.integers(1, 10_000).map(lambda ms: ms / 1000),
        read=st.integers(1, 60_000).map(lambda ms: ms / 1000),
        total=st.integers(1, 60_000).map(lambda ms: ms / 1000),
        retries=st.integers(0, 10),
        policy=st.frozensets(st.sampled_from(["ct", "rt", "4xx", "5xx", "all"]), min_size=1),
    )
)
def test_a_fragment_can_say_everything(patience: Patience) -> None:
    fragment = "&".join(
        (
            f"ct={round(patience.connect * 1000)}",
            f"rt={round(patience.read * 1000)}",
            f"tt={round(patience.total * 1000)}",
            f"rc={patience.retries}",
            f"rp={','.join(patience.policy)}",
            "er=virginia",
        )
    )

    assert Patience().with_options(fragment) == patience


def test_a_document_has_at_most_100_kb() -> None:
    with pytest.raises(WebhookError, match=f"longer than {MAX_DOCUMENT} bytes") as failure:
        fetching(lambda _: httpx.Response(200, content=b" " * (MAX_DOCUMENT + 1)))

    assert failure.value.failure == "too_large"


@pytest.mark.parametrize("url", ["nowhere", "http://", "ftp://h/answer", "http://[::1/answer"])
def test_what_is_no_url_is_a_failure(url: str) -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient(timeout=30.0) as client:
            with pytest.raises(WebhookError):
                await WebhookClient(ACCOUNT, client).fetch(url, "POST", PARAMS)

    run_virtual(scenario())


def test_notes_are_delivered_one_after_the_other() -> None:
    async def scenario(webhooks: WebhookClient) -> None:
        first = webhooks.notify(URL, "POST", {"n": "1"})
        webhooks.notify(URL, "POST", {"n": "2"}, after=first)
        await webhooks.delivered()

    _, requests = sending(
        lambda request: asyncio.sleep(5 if b"1" in request.content else 0, httpx.Response(200)),
        scenario,
    )

    assert [request.content for request in requests] == [b"n=1", b"n=2"]


def test_a_lost_note_does_not_hold_up_the_next() -> None:
    async def scenario(webhooks: WebhookClient) -> None:
        first = webhooks.notify(URL, "POST", {"n": "1"})
        webhooks.notify(URL, "POST", {"n": "2"}, after=first)
        await webhooks.delivered()

    _, requests = sending(lambda _: httpx.Response(404), scenario)

    assert len(requests) == 2


def test_closing_gives_up_what_takes_too_long() -> None:
    async def scenario(webhooks: WebhookClient) -> float:
        webhooks.notify(URL, "POST", PARAMS)
        await webhooks.aclose(grace=2)
        return asyncio.get_running_loop().time()

    took, _ = sending(lambda _: asyncio.sleep(100), scenario)

    assert took == pytest.approx(2)


def test_an_answer_that_trickles_is_no_answer_in_time() -> None:
    async def drops() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(1)
            yield b" "

    async def scenario(webhooks: WebhookClient) -> float:
        with pytest.raises(WebhookError, match="did not answer in 15 s"):
            await webhooks.fetch(URL + "#rc=0", "POST", PARAMS)
        return asyncio.get_running_loop().time()

    took, _ = sending(lambda _: httpx.Response(200, content=drops()), scenario)

    assert took == pytest.approx(17)


@pytest.mark.parametrize(
    ("response", "failure"),
    [
        (httpx.Response(404), "status"),
        (httpx.Response(200, content=bytes(MAX_AUDIO + 1)), "too_large"),
        (httpx.ConnectError("refused"), "connect"),
    ],
)
def test_a_file_that_cannot_be_fetched_is_a_failure(
    response: httpx.Response | Exception, failure: str
) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        if isinstance(response, Exception):
            raise response
        return response

    async def scenario(webhooks: WebhookClient) -> bytes:
        return await webhooks.fetch_audio("http://customer.example/a.wav")

    with pytest.raises(WebhookError) as error:
        sending(answer, scenario)

    assert error.value.failure == failure


def test_a_file_may_be_larger_than_a_document() -> None:
    audio = bytes(MAX_DOCUMENT + 1)
    fetched, (request,) = sending(
        lambda _: httpx.Response(200, content=audio),
        lambda webhooks: webhooks.fetch_audio("http://customer.example/a.wav"),
    )

    assert (fetched, request.method) == (audio, "GET")
    assert V3_HEADER not in request.headers
