"""Whatever the caller does, the services fail at and the timings are, some things are always so."""

import asyncio
from random import Random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents import tool
from mediaserver.agents.services import ServiceError, Text, ToolCall, ToolResult
from mediaserver.sandbox import CallReport
from mediaserver.testing import JoinedCall
from mediaserver.testing.services import (
    WORD_SECONDS,
    Fault,
    TimedModel,
    TimedSpeech,
    TimedTranscription,
    Timing,
)
from tests.agents.scripted_call import Scripted, converse, voice


def understood(random: Random) -> Any:
    while True:
        yield random.choice(["mhm", "Tell me.", "", "What is it now?", "Stop!", "I want this"])


def answers(random: Random) -> Any:
    count = 0
    while True:
        count += 1
        kind = random.random()
        if kind < 0.25:
            said = " ".join(["word"] * random.randint(0, 5))
            yield [f"{said}.", ToolCall(f"{count}", "look", "{}")]
        elif kind < 0.3:
            yield [ToolCall(f"{count}{letter}", "look", "{}") for letter in "ab"]
        else:
            lengths = [random.randint(1, 10) for _ in range(random.randint(1, 4))]
            yield " ".join(" ".join(["Word"] * length) + "." for length in lengths)


def fault(random: Random) -> Fault | None:
    if random.random() < 0.6:
        return None
    error = random.choice([ServiceError("some", "reason"), KeyError("choices"), None])
    return Fault(after=random.randint(0, 6), error=error, uses=random.randint(1, 3))


def words_played(report: CallReport) -> Any:
    assert report.recording is not None
    agent = np.abs(report.recording[:, 1].astype(int))
    steps = (agent[: len(agent) // 40 * 40].reshape(-1, 40) > 500).any(axis=1)
    return steps.sum() * 0.005 / (WORD_SECONDS - 0.06)


@given(st.integers(0, 2**32))
def test_of_any_conversation(seed: int) -> None:
    random = Random(seed)

    class Looking(Scripted):
        seconds = random.choice([0.1, 1.0, 3.0])

        @tool(hold="One moment please.")
        async def look(self) -> str:
            """Look."""
            await asyncio.sleep(self.seconds)
            return "found"

    async def script(line: JoinedCall, agent: Any) -> None:
        phone = line.phone
        for _ in range(random.randint(1, 8)):
            action = random.random()
            if phone.ended:
                return
            if action < 0.5:
                phone.say(voice(random.choice([0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0])))
            elif action < 0.6:
                phone.press(random.choice(["1", "#", "12"]))
            await phone.wait_until(phone.time + random.choice([0.1, 0.3, 0.6, 1.0, 2.0, 4.0]))
        if random.random() < 0.7:
            until = phone.time + 40.0
            quiet = 0
            while quiet < 4 and phone.time < until:
                await phone.wait_until(phone.time + 0.5)
                quiet = 0 if under_way(line, agent) else quiet + 1
            is_done(line, agent)

    def under_way(line: JoinedCall, agent: Any) -> bool:
        dialogue = agent.dialogue
        owes = dialogue.owed or dialogue.unanswered or dialogue.added
        return bool(dialogue.current or owes or dialogue.hearing or line.stream.paused)

    def is_done(line: JoinedCall, agent: Any) -> None:
        """By now nothing is under way, and the caller has had an answer."""
        assert not under_way(line, agent)
        last = (agent.conversation.messages or [None])[-1]
        failed = agent.speech_to_text.fault or agent.language_model.fault
        if isinstance(last, Text) and not (failed or agent.text_to_speech.fault):
            assert last.role == "assistant"

    call = converse(
        script,
        kind=Looking,
        stt=TimedTranscription(
            understood(random),
            timing=Timing(random.choice([0.05, 0.3, 1.0])),
            partial_every=random.choice([None, 0.3]),
            fault=fault(random),
        ),
        llm=TimedModel(
            answers(random),
            timing=Timing(random.choice([0.1, 0.5, 1.0]), 0.02),
            fault=fault(random),
        ),
        tts=TimedSpeech(
            timing=Timing(random.choice([0.05, 0.2, 0.6]), random.choice([0.01, 0.03, 0.12])),
            marks=random.random() < 0.5,
            fault=fault(random),
        ),
        greeting=random.choice([None, "Hello to you there."]),
        barge_in=random.choice(["decide", "decide", "at_once", "notify"]),
        apology=random.choice([None, "So sorry."]),
        silence_prompt=None,
        failures_allowed=99,
        patience=3.0,
    )
    # Every tool call has its result.
    calls = [message.id for message in call.messages if isinstance(message, ToolCall)]
    assert calls == [each.call_id for each in call.messages if isinstance(each, ToolResult)]
    # The conversation has what was heard, but for a word where it was cut.
    known = sum(len(text.split()) for role, text in call.said if role == "assistant")
    cuts = 1 + call.counters.interrupts + len([turn for turn in call.turns if turn.error])
    assert abs(known - words_played(call.report)) <= 1.0 + 0.6 * cuts
