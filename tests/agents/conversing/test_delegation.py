"""Tasks that an agent's tool hands to another model."""

import asyncio
from typing import Any

import pytest

from mediaserver.agents import tool
from mediaserver.agents.services import (
    LanguageModel,
    MisconfiguredServiceError,
    ServiceError,
    Text,
    ToolCall,
    ToolResult,
)
from mediaserver.handler import HandlerError
from mediaserver.testing.services import Fault, TimedModel, TimedSpeech, TimedTranscription
from tests.agents.scripted_call import Scripted, caller, converse, voice


async def lead(name: str) -> str:
    """Find a lead."""
    return f"{name} bakes bread."


class Delegating(Scripted):
    thinker: LanguageModel
    rounds: int = 3

    @tool
    async def hand_on(self, task: str) -> str:
        """Have a task done."""
        return await self.delegate(
            task, self.thinker, prompt="Be brief.", tools=[lead], rounds=self.rounds
        )


HANDED_ON = ToolCall("a", "hand_on", '{"task": "Who is Ann?"}')


def lookup(call_id: str = "b", name: str = "Ann") -> ToolCall:
    return ToolCall(call_id, "lead", f'{{"name": "{name}"}}')


def delegated(thinker: Any, **settings: Any) -> Any:
    return converse(
        caller(1.0, voice(1.0), 8.0),
        kind=Delegating,
        thinker=thinker,
        hears=["Who is Ann?"],
        answers=[HANDED_ON, "That is done."],
        greeting="Hello there.",
        **settings,
    )


def results(call: Any) -> list[str]:
    return [each.text for each in call.messages if isinstance(each, ToolResult)]


def test_another_model_works_with_tools_of_its_own_and_its_answer_is_the_result() -> None:
    thinker = TimedModel([["Let me see.", lookup(), lookup("c", "Bo")], "Ann bakes."])
    call = delegated(thinker)
    assert results(call) == ["Ann bakes."]
    assert thinker.conversations == [
        [
            Text("system", "Be brief."),
            Text("assistant", "Hello there."),
            Text("user", "Who is Ann?"),
            Text("user", "Who is Ann?"),
        ],
        [
            *thinker.conversations[0],
            Text("assistant", "Let me see."),
            lookup(),
            lookup("c", "Bo"),
            ToolResult("b", "Ann bakes bread."),
            ToolResult("c", "Bo bakes bread."),
        ],
    ]
    assert call.said[-1] == ("assistant", "That is done.")


def test_what_it_does_and_costs_belongs_to_the_turn() -> None:
    call = delegated(TimedModel([lookup(), "Ann bakes."]))
    turn = call.turns[-1]
    steps = [(step.kind, step.name) for step in turn.steps if step.kind in ("model", "tool")]
    assert steps == [
        ("model", "TimedModel"),
        ("tool", "hand_on"),
        ("model", "TimedModel"),
        ("tool", "lead"),
        ("model", "TimedModel"),
        ("model", "TimedModel"),
    ]
    costs = [step.usage.tokens_in for step in turn.steps if step.kind == "model"]
    assert turn.usage.tokens_in == sum(costs)
    assert min(costs) > 0


@pytest.mark.parametrize(
    ("thinker", "settings", "failures"),
    [
        (TimedModel([lookup(), lookup()]), {"rounds": 2}, 1),
        (TimedModel([""]), {}, 1),
        (TimedModel(["Never."], fault=Fault(error=ServiceError("thinker", "down"))), {}, 1),
    ],
)
def test_a_model_that_fails_fails_the_tool_and_not_the_turn(
    thinker: Any, settings: dict[str, Any], failures: int
) -> None:
    call = delegated(thinker, **settings)
    (result,) = results(call)
    assert result.startswith("hand_on failed")
    assert call.said[-1] == ("assistant", "That is done.")
    assert sum(call.counters.turns.failures.values()) == failures


async def test_only_tools_delegate() -> None:
    agent = Delegating(
        speech_to_text=TimedTranscription(),
        language_model=TimedModel(),
        text_to_speech=TimedSpeech(),
        thinker=TimedModel(),
    )
    with pytest.raises(RuntimeError, match="for the tools"):
        await agent.hand_on("Who is Ann?")


class Checkable(TimedModel):
    """A model without a key."""

    closed = False

    async def check(self) -> None:
        raise MisconfiguredServiceError("thinker", "it has no key")

    async def close(self) -> None:
        self.closed = True


async def test_a_model_that_is_a_setting_is_checked_at_start_and_closed() -> None:
    thinker = Checkable()
    services = {
        "speech_to_text": TimedTranscription(),
        "language_model": TimedModel(),
        "text_to_speech": TimedSpeech(),
    }
    with pytest.raises(HandlerError, match="thinker: it has no key"):
        async with asyncio.timeout(5), Delegating.serving({**services, "thinker": thinker}):
            pass
    assert thinker.closed
