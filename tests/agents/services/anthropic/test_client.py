from typing import Any

import pytest

from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.anthropic.client import AnthropicClient, AnthropicFault
from mediaserver.testing.anthropic import AnthropicServer, anthropic_answers, anthropic_refuses
from mediaserver.testing.replies import HttpReply


BODY = b"""{"model": "any", "max_tokens": 1, "stream": true,
    "messages": [{"role": "user", "content": "hello"}]}"""


def client_of(server: AnthropicServer, **settings: Any) -> AnthropicClient:
    reached = {"base_url": server.base_url, "api_key": server.api_key}
    return AnthropicClient("anthropic", **reached | settings)


async def events(client: AnthropicClient) -> list[bytes]:
    try:
        return [data async for data in client.events("messages", BODY)]
    finally:
        await client.close()


@pytest.mark.parametrize(
    "fault",
    [
        anthropic_refuses(529, "Overloaded", "overloaded_error"),
        anthropic_refuses(429, "slower", "rate_limit_error", retry_after="0"),
        anthropic_refuses(500, "oh"),
    ],
)
async def test_a_passing_failure_is_tried_again(
    anthropic: AnthropicServer, fault: HttpReply
) -> None:
    anthropic.messages.will(fault, anthropic_answers("Hello."))
    assert await events(client_of(anthropic))
    assert len(anthropic.messages.received) == 2


@pytest.mark.parametrize(
    ("fault", "said", "kind"),
    [
        (
            anthropic_refuses(429, "slower", "rate_limit_error", retry_after="30"),
            r"429: slower \(rate_limit_error\); ask again after 30 s",
            ServiceError,
        ),
        (anthropic_refuses(429, "spent", "rate_limit_error"), "429: spent", ServiceError),
        (
            anthropic_refuses(529, "Overloaded", "overloaded_error", retry_after="20"),
            "529: Overloaded .*; ask again after 20 s",
            ServiceError,
        ),
        (anthropic_refuses(402, "pay", "billing_error"), "402: pay", MisconfiguredServiceError),
        (HttpReply([b"<html>"], "text/html", 418), "418: <html>", ServiceError),
    ],
)
async def test_what_would_fail_again_is_told_at_once(
    anthropic: AnthropicServer, fault: HttpReply, said: str, kind: type[ServiceError]
) -> None:
    anthropic.messages.will(fault)
    with pytest.raises(ServiceError, match=said) as refused:
        await events(client_of(anthropic))
    assert type(refused.value) is kind
    assert len(anthropic.messages.received) == 1


@pytest.mark.parametrize(
    ("model", "settings", "said"),
    [
        ("claude-x", {}, "404: model: claude-x"),
        ("claude-2", {}, "'claude-2' is retired"),
        ("claude-5", {"thinking": "enabled"}, "thinking='enabled', only adaptive, between_tools"),
        ("claude-5", {"effort": "max"}, "effort='max', only low, medium, high, xhigh"),
    ],
)
async def test_a_model_that_cannot_do_what_it_should_is_found(
    model: str, settings: dict[str, str], said: str
) -> None:
    async with AnthropicServer(models=["claude-2", "claude-5"]) as server:
        client = client_of(server)
        with pytest.raises(MisconfiguredServiceError, match=said):
            await client.check(model, **{"thinking": None, "effort": None} | settings)
        await client.check("claude-5", thinking="disabled", effort="low")
        await client.close()


async def test_a_wrong_key_is_found(anthropic: AnthropicServer) -> None:
    client = client_of(anthropic, api_key="wrong")
    with pytest.raises(MisconfiguredServiceError, match="401: invalid API key"):
        await client.check("any", thinking=None, effort=None)
    await client.close()


def test_an_error_within_an_answer_has_the_status_of_its_type() -> None:
    client = AnthropicClient("anthropic", api_key="secret")
    error = client.refused(AnthropicFault("overloaded_error", "Overloaded, secret"))
    assert (error.status, error.reason) == (529, "529: Overloaded, *** (overloaded_error)")
    assert client.refused(AnthropicFault("to_come", "")).status == 500
