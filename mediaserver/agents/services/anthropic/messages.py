"""Turns a conversation and tools into a request to Anthropic's Messages API; without I/O.

https://platform.claude.com/docs/en/api/messages/create, and for thinking
https://platform.claude.com/docs/en/build-with-claude/thinking#preserving-thinking-blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from mediaserver.agents.services.alternating_turns import (
    AlternatingTurn,
    CallAnswer,
    alternating_turns,
)
from mediaserver.agents.services.language_model import Message, ToolCall, ToolSpec
from mediaserver.agents.services.tool_arguments import accepted_name, arguments_object


THINKING: Final = "thinking"
"""The field of `ToolCall.extra` with the blocks of thinking right before the call."""
THINKING_FIRST: Final = "thinking_first"
"""The field with the blocks that came before any text of the answer."""

CALL_BEGINS: Final = "(The call begins.)"
"""Stands for the first turn, which has to be the caller's."""


def anthropic_messages(conversation: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the conversation after its prompt: see `alternating_turns`.

    The blocks of thinking go back with their calls as long as the model has only used tools since:
    it goes on with its answer then. The API wants them so, and knows by their signatures whether
    anything before them has changed. Later they are left out, all at once.
    """
    turns = alternating_turns(conversation)
    if turns and turns[0].side == "agent":
        turns.insert(0, AlternatingTurn("caller", [CALL_BEGINS]))
    thinks_from = _answer_begins(turns)
    made = _Blocks()
    return [
        {
            "role": "user" if turn.side == "caller" else "assistant",
            "content": made.of(turn, thinking=index >= thinks_from),
        }
        for index, turn in enumerate(turns)
    ]


def has_thinking(messages: Sequence[dict[str, Any]]) -> bool:
    """Return whether there are blocks of thinking in messages."""
    return any(_is_thinking(block) for message in messages for block in message["content"])


def without_thinking(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages without their blocks of thinking."""
    return [
        {**message, "content": [b for b in message["content"] if not _is_thinking(b)]}
        for message in messages
    ]


def anthropic_tools(tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """Return tools as the API has them."""
    return [
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": {"type": "object", **tool.parameters},
        }
        for tool in tools
    ]


def _answer_begins(turns: Sequence[AlternatingTurn]) -> int:
    """Return the index of the first of the agent's last turns that all end with calls."""
    begins = len(turns)
    for index in range(len(turns) - 1, -1, -1):
        if turns[index].side == "agent":
            if not isinstance(turns[index].pieces[-1], ToolCall):
                break
            begins = index
    return begins


def _is_thinking(block: dict[str, Any]) -> bool:
    return block["type"] in ("thinking", "redacted_thinking")


class _Blocks:
    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._open: deque[str] = deque()

    def of(self, turn: AlternatingTurn, *, thinking: bool) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = []
        first: list[dict[str, Any]] = []
        for piece in turn.pieces:
            if isinstance(piece, str):
                blocks.append({"type": "text", "text": piece})
            elif isinstance(piece, CallAnswer):
                blocks.append(self._result(piece))
            else:
                if thinking:
                    first.extend(piece.extra.get(THINKING_FIRST, ()))
                    blocks.extend(piece.extra.get(THINKING, ()))
                blocks.append(self._call(piece))
        return first + blocks

    def _call(self, call: ToolCall) -> dict[str, Any]:
        call_id = accepted_name(call.id)
        while call_id in self._ids:
            call_id += "_"
        self._ids.add(call_id)
        self._open.append(call_id)
        return {
            "type": "tool_use",
            "id": call_id,
            "name": accepted_name(call.name),
            "input": arguments_object(call.arguments),
        }

    def _result(self, answer: CallAnswer) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": self._open.popleft()}
        result = answer.result
        text = "cancelled" if result is None else result.text
        if text:
            block["content"] = text
        if result is None or result.error is not None:
            block["is_error"] = True
        return block
