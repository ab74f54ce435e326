"""Turns a conversation and tools into the contents of a request to Gemini; without I/O.

https://ai.google.dev/api/caching#Content, and for thought signatures
https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mediaserver.agents.services.alternating_turns import (
    UNSPOKEN,
    CallAnswer,
    TurnPiece,
    alternating_turns,
    prompt_texts,
)
from mediaserver.agents.services.language_model import Message, ToolCall, ToolSpec
from mediaserver.agents.services.tool_arguments import arguments_object


SIGNATURE: Final = "thoughtSignature"
"""The field of `ToolCall.extra` with what Gemini wants back with the call."""

GO_ON: Final = UNSPOKEN
"""Stands for a turn of the caller where the API wants one and there is none."""


def system_instruction(conversation: Sequence[Message]) -> dict[str, Any] | None:
    """Return the prompt: the texts of the system with which the conversation begins."""
    prompts = [{"text": text} for text in prompt_texts(conversation)]
    return {"parts": prompts} if prompts else None


def contents(conversation: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the conversation after its prompt: see `alternating_turns`.

    A call's thought signature goes back with it.
    """
    return [
        {
            "role": "user" if turn.side == "caller" else "model",
            "parts": [_part(piece) for piece in turn.pieces],
        }
        for turn in alternating_turns(conversation)
    ]


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


def _part(piece: TurnPiece) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"text": piece}
    if isinstance(piece, CallAnswer):
        call, result = piece.call, piece.result
        response = {"error": "cancelled"} if result is None else {"output": result.text}
        return {"functionResponse": {"id": call.id, "name": call.name, "response": response}}
    return _call_part(piece)


def _call_part(call: ToolCall) -> dict[str, Any]:
    part: dict[str, Any] = {
        "functionCall": {"id": call.id, "name": call.name, "args": arguments_object(call.arguments)}
    }
    if signature := call.extra.get(SIGNATURE):
        part[SIGNATURE] = signature
    return part
