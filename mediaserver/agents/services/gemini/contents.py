"""Turns a conversation and tools into the contents of a request to Gemini; without I/O.

https://ai.google.dev/api/caching#Content, and for thought signatures
https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from mediaserver.agents.services.answered_calls import results_by_call
from mediaserver.agents.services.language_model import (
    Message,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.agents.services.tool_arguments import meant_arguments


SIGNATURE: Final = "thoughtSignature"
"""The field of `ToolCall.extra` with what Gemini wants back with the call."""

GO_ON: Final = "(Please go on.)"
"""Stands for a turn of the caller where the API wants one and there is none."""


def system_instruction(conversation: Sequence[Message]) -> dict[str, Any] | None:
    """Return the prompt: the texts of the system with which the conversation begins."""
    prompts = []
    for message in conversation:
        if not isinstance(message, Text) or message.role != "system":
            break
        if message.text.strip():
            prompts.append({"text": message.text})
    return {"parts": prompts} if prompts else None


def contents(conversation: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the conversation after its prompt, in an order that Gemini accepts.

    Texts and calls of one side in a row become one content. The results of calls in a row follow
    at once, wherever they stand in the conversation; a call without a result was cancelled, and a
    result without a call is left out. A call's thought signature goes back with it. Texts of the
    system that come later are turns of the user, in brackets. The last content is the user's.
    """
    made = _Contents()
    results = results_by_call(conversation)
    begun = False
    for index, message in enumerate(conversation):
        match message:
            case Text(role="system", text=text):
                if begun and text.strip():
                    made.add("user", {"text": f"({text})"})
            case Text(role=role, text=text):
                begun = True
                if text.strip():
                    made.add("user" if role == "user" else "model", {"text": text})
            case ToolCall():
                begun = True
                made.call(message, results.get(index))
            case ToolResult():
                made.end_calls()
    made.end_calls()
    if made.finished and made.finished[-1]["role"] == "model":
        made.add("user", {"text": GO_ON})
    return made.finished


def function_declarations(
    tools: Sequence[ToolSpec], *, behavior: str | None = None
) -> list[dict[str, Any]]:
    """Return tools as the API has them.

    Args:
        tools: the tools.
        behavior: whether the Live API waits for results, ``BLOCKING`` or ``NON_BLOCKING``.

    """
    declared = []
    for tool in tools:
        function: dict[str, Any] = {"name": tool.name, "description": tool.description}
        if tool.parameters.get("properties"):
            function["parametersJsonSchema"] = dict(tool.parameters)
        if behavior is not None:
            function["behavior"] = behavior
        declared.append(function)
    return [{"functionDeclarations": declared}] if declared else []


class _Contents:
    def __init__(self) -> None:
        self.finished: list[dict[str, Any]] = []
        self._results: list[dict[str, Any]] = []

    def add(self, role: str, part: dict[str, Any]) -> None:
        self.end_calls()
        self._append(role, part)

    def call(self, call: ToolCall, result: ToolResult | None) -> None:
        part: dict[str, Any] = {
            "functionCall": {"id": call.id, "name": call.name, "args": _object(call.arguments)}
        }
        if signature := call.extra.get(SIGNATURE):
            part[SIGNATURE] = signature
        self._append("model", part)
        response = {"error": "cancelled"} if result is None else {"output": result.text}
        self._results.append(
            {"functionResponse": {"id": call.id, "name": call.name, "response": response}}
        )

    def end_calls(self) -> None:
        results, self._results = self._results, []
        for part in results:
            self._append("user", part)

    def _append(self, role: str, part: dict[str, Any]) -> None:
        if not self.finished or self.finished[-1]["role"] != role:
            self.finished.append({"role": role, "parts": []})
        self.finished[-1]["parts"].append(part)


def _object(arguments: str) -> dict[str, Any]:
    try:
        meant = json.loads(meant_arguments(arguments))
    except ValueError:
        meant = None
    return meant if isinstance(meant, dict) else {"arguments": arguments}
