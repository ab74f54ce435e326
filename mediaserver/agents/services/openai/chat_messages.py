"""Turns a conversation into chat messages in an order that every server accepts; without I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mediaserver.agents.services.answered_calls import results_by_call
from mediaserver.agents.services.language_model import Message, Text, ToolCall, ToolResult, ToolSpec
from mediaserver.agents.services.tool_arguments import accepted_name, meant_arguments


if TYPE_CHECKING:
    from openai.types.chat import (
        ChatCompletionMessageFunctionToolCallParam,
        ChatCompletionMessageParam,
        ChatCompletionToolParam,
    )

    _Answered: TypeAlias = tuple[ChatCompletionMessageFunctionToolCallParam, str]


CANCELLED: Final = "cancelled"
"""Stands for the result of a tool call that has none."""


def chat_messages(conversation: Sequence[Message]) -> list[ChatCompletionMessageParam]:
    """Return `conversation` as messages that a chat completion accepts.

    Tool calls in a row become one message, with the text before them. Their results follow at once,
    wherever they stand in the conversation. A call without a result was cancelled; a result without
    a call is left out. Texts of one side in a row become one message, because some servers insist
    that the sides alternate. Empty texts are left out. Fields of a call that a provider wants back
    (``ToolCall.extra``), such as Gemini's ``thought_signature``, go back as they came.
    """
    messages = _Messages(results_by_call(conversation))
    for index, message in enumerate(conversation):
        match message:
            case Text(role, text):
                messages.add_text(role, text)
            case ToolCall():
                messages.add_call(index, message)
            case ToolResult():
                messages.end_calls()
    messages.end_calls()
    return messages.finished


def chat_tools(tools: Iterable[ToolSpec]) -> list[ChatCompletionToolParam]:
    """Return `tools` in the form of chat completions."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            },
        }
        for tool in tools
    ]


class _Messages:
    def __init__(self, results: Mapping[int, ToolResult]) -> None:
        self.finished: list[ChatCompletionMessageParam] = []
        self._results = results
        self._ids: set[str] = set()
        self._calls: list[_Answered] = []

    def add_text(self, role: str, text: str) -> None:
        if not text.strip():
            return
        self.end_calls()
        last = self.finished[-1] if self.finished else None
        if last is not None and last["role"] == role and "tool_calls" not in last:
            text = f"{last['content']}\n{text}"
            self.finished.pop()
        if role == "system":
            self.finished.append({"role": "system", "content": text})
        elif role == "user":
            self.finished.append({"role": "user", "content": text})
        else:
            self.finished.append({"role": "assistant", "content": text})

    def add_call(self, index: int, call: ToolCall) -> None:
        call_id = call.id or "call"
        while call_id in self._ids:
            call_id += "_"
        self._ids.add(call_id)
        own: Any = call.extra
        param: ChatCompletionMessageFunctionToolCallParam = {
            **own,
            "id": call_id,
            "type": "function",
            "function": {
                **own.get("function", {}),
                "name": accepted_name(call.name),
                "arguments": _object(call.arguments),
            },
        }
        result = self._results.get(index)
        self._calls.append((param, CANCELLED if result is None else result.text))

    def end_calls(self) -> None:
        if not self._calls:
            return
        calls = [call for call, _ in self._calls]
        last = self.finished[-1] if self.finished else None
        if last is not None and last["role"] == "assistant" and "tool_calls" not in last:
            last["tool_calls"] = calls
        else:
            self.finished.append({"role": "assistant", "tool_calls": calls})
        for call, result in self._calls:
            self.finished.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        self._calls = []


def _object(arguments: str) -> str:
    # Servers that put the arguments into a template refuse anything but an object.
    meant = meant_arguments(arguments)
    try:
        if isinstance(json.loads(meant), dict):
            return meant
    except ValueError:
        pass
    return json.dumps({"arguments": arguments})
