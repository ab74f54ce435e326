"""Scripted answers of Gemini's language models, streamed as the API streams them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mediaserver.testing.replies import HttpReply, Pause, Piece, event


@dataclass(frozen=True, slots=True)
class GeminiToolCall:
    """A tool call, as `answers` has the model make it.

    Attributes:
        name: the tool.
        args: its arguments.
        id: the call's id; None as before Gemini 3.
        signature: the thought signature that comes with it; only the first of several calls has
            one.

    """

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = "call-1"
    signature: str | None = None


def answers(
    *pieces: str | Pause | bytes,
    calls: Sequence[GeminiToolCall] = (),
    thoughts: Sequence[str] = (),
    finish: str | None = "STOP",
    why: str | None = None,
    blocked: str | None = None,
    tokens: tuple[int, int, int, int] = (20, 10, 0, 0),
) -> HttpReply:
    """Return an answer.

    Args:
        pieces: the text as it is streamed, with pauses and raw bytes in between.
        calls: the tools that the model uses after it.
        thoughts: summaries of thoughts that come first.
        finish: the reason for the end; None leaves the answer without one.
        why: what the API says of that reason.
        blocked: the reason for which the request is not answered.
        tokens: read, written, read from the cache, thought.

    """
    usage = {
        "promptTokenCount": tokens[0],
        "candidatesTokenCount": tokens[1],
        "cachedContentTokenCount": tokens[2],
        "thoughtsTokenCount": tokens[3],
        "totalTokenCount": tokens[0] + tokens[1] + tokens[3],
    }
    if blocked is not None:
        feedback = {"promptFeedback": {"blockReason": blocked}, "usageMetadata": usage}
        return HttpReply([event(feedback)], "text/event-stream")
    body: list[Piece] = [_chunk([{"text": text, "thought": True}], usage) for text in thoughts]
    body.extend(_chunk([{"text": p}], usage) if isinstance(p, str) else p for p in pieces)
    body.extend(_chunk([_call(call)], usage) for call in calls)
    if finish is not None:
        body.append(_chunk([{"text": ""}], usage, finish, why))
    return HttpReply(body, "text/event-stream")


def refuses(status: int, message: str, code: str = "INTERNAL") -> HttpReply:
    """Return an error as Google's APIs word it."""
    error = {"error": {"code": status, "message": message, "status": code}}
    return HttpReply([json.dumps(error).encode()], status=status)


def _chunk(
    parts: list[dict[str, Any]],
    usage: Mapping[str, int],
    finish: str | None = None,
    why: str | None = None,
) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    if why is not None:
        candidate["finishMessage"] = why
    return event(
        {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": "gemini-test",
            "responseId": "answer-1",
        }
    )


def _call(call: GeminiToolCall) -> dict[str, Any]:
    made: dict[str, Any] = {"name": call.name, "args": dict(call.args)}
    if call.id is not None:
        made["id"] = call.id
    part: dict[str, Any] = {"functionCall": made}
    if call.signature is not None:
        part["thoughtSignature"] = call.signature
    return part
