import asyncio
from typing import Any

import pytest

from mediaserver.agents.conversing.reply import Reply
from mediaserver.agents.conversing.steps import RunningStep
from mediaserver.agents.services import ServiceError, Tokens, ToolCall
from mediaserver.call import TurnStep, Usage
from mediaserver.stream import Stream
from tests.agents.scripted_call import caller, converse, voice


class Model:
    model, provider = "gpt-5", "openai"


def test_a_step_is_reported_from_the_time_of_its_turn() -> None:
    step = RunningStep("model", Model(), 12.0)
    step.answered(12.5)
    step.answered(12.75)
    step.spend(Tokens(30, 4, 2))
    with step.running(lambda: 13.0):
        pass
    step.end(99.0)
    assert step.report(10.0) == TurnStep(
        kind="model",
        name="Model",
        model="gpt-5",
        provider="openai",
        began=2.0,
        first=2.5,
        ended=3.0,
        usage=Usage(tokens_in=30, tokens_out=4, tokens_cached=2),
    )


def test_a_step_that_failed_says_why() -> None:
    step = RunningStep("synthesis", Model(), 1.0)
    with pytest.raises(ServiceError), step.running(lambda: 2.0):
        raise ServiceError("speech", "no audio")
    assert (step.report(0.0).error, step.report(0.0).ended) == ("no audio", 2.0)
    assert step.report(0.0).failure == "speech"


def test_a_step_that_goes_on_has_no_end() -> None:
    assert RunningStep("tool", "look_up", 1.0).report(0.0).ended is None


def test_a_reply_made_again_has_the_steps_of_both() -> None:
    reply = Reply(1, since=0.0)
    reply.begin_step("model", Model(), 1.0)
    again = reply.again()
    again.begin_step("tool", "look_up", 2.0)
    assert [step.kind for step in again.report().steps] == ["model", "tool"]


def test_a_turn_tells_what_was_done_for_it() -> None:
    async def look_up(item: str) -> str:
        """Look something up."""
        return "nine euros"

    call = converse(
        caller(1.0, voice(1.0), 8.0),
        hears=["How much is it?"],
        answers=[ToolCall("1", "look_up", '{"item": "tea"}'), "It is nine euros."],
        tools=[look_up],
    )
    (turn,) = call.turns
    steps = turn.steps
    assert [step.kind for step in steps] == ["transcription", "model", "tool", "model", "synthesis"]
    heard, _, used, answered, spoken = steps
    assert heard.began < 0 < heard.ended == pytest.approx(turn.transcript)
    assert used.name == "look_up"
    assert (used.arguments, used.result) == ('{"item": "tea"}', "nine euros")
    assert answered.usage.tokens_out > 0
    assert answered.began < answered.first <= answered.ended
    assert spoken.usage.characters == turn.usage.characters
    assert spoken.began < spoken.first == pytest.approx(turn.audio_sent, abs=0.05)
    assert all(step.error is None for step in steps)


@pytest.mark.parametrize(
    ("takes", "told"), [(0.1, (None, "nine")), (60.0, ("cancelled", "given up"))]
)
def test_followers_are_told_of_each_use_of_a_tool(
    monkeypatch: pytest.MonkeyPatch, takes: float, told: tuple[str | None, str]
) -> None:
    decisions: list[tuple[str, Any]] = []
    monkeypatch.setattr(Stream, "decided", lambda _, what, **how: decisions.append((what, how)))

    async def look_up(item: str) -> str:
        """Look something up."""
        await asyncio.sleep(takes)
        return "nine euros"

    converse(
        caller(1.0, voice(1.0), 8.0),
        hears=["How much is it?"],
        answers=[ToolCall("1", "look_up", '{"item": "tea"}'), "It is nine euros."],
        tools=[look_up],
    )
    begins, ends = (how for what, how in decisions if what in ("tool begins", "tool ends"))
    assert begins == {"tool": "look_up", "id": "1", "words": '{"item": "tea"}'}
    assert (ends["tool"], ends["id"], ends["error"]) == ("look_up", "1", told[0])
    assert told[1] in ends["words"]


def test_a_turn_tells_which_tool_and_which_service_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decisions: list[tuple[str, Any]] = []
    monkeypatch.setattr(Stream, "decided", lambda _, what, **how: decisions.append((what, how)))

    async def look_up() -> Any:
        """Look something up."""
        raise LookupError("no database")

    call = converse(
        caller(1.0, voice(1.0), 8.0),
        hears=["How much is it?"],
        answers=[ToolCall("1", "look_up", "{}"), "", ""],
        tools=[look_up],
        apology=None,
    )
    (turn,) = call.turns
    assert [step.error for step in turn.steps if step.kind == "tool"] == ["LookupError"]
    assert turn.error is not None
    assert turn.failure
    assert turn.error.startswith(turn.failure)
    told = [how for what, how in decisions if what == "service failed"]
    # Followers see the words of a provider with personal data alone.
    assert told
    assert all(each.keys() == {"failure", "words"} for each in told)
    assert told[0]["failure"] == turn.failure
