"""A conversation as alternating turns of caller and agent, as models take it; without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from mediaserver.agents.services.answered_calls import results_by_call
from mediaserver.agents.services.language_model import Message, Text, ToolCall, ToolResult


UNSPOKEN: Final = "(Please go on.)"
"""Stands for a turn of the caller where a model wants one and there is none."""


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """What became of a tool call: its result, or None if it was cancelled."""

    call: ToolCall
    result: ToolResult | None


TurnPiece: TypeAlias = str | ToolCall | CallAnswer


@dataclass(frozen=True, slots=True)
class AlternatingTurn:
    """What one side says and does: the agent's texts and tool calls, or what it is told."""

    side: Literal["caller", "agent"]
    pieces: list[TurnPiece] = field(default_factory=list)


def prompt_texts(conversation: Sequence[Message]) -> list[str]:
    """Return the prompt: the texts of the system with which the conversation begins."""
    prompts = []
    for message in conversation:
        if not isinstance(message, Text) or message.role != "system":
            break
        if message.text.strip():
            prompts.append(message.text)
    return prompts


def alternating_turns(conversation: Sequence[Message]) -> list[AlternatingTurn]:
    """Return the conversation after its prompt.

    Texts and calls of one side in a row become one turn. The answers to calls in a row follow at
    once, wherever they stand in the conversation; a result without a call is left out. Texts of the
    system that come later are the caller's, in brackets. Empty texts are left out. The last
    turn is the caller's.
    """
    made = _Turns()
    results = results_by_call(conversation)
    begun = False
    for index, message in enumerate(conversation):
        match message:
            case Text(role="system", text=text):
                if begun and text.strip():
                    made.say("caller", f"({text})")
            case Text(role=role, text=text):
                begun = True
                if text.strip():
                    made.say("caller" if role == "user" else "agent", text)
            case ToolCall():
                begun = True
                made.call(CallAnswer(message, results.get(index)))
            case ToolResult():
                made.end_calls()
    made.end_calls()
    if made.finished and made.finished[-1].side == "agent":
        made.say("caller", UNSPOKEN)
    return made.finished


class _Turns:
    def __init__(self) -> None:
        self.finished: list[AlternatingTurn] = []
        self._answers: list[CallAnswer] = []

    def say(self, side: Literal["caller", "agent"], text: str) -> None:
        self.end_calls()
        self._append(side, text)

    def call(self, answer: CallAnswer) -> None:
        self._append("agent", answer.call)
        self._answers.append(answer)

    def end_calls(self) -> None:
        answers, self._answers = self._answers, []
        for answer in answers:
            self._append("caller", answer)

    def _append(self, side: Literal["caller", "agent"], piece: TurnPiece) -> None:
        if not self.finished or self.finished[-1].side != side:
            self.finished.append(AlternatingTurn(side))
        self.finished[-1].pieces.append(piece)
