"""Connections to models, over those to Gemini's."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.event_client import require_texts, retry_after, short_reason
from mediaserver.agents.services.gemini.client import GeminiClient
from mediaserver.agents.services.gemini.model import GeminiModel
from mediaserver.testing.gemini import GeminiServer, answers, refuses
from mediaserver.testing.replies import Disconnect, HttpReply


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever key the person who runs the tests has, it is not used."""
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)


@pytest.fixture
async def gemini() -> AsyncIterator[GeminiServer]:
    async with GeminiServer() as server:
        yield server


def client_of(server: GeminiServer, **settings: Any) -> GeminiClient:
    return GeminiClient(
        "gemini", **{"base_url": server.base_url, "api_key": server.api_key} | settings
    )


async def events(client: GeminiClient) -> list[bytes]:
    try:
        body = b'{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}'
        path = "models/any:streamGenerateContent?alt=sse"
        return [data async for data in client.events(path, body)]
    finally:
        await client.close()


@pytest.mark.parametrize("fault", [refuses(503, "overloaded"), HttpReply([Disconnect()])])
async def test_a_passing_failure_is_tried_again(gemini: GeminiServer, fault: HttpReply) -> None:
    gemini.generate.will(fault, answers("Hello."))
    assert len(await events(client_of(gemini))) == 2


@pytest.mark.parametrize("status", [400, 429])
async def test_what_would_fail_again_is_not(gemini: GeminiServer, status: int) -> None:
    gemini.generate.will(refuses(status, "no"))
    with pytest.raises(ServiceError, match=f"{status}: no") as refused:
        await events(client_of(gemini))
    assert refused.value.status == status
    assert len(gemini.generate.received) == 1


async def test_an_answer_that_has_begun_is_not_asked_for_again(gemini: GeminiServer) -> None:
    gemini.generate.will(answers("So", Disconnect()))
    with pytest.raises(ServiceError, match="the answer broke off"):
        await events(client_of(gemini))
    assert len(gemini.generate.received) == 1


async def test_something_else_than_events_is_refused(gemini: GeminiServer) -> None:
    gemini.generate.will(HttpReply([b"<html>"], "text/html"))
    with pytest.raises(ServiceError, match="answered with text/html instead of events"):
        await events(client_of(gemini))


async def test_a_server_that_is_not_there_is_named(gemini: GeminiServer) -> None:
    url = "http://127.0.0.1:9"
    with pytest.raises(ServiceError, match=f"cannot reach {url}"):
        await events(client_of(gemini, base_url=url, max_retries=0))


async def test_a_missing_key_is_named(gemini: GeminiServer) -> None:
    model = GeminiModel(base_url=gemini.base_url)
    with pytest.raises(MisconfiguredServiceError, match="GEMINI_API_KEY"):
        await model.check()
    await model.prewarm()
    assert gemini.opened == 0


async def test_a_connection_is_opened_before_it_is_needed(gemini: GeminiServer) -> None:
    client = client_of(gemini)
    await client.prewarm()
    assert gemini.opened == 1
    await client.check("any", "generateContent")
    assert gemini.opened == 1
    await client.close()


@pytest.mark.parametrize("url", ["generativelanguage.googleapis.com", "ftp://x", "http://x?key=1"])
def test_a_wrong_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base_url must look like"):
        GeminiClient("gemini", base_url=url)


@pytest.mark.parametrize("status", [403, 429])
async def test_no_error_shows_the_key(gemini: GeminiServer, status: int) -> None:
    gemini.generate.will(refuses(status, f"{'x' * 290} api_key:{gemini.api_key} is suspended"))
    with pytest.raises(ServiceError) as refused:
        await events(client_of(gemini))
    assert gemini.api_key[:4] not in refused.value.reason


def asked_again_after(seconds: str) -> HttpReply:
    refused = refuses(429, "too many")
    return HttpReply(refused.body, status=429, headers={"retry-after": seconds})


async def test_a_server_that_says_when_to_ask_again_soon_is_asked_again(
    gemini: GeminiServer,
) -> None:
    gemini.generate.will(asked_again_after("0"), answers("Hello."))
    assert len(await events(client_of(gemini))) == 2


async def test_nobody_waits_long_for_a_server_that_says_when_to_ask_again(
    gemini: GeminiServer,
) -> None:
    gemini.generate.will(asked_again_after("30"))
    with pytest.raises(ServiceError, match=r"429: too many .*; ask again after 30 s") as refused:
        await events(client_of(gemini))
    assert refused.value.status == 429
    assert len(gemini.generate.received) == 1


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-1", None), ("nan", None), ("Wed, 21", None)]
)
def test_the_seconds_after_which_to_ask_again_are_read(said: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": said}) == seconds
    assert retry_after({}) is None


def test_a_reason_is_a_line_of_limited_length() -> None:
    assert short_reason("a\n  b") == "a b"
    assert short_reason(" ") == "no reason was given"
    assert len(short_reason("x" * 999)) == 300


@pytest.mark.parametrize("value", ["", None, 3])
def test_a_text_is_one_and_not_empty(value: Any) -> None:
    with pytest.raises(ValueError, match="model must be a text"):
        require_texts(model=value)
