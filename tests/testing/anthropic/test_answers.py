import json
from typing import Any

from mediaserver.testing.anthropic import AnthropicToolUse, anthropic_answers, anthropic_refuses
from mediaserver.testing.replies import Hold, HttpReply


def data(reply: HttpReply) -> list[dict[str, Any]]:
    body = b"".join(piece for piece in reply.body if isinstance(piece, bytes)).decode()
    events = []
    for each in body.split("\n\n")[:-1]:
        kind, line = each.split("\n")
        events.append(json.loads(line.removeprefix("data: ")))
        assert kind == f"event: {events[-1]['type']}"
    return events


def test_an_answer_is_a_message_of_blocks() -> None:
    hold = Hold()
    use = AnthropicToolUse("look", {"at": 1})
    reply = anthropic_answers("Hi.", hold, uses=[use], thinking=["s"], redacted="r")
    assert hold in reply.body
    started, _, *_, delta, stopped = events = data(reply)
    blocks = [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"]
    assert blocks == ["thinking", "redacted_thinking", "text", "tool_use"]
    deltas = [e["delta"] for e in events if e["type"] == "content_block_delta"]
    assert "".join(delta.get("partial_json", "") for delta in deltas) == '{"at": 1}'
    assert started["message"]["usage"]["output_tokens"] == 1
    assert (delta["delta"]["stop_reason"], delta["usage"]["output_tokens"]) == ("tool_use", 10)
    assert stopped["type"] == "message_stop"


def test_an_answer_may_have_no_end_or_another_one() -> None:
    assert data(anthropic_answers("Hi.", stop=""))[-1]["type"] == "content_block_stop"
    refused = data(anthropic_answers(stop="refusal", details={"category": "bio"}))[-2]["delta"]
    assert refused["stop_details"] == {"type": "refusal", "category": "bio"}


def test_a_refusal_may_say_when_to_ask_again() -> None:
    reply = anthropic_refuses(429, "slower", "rate_limit_error", retry_after="3")
    assert (reply.status, reply.headers) == (429, {"retry-after": "3"})
    assert anthropic_refuses(500, "oh").headers == {}
