import json
from typing import Any

import pytest

from mediaserver.agents.services import NoAnswerError, ServiceError, Tokens, ToolCall
from mediaserver.agents.services.anthropic.answer import AnthropicAnswer, decode_anthropic_event
from mediaserver.agents.services.anthropic.client import AnthropicClient


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def block(start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        event("content_block_start", index=0, content_block=start),
        *(event("content_block_delta", index=0, delta=delta) for delta in deltas),
        event("content_block_stop", index=0),
    ]


def stopped(reason: str, **details: Any) -> dict[str, Any]:
    return event("message_delta", delta={"stop_reason": reason, **details})


def text(*pieces: str) -> list[dict[str, Any]]:
    return block({"type": "text", "text": ""}, *({"type": "text_delta", "text": p} for p in pieces))


def thinking(signature: str) -> list[dict[str, Any]]:
    return block(
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "thinking_delta", "thinking": "m."},
        {"type": "signature_delta", "signature": signature},
    )


def use(name: str, *json: str) -> list[dict[str, Any]]:
    start = {"type": "tool_use", "id": name, "name": "look", "input": {}}
    return block(start, *({"type": "input_json_delta", "partial_json": piece} for piece in json))


def read(*events: dict[str, Any]) -> tuple[list[Any], AnthropicAnswer]:
    answer = AnthropicAnswer(AnthropicClient("anthropic", api_key="key"))
    pieces = [answer.read(decode_anthropic_event(json.dumps(each))) for each in events]
    return [piece for piece in pieces if piece is not None], answer


def test_text_comes_as_it_is_written() -> None:
    pieces, answer = read(*text("Good ", "", "morning."), stopped("end_turn"))
    assert pieces == ["Good ", "morning."]
    answer.end()


def test_a_call_has_the_thinking_before_it() -> None:
    pieces, answer = read(
        *thinking("1"),
        *block({"type": "redacted_thinking", "data": "x"}),
        *text("Let me see."),
        *thinking("2"),
        *use("a", "", '{"at"', ": 1}"),
        *use("b"),
        *thinking("3"),
        *use("c", "{}"),
        stopped("tool_use"),
    )
    answer.end()
    said, one, two, three = pieces
    assert said == "Let me see."
    assert one == ToolCall("a", "look", '{"at": 1}')
    assert (two.arguments, two.extra) == ("{}", {})
    thought = {"type": "thinking", "thinking": "Hmm."}
    assert one.extra == {
        "thinking_first": [
            {**thought, "signature": "1"},
            {"type": "redacted_thinking", "data": "x"},
        ],
        "thinking": [{**thought, "signature": "2"}],
    }
    assert three.extra == {"thinking": [{**thought, "signature": "3"}]}


def test_the_cost_is_the_last_that_was_told() -> None:
    usage = {"input_tokens": 5, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 2}
    _, answer = read(
        event("message_start", message={"usage": {**usage, "output_tokens": 1}}),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}),
    )
    assert answer.tokens == Tokens(10, 9, 2)
    assert read()[1].tokens is None


def test_what_is_not_known_is_passed_over() -> None:
    pieces, answer = read(
        event("to_come", some="field"),
        *block({"type": "server_tool_use", "id": "a", "name": "x"}, {"type": "to_come"}),
        event("content_block_stop", index=7),
        *text("So."),
        event("message_stop"),
        stopped("stop_sequence"),
    )
    assert pieces == ["So."]
    answer.end()


@pytest.mark.parametrize(
    ("events", "kind", "said"),
    [
        ([], ServiceError, "no answer came"),
        (text("So"), ServiceError, "broke off"),
        ([*thinking("1"), stopped("max_tokens")], ServiceError, "before the first word: thinking"),
        ([*use("a", '{"a'), stopped("max_tokens")], ServiceError, "within a tool call"),
        ([*use("a", '{"a'), stopped("tool_use")], NoAnswerError, "cannot be read"),
        ([stopped("end_turn")], NoAnswerError, "no words and no tool call"),
        ([*text("So"), stopped("pause_turn")], ServiceError, "paused for a tool of Anthropic's"),
        ([stopped("model_context_window_exceeded")], ServiceError, "longer than the model"),
        ([*text("So"), stopped("to_come")], ServiceError, r"stopped \(to_come\)"),
        ([*text("So"), stopped("refusal")], ServiceError, "the model refused to answer$"),
        (
            [stopped("refusal", stop_details={"category": "bio", "explanation": "No."})],
            ServiceError,
            r"refused to answer \(bio: No\.\)",
        ),
    ],
)
def test_an_answer_of_no_use_says_why(events: list[Any], kind: Any, said: str) -> None:
    _, answer = read(*events)
    with pytest.raises(ServiceError, match=said) as failed:
        answer.end()
    assert type(failed.value) is kind


def test_what_was_said_before_the_token_limit_is_kept() -> None:
    pieces, answer = read(*text("A long"), stopped("max_tokens"))
    answer.end()
    assert pieces == ["A long"]


def test_an_error_within_the_answer_is_raised() -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    with pytest.raises(ServiceError, match="529: Overloaded") as failed:
        read(*text("So"), event("error", error=error))
    assert failed.value.status == 529
