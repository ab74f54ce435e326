"""Reads an answer of Anthropic's Messages API from its events, without I/O.

https://platform.claude.com/docs/en/build-with-claude/streaming.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import structlog

from mediaserver.agents.services.anthropic.client import AnthropicClient, AnthropicFault
from mediaserver.agents.services.anthropic.messages import THINKING, THINKING_FIRST
from mediaserver.agents.services.errors import NoAnswerError
from mediaserver.agents.services.language_model import Tokens, ToolCall


_log = structlog.get_logger("mediaserver.agents.anthropic")

_WHOLE: Final = frozenset({"end_turn", "stop_sequence", "tool_use"})
"""Why an answer ends that is complete."""


class AnthropicUsage(msgspec.Struct, gc=False):
    """The cost so far."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None


class AnthropicBlock(msgspec.Struct, gc=False):
    """A block as it begins."""

    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""


class AnthropicRefusal(msgspec.Struct, gc=False):
    """Why a model refuses to answer."""

    category: str | None = None
    explanation: str | None = None


class AnthropicDelta(msgspec.Struct, gc=False):
    """What an event adds to a block, or to the message."""

    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: str | None = None
    stop_details: AnthropicRefusal | None = None


class AnthropicStart(msgspec.Struct, gc=False):
    """A message as it begins."""

    usage: AnthropicUsage | None = None


class AnthropicEvent(msgspec.Struct, gc=False):
    """An event of an answer. There may be others than are read here."""

    type: str
    index: int = 0
    message: AnthropicStart | None = None
    content_block: AnthropicBlock | None = None
    delta: AnthropicDelta | None = None
    usage: AnthropicUsage | None = None
    error: AnthropicFault | None = None


decode_anthropic_event: Final = msgspec.json.Decoder(AnthropicEvent).decode


class AnthropicAnswer:
    """Reads an answer, and knows whether it was one.

    Args:
        client: makes the errors.

    """

    def __init__(self, client: AnthropicClient) -> None:
        self._client = client
        self._said = self._used = False
        self._cut = False  # a tool call
        self._block: AnthropicBlock | None = None
        self._arguments: list[str] = []
        # Blocks of thinking that no call has yet: before any text, and after it.
        self._first: list[dict[str, Any]] = []
        self._thinking: list[dict[str, Any]] = []
        self._cost: dict[str, int] = {}
        self._stop: str | None = None
        self._why: AnthropicRefusal | None = None

    @property
    def tokens(self) -> Tokens | None:
        """The cost, or None if it was not told. Thinking is written as well."""
        if not self._cost:
            return None
        cached = self._cost.get("cache_read_input_tokens", 0)
        written = self._cost.get("cache_creation_input_tokens", 0)
        read = self._cost.get("input_tokens", 0)
        return Tokens(read + written + cached, self._cost.get("output_tokens", 0), cached)

    def read(self, event: AnthropicEvent) -> str | ToolCall | None:
        """Return what an event adds.

        Raises:
            ServiceError: the service ended the answer with an error.

        """
        match event.type:
            case "error":
                raise self._client.refused(event.error or AnthropicFault())
            case "message_start" if event.message is not None:
                self._count(event.message.usage)
            case "content_block_start" if event.content_block is not None:
                self._block, self._arguments = event.content_block, []
                return self._say(event.content_block.text)
            case "content_block_delta" if event.delta is not None and self._block is not None:
                return self._add(event.delta, self._block)
            case "content_block_stop":
                block, self._block = self._block, None
                return self._finish(block) if block is not None else None
            case "message_delta":
                self._count(event.usage)
                if event.delta is not None and event.delta.stop_reason is not None:
                    self._stop, self._why = event.delta.stop_reason, event.delta.stop_details
        return None

    def end(self) -> None:
        """Check that the answer is complete.

        Raises:
            ServiceError: it broke off, the model refused it, or a limit was reached.
            NoAnswerError: it has nothing in it.

        """
        answered = self._said or self._used
        match self._stop:
            case None:
                raise self._client.failure("the answer broke off" if answered else "no answer came")
            case "max_tokens" if self._cut:
                raise self._client.failure("max_tokens was reached within a tool call")
            case "max_tokens" if not answered:
                reason = (
                    "max_tokens was reached before the first word: thinking counts too, so raise "
                    "max_tokens, or have the model think less"
                )
                raise self._client.failure(reason)
            case "max_tokens":
                _log.warning("max_tokens was reached", service=self._client.service)
            case "refusal":
                raise self._client.failure(f"the model refused to answer{self._reason()}")
            case "pause_turn":
                reason = "the answer was paused for a tool of Anthropic's, which is not used here"
                raise self._client.failure(reason)
            case "model_context_window_exceeded":
                raise self._client.failure("the conversation is longer than the model can read")
            case stop if stop not in _WHOLE:
                raise self._client.failure(f"the answer was stopped ({stop})")
            case _ if self._cut:
                reason = "the answer has a tool call that cannot be read"
                raise NoAnswerError(self._client.service, reason)
            case _ if not answered:
                reason = "the answer has no words and no tool call"
                raise NoAnswerError(self._client.service, reason)

    def _say(self, text: str) -> str | None:
        self._said = self._said or bool(text)
        return text or None

    def _add(self, delta: AnthropicDelta, block: AnthropicBlock) -> str | None:
        match delta.type:
            case "text_delta":
                return self._say(delta.text)
            case "input_json_delta":
                self._arguments.append(delta.partial_json)
            case "thinking_delta":
                block.thinking += delta.thinking
            case "signature_delta":
                block.signature += delta.signature
        return None

    def _finish(self, block: AnthropicBlock) -> ToolCall | None:
        match block.type:
            case "thinking":
                self._keep(type=block.type, thinking=block.thinking, signature=block.signature)
            case "redacted_thinking":
                self._keep(type=block.type, data=block.data)
            case "tool_use":
                arguments = "".join(self._arguments) or "{}"
                if not _is_json(arguments):
                    self._cut = True
                    return None
                self._used = True
                kept = {THINKING_FIRST: self._first, THINKING: self._thinking}
                self._first, self._thinking = [], []
                extra = {name: blocks for name, blocks in kept.items() if blocks}
                return ToolCall(block.id, block.name, arguments, extra)
        return None

    def _keep(self, **block: Any) -> None:
        (self._thinking if self._said or self._used else self._first).append(block)

    def _count(self, usage: AnthropicUsage | None) -> None:
        if usage is not None:
            told = msgspec.structs.asdict(usage)
            self._cost.update({name: count for name, count in told.items() if count is not None})

    def _reason(self) -> str:
        why = self._why
        said = [part for part in (why.category, why.explanation) if part] if why else []
        return f" ({': '.join(said)})" if said else ""


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
