import asyncio
import json
from typing import Any, cast

import pytest

from mediaserver.agents.services import (
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.agents.services.scripted import Rule, ScriptedModel, Use
from mediaserver.testing import run_virtual


PROMPT = Text("system", "You are a desk.")
LOOK_UP = ToolSpec("look_up", "Look up an order.", {})
ORDERS = Rule(r"order (?P<number>\d+)", "It is {result}.", Use("look_up", {"order": "{number}"}))


async def respond(
    model: ScriptedModel, *messages: Any, tools: tuple[()] | tuple[ToolSpec] = (LOOK_UP,)
) -> Any:
    return [each async for each in model.respond([PROMPT, *messages], tools)]


def said(model: ScriptedModel, *messages: Any, **options: Any) -> str:
    pieces = run_virtual(respond(model, *messages, **options))
    return "".join(piece for piece in pieces if isinstance(piece, str))


def caller(*texts: Any) -> Any:
    return [
        message
        for text in texts
        for message in (Text("user", text), Text("assistant", "Well."))
    ][:-1]  # fmt: skip


def test_the_first_rule_that_matches_answers() -> None:
    model = ScriptedModel([("hello", "Hi."), ("hello there", "Ho.")])
    assert said(model, *caller("Oh, Hello there")) == "Hi."


def test_only_the_last_words_of_the_caller_match() -> None:
    model = ScriptedModel([("hello", "Hi."), ("bye", "Goodbye.")])
    assert said(model, *caller("hello", "bye")) == "Goodbye."


def test_what_matched_is_in_the_reply() -> None:
    model = ScriptedModel([(r"i am (?P<name>\w+)(?P<rest>!)?", "Hello {name}{rest}, {0}? {1}")])
    assert said(model, *caller("I am Ann")) == "Hello Ann, I am Ann? Ann"


def test_what_no_rule_matches_is_answered_by_the_turns_in_order() -> None:
    model = ScriptedModel([("hello", "Hi.")], turns=["One.", "Two."], otherwise="No more.")
    turns = ["a", "hello", "b", "c"]
    answers = [said(model, *caller(*turns[: count + 1])) for count in range(len(turns))]
    assert answers == ["One.", "Hi.", "Two.", "No more."]


def test_one_model_serves_several_calls() -> None:
    model = ScriptedModel(turns=["One.", "Two."])
    assert [said(model, *caller("a")), said(model, *caller("b"))] == ["One.", "One."]


def test_before_the_caller_has_spoken_it_has_nothing_else_to_say() -> None:
    assert said(ScriptedModel(turns=["One."], otherwise="Yes?")) == "Yes?"


def test_words_come_one_by_one() -> None:
    pieces = run_virtual(respond(ScriptedModel([("", "One two,\n three.  ")])))
    assert pieces[:-1] == ["One", " two,", "\n three.  "]


def test_words_are_counted_as_tokens() -> None:
    pieces = run_virtual(respond(ScriptedModel([("", "One two three.")]), *caller("a b")))
    assert pieces[-1] == Tokens(tokens_in=6, tokens_out=3)


def test_a_tool_is_called_with_what_matched() -> None:
    call, tokens = run_virtual(respond(ScriptedModel([ORDERS]), *caller("my order 4711")))
    assert (call.name, json.loads(call.arguments)) == ("look_up", {"order": "4711"})
    assert tokens.tokens_out == 2


def test_arguments_are_filled_in_however_deep() -> None:
    use = Use("look_up", {"a": ["{1}", {"b": "{0}"}], "n": 5})
    call = run_virtual(respond(ScriptedModel([Rule("order (.)", use=use)]), *caller("order 7")))[0]
    assert json.loads(call.arguments) == {"a": ["7", {"b": "order 7"}], "n": 5}


def test_after_the_tool_its_result_is_said() -> None:
    messages = [
        *caller("order 5"),
        ToolCall("c", "look_up", "{}"),
        ToolResult("c", "on its way"),
    ]
    assert said(ScriptedModel([ORDERS]), *messages) == "It is on its way."


def test_results_of_an_earlier_turn_are_not_said_again() -> None:
    earlier = [*caller("order 5"), ToolCall("c", "look_up", "{}"), ToolResult("c", "on its way")]
    pieces = run_virtual(respond(ScriptedModel([ORDERS]), *earlier, *caller("order 6")))
    assert isinstance(pieces[0], ToolCall)


def test_several_tools_are_called_at_once_and_have_ids_of_their_own() -> None:
    rule = Rule("both", use=[Use("look_up", {"order": 1}), Use("look_up", {"order": 2})])
    pieces = run_virtual(respond(ScriptedModel([rule]), *caller("both")))
    calls = [piece for piece in pieces if isinstance(piece, ToolCall)]
    assert len({call.id for call in calls}) == 2
    results = [ToolResult(call.id, f"result {index}") for index, call in enumerate(calls)]
    assert said(ScriptedModel([rule]), *caller("both"), *calls, *results) == "result 0 result 1"


def test_a_turn_can_use_a_tool() -> None:
    model = ScriptedModel(turns=[Use("look_up", {"order": 1})])
    assert isinstance(run_virtual(respond(model, *caller("a")))[0], ToolCall)


def test_a_tool_that_is_not_offered_is_said_to_be_missing() -> None:
    assert said(ScriptedModel([ORDERS]), *caller("order 5"), tools=()) == (
        "It is there is no tool look_up."
    )


def test_words_come_at_their_times_however_slow_the_listener() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        times = []
        async for piece in model.respond([], ()):
            if isinstance(piece, str):
                times.append(loop.time())
                await asyncio.sleep(0.05)
        return times

    model = ScriptedModel(otherwise="one two three", first=0.5, between=0.1)
    assert run_virtual(main()) == pytest.approx([0.5, 0.6, 0.7])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (("(", "x"), r"the pattern '\(' is not a regular expression"),
        (("x", "{name}"), r"'\{name\}' for the pattern 'x' has \{name\}; allowed: \{0\}"),
        (("x", "{"), "cannot be filled in"),
        (("x", "{}"), r"has \{\}"),
        (("x", "{result}"), r"has \{result\}"),
        (("x", ""), "neither a reply nor a tool"),
        (Rule("x", use=Use("t", {"a": ["{b}"]})), r"has \{b\}"),
        (Rule("x", use=cast(Any, ["t"])), "not by 't'"),
        (("x",), "a rule is Rule"),
        (5, "a rule is Rule"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScriptedModel([rule])


@pytest.mark.parametrize("name", ["first", "between"])
def test_times_are_not_negative(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 0 seconds or more, not -1"):
        ScriptedModel(**{name: cast(Any, -1)})
