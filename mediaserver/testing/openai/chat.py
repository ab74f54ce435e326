"""Scripted chat completions, in one piece or streamed, as the request asks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.completion_usage import PromptTokensDetails

from mediaserver.testing.replies import HttpReply, Pause, Piece, Received, ScriptedReply


@dataclass(frozen=True, slots=True)
class ChatToolCall:
    """A tool call, as `says` has the model make it.

    An `id` of None is left out of a stream. `extra` has fields of a provider's own, such as
    ``{"extra_content": {"google": {"thought_signature": "…"}}}``.
    """

    name: str
    arguments: str = "{}"
    id: str | None = "call_1"
    extra: Mapping[str, Any] = field(default_factory=dict)


def says(
    *pieces: str | Pause | bytes,
    calls: Sequence[ChatToolCall] = (),
    refusal: str | None = None,
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"] | None = None,
    tokens: tuple[int, int, int] = (20, 10, 0),
) -> ScriptedReply:
    """Return a chat answer.

    Args:
        pieces: the text as it is streamed, with pauses and raw bytes in between.
        calls: the tools that the model uses after it.
        refusal: what the model says in place of an answer.
        finish_reason: why it ends; None is ``tool_calls`` or ``stop``.
        tokens: read, written, read from the cache; reported if the request asks for it.

    """
    reason = finish_reason or ("tool_calls" if calls else "stop")
    usage = CompletionUsage(
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        total_tokens=tokens[0] + tokens[1],
        prompt_tokens_details=PromptTokensDetails(cached_tokens=tokens[2]),
    )

    def answer(request: Received) -> HttpReply:
        params = request.params
        if not params.get("stream"):
            text = "".join(piece for piece in pieces if isinstance(piece, str))
            return HttpReply([_completion(params, text, calls, refusal, reason, usage)])
        body: list[Piece] = [_chunk(params, {"role": "assistant", "content": ""})]
        body.extend(_chunk(params, {"content": p}) if isinstance(p, str) else p for p in pieces)
        if refusal is not None:
            body.append(_chunk(params, {"refusal": refusal}))
        body.extend(_chunk(params, {"tool_calls": [delta]}) for delta in _call_deltas(calls))
        body.append(_chunk(params, {}, reason))
        if (params.get("stream_options") or {}).get("include_usage"):
            body.append(_chunk(params, None, usage=usage))
        return HttpReply([*body, b"data: [DONE]\n\n"], "text/event-stream")

    return answer


def _chunk(
    params: Mapping[str, Any],
    delta: object,
    finish_reason: str | None = None,
    usage: CompletionUsage | None = None,
) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = ChatCompletionChunk.model_validate(
        {
            **_envelope("chat.completion.chunk", params, usage),
            "choices": [] if delta is None else [choice],
        }
    )
    return b"data: %s\n\n" % chunk.to_json(indent=None, exclude_unset=True).encode()


def _call_deltas(calls: Sequence[ChatToolCall]) -> Iterator[dict[str, Any]]:
    """Stream each call as OpenAI does: first its name, then its arguments in pieces."""
    for index, call in enumerate(calls):
        opening: dict[str, Any] = {
            "index": index,
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
            **call.extra,
        }
        yield opening if call.id is None else {**opening, "id": call.id}
        half = math.ceil(len(call.arguments) / 2)
        for piece in filter(None, (call.arguments[:half], call.arguments[half:])):
            yield {"index": index, "function": {"arguments": piece}}


def _completion(
    params: Mapping[str, Any],
    text: str,
    calls: Sequence[ChatToolCall],
    refusal: str | None,
    finish_reason: str,
    usage: CompletionUsage,
) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": refusal}
    if calls:
        message["tool_calls"] = [
            {
                "id": call.id or f"call_{index}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
                **call.extra,
            }
            for index, call in enumerate(calls, 1)
        ]
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    completion = ChatCompletion.model_validate(
        {**_envelope("chat.completion", params, usage), "choices": [choice]}
    )
    return completion.to_json(indent=None).encode()


def _envelope(
    kind: str, params: Mapping[str, Any], usage: CompletionUsage | None
) -> dict[str, Any]:
    known = {"id": "chatcmpl-1", "created": 0, "model": params["model"]}
    return {**known, "object": kind, "usage": usage}
