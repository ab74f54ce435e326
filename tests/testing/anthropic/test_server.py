from typing import Any

import httpx
import msgspec
import pytest

from mediaserver.testing.anthropic import AnthropicServer, anthropic_answers
from mediaserver.testing.anthropic.schema import WireTurn
from mediaserver.testing.anthropic.server import check_messages
from mediaserver.testing.http_server import RefusedError


HELLO: dict[str, Any] = {"role": "user", "content": "hello"}
BODY: dict[str, Any] = {"model": "any", "max_tokens": 9, "stream": True, "messages": [HELLO]}


async def posted(
    server: AnthropicServer, body: dict[str, Any], path: str = "messages", **headers: str
) -> httpx.Response:
    sent = {
        "authorization": f"Bearer {server.api_key}",
        "anthropic-version": "2026-10-21",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    async with httpx.AsyncClient() as client:
        return await client.post(f"{server.base_url}/v1/{path}", json=body, headers=sent)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("messages", {}, 200),
        ("messages", {"authorization": "", "x_api_key": "a test key"}, 200),
        ("messages", {"authorization": "Bearer another"}, 401),
        ("messages", {"anthropic_version": "2023-06-01"}, 400),
        ("messages?beta=true", {}, 400),
        ("complete", {}, 404),
    ],
)
async def test_only_what_the_api_has_is_there(
    path: str, headers: dict[str, str], status: int
) -> None:
    async with AnthropicServer() as server:
        assert (await posted(server, BODY, path, **headers)).status_code == status


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temperature": 1.0}, "unknown field `temperature`"),
        ({"stream": False}, "Invalid enum value"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking.type.enabled"),
        ({"thinking": {"type": "adaptive", "budget": 1}}, "unknown field `budget`"),
        ({"output_config": {"effort": "most"}}, "Invalid enum value 'most'"),
        ({"tools": [{"name": "look up", "input_schema": {"type": "object"}}]}, "matching regex"),
        ({"tools": [{"name": "look", "input_schema": {"type": "array"}}]}, "Invalid enum value"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "regex"),
        ({"model": "another"}, "model: another"),
    ],
)
async def test_what_is_not_published_is_refused(changes: dict[str, Any], said: str) -> None:
    async with AnthropicServer(models=["any"]) as server:
        refused = await posted(server, BODY | changes)
    assert refused.status_code in (400, 404)
    assert refused.json()["type"] == "error"
    assert said in refused.json()["error"]["message"]


async def test_a_budget_of_thinking_is_less_than_the_limit() -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    async with AnthropicServer(thinking=["enabled"]) as server:
        assert (await posted(server, BODY | thinking)).status_code == 400
        assert (await posted(server, BODY | thinking | {"max_tokens": 2000})).status_code == 200


USE: dict[str, Any] = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "a", "name": "look", "input": {}}],
}
RESULT: dict[str, Any] = {
    "role": "user",
    "content": [{"type": "tool_result", "tool_use_id": "a", "content": "rain"}],
}
TEXT: dict[str, Any] = {"type": "text", "text": "Well?"}


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([USE, RESULT], "first message must use the user role"),
        ([HELLO, {"role": "assistant", "content": "Hi."}], "assistant message prefill"),
        ([{"role": "user", "content": []}], "must not be empty"),
        ([RESULT], "need `tool_result` blocks"),
        ([HELLO, USE, HELLO], "need `tool_result` blocks"),
        (
            [HELLO, USE, {"role": "user", "content": [TEXT, *RESULT["content"]]}],
            "must come first",
        ),
        ([HELLO, USE, RESULT, USE, RESULT], "must be unique"),
        ([{"role": "user", "content": USE["content"]}, RESULT], "only be in `assistant`"),
    ],
)
def test_messages_in_another_order_are_refused(messages: Any, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        check_messages(msgspec.convert(messages, list[WireTurn]))


async def test_thinking_is_taken_back_as_it_was_and_where_it_was() -> None:
    thought = {"type": "thinking", "thinking": "", "signature": "s1"}
    thinks = {"role": "assistant", "content": [thought, {"type": "text", "text": "Hi."}]}
    async with AnthropicServer() as server:
        server.messages.will(anthropic_answers("Hi.", thinking=["s1"]))
        assert (await posted(server, BODY)).status_code == 200
        kept = BODY | {"messages": [HELLO, thinks, HELLO]}
        assert (await posted(server, kept)).status_code == 200
        moved = BODY | {"messages": [HELLO, HELLO, thinks, HELLO]}
        assert "different conversation" in (await posted(server, moved)).text
        assert "different conversation" in (await posted(server, kept | {"system": "No."})).text
        forged = {**thinks, "content": [{**thought, "signature": "s2"}]}
        refused = await posted(server, BODY | {"messages": [HELLO, forged, HELLO]})
        assert "Invalid `signature`" in refused.text
        assert "different" not in refused.text


async def test_a_model_can_be_looked_up() -> None:
    async with AnthropicServer(models=["any"]) as server, httpx.AsyncClient() as client:
        headers = {"x-api-key": server.api_key, "anthropic-version": "2026-10-21"}
        shown = await client.get(f"{server.base_url}/v1/models/any", headers=headers)
        missing = await client.get(f"{server.base_url}/v1/models/other", headers=headers)
        head = await client.head(server.base_url)
    assert shown.json()["capabilities"]["thinking"]["types"]["disabled"] == {"supported": True}
    assert (missing.status_code, head.status_code) == (404, 404)
