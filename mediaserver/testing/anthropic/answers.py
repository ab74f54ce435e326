"""Scripted answers of Anthropic's models, streamed as the API streams them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mediaserver.testing.replies import HttpReply, Pause, Piece


@dataclass(frozen=True, slots=True)
class AnthropicToolUse:
    """A tool call, as `anthropic_answers` has the model make it.

    Attributes:
        name: the tool.
        input: its arguments.
        id: the call's id.
        cut: characters of the arguments after which they break off; None leaves them whole.

    """

    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    id: str = "toolu_1"
    cut: int | None = None


def anthropic_answers(
    *pieces: str | Pause | bytes,
    uses: Sequence[AnthropicToolUse] = (),
    thinking: Sequence[str] = (),
    redacted: str | None = None,
    stop: str | None = None,
    details: Mapping[str, str] | None = None,
    tokens: tuple[int, int, int, int] = (20, 10, 0, 0),
) -> HttpReply:
    """Return an answer.

    Args:
        pieces: the text as it is streamed, with pauses and raw bytes in between.
        uses: the tools that the model uses after it.
        thinking: signatures of blocks of thinking that come first, whose text is omitted.
        redacted: the data of a block of redacted thinking that comes after these.
        stop: why it ends; None is ``tool_use`` or ``end_turn``; an empty text leaves the answer
            without an end.
        details: what the API says of a refusal.
        tokens: read, written, read from the cache, written to the cache.

    """
    read, written, cached, kept = tokens
    usage = {
        "input_tokens": read,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": kept,
    }
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "claude-test",
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    body = _Body()
    body.event("message_start", message=message)
    body.event("ping")
    for signature in thinking:
        body.block(
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "signature_delta", "signature": signature},
        )
    if redacted is not None:
        body.block({"type": "redacted_thinking", "data": redacted})
    if pieces:
        deltas = [{"type": "text_delta", "text": p} if isinstance(p, str) else p for p in pieces]
        body.block({"type": "text", "text": ""}, *deltas)
    for use in uses:
        written_out = json.dumps(dict(use.input))[: use.cut]
        half = len(written_out) // 2
        body.block(
            {"type": "tool_use", "id": use.id, "name": use.name, "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": written_out[:half]},
            {"type": "input_json_delta", "partial_json": written_out[half:]},
        )
    if stop != "":
        delta: dict[str, Any] = {
            "stop_reason": stop or ("tool_use" if uses else "end_turn"),
            "stop_sequence": None,
        }
        if details is not None:
            delta["stop_details"] = {"type": "refusal", **details}
        body.event("message_delta", delta=delta, usage={**usage, "output_tokens": written})
        body.event("message_stop")
    return HttpReply(body.pieces, "text/event-stream")


def anthropic_refuses(
    status: int, message: str, kind: str = "api_error", *, retry_after: str | None = None
) -> HttpReply:
    """Return an error as Anthropic words it; `retry_after` is what its header says."""
    error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return HttpReply([json.dumps(error).encode()], status=status, headers=headers)


class _Body:
    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self._index = 0

    def event(self, kind: str, **fields: Any) -> None:
        data = json.dumps({"type": kind, **fields})
        self.pieces.append(f"event: {kind}\ndata: {data}\n\n".encode())

    def block(self, start: dict[str, Any], *deltas: dict[str, Any] | Pause | bytes) -> None:
        self.event("content_block_start", index=self._index, content_block=start)
        for delta in deltas:
            if isinstance(delta, dict):
                self.event("content_block_delta", index=self._index, delta=delta)
            else:
                self.pieces.append(delta)
        self.event("content_block_stop", index=self._index)
        self._index += 1
