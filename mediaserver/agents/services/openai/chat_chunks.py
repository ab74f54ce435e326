"""The chunks of a streamed chat completion, and tool calls put together from pieces."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import msgspec

from mediaserver.agents.services.language_model import Tokens, ToolCall


class FunctionPiece(msgspec.Struct):
    """The name of a tool, and a piece of its arguments or all of them."""

    name: str | None = None
    arguments: str | dict[str, Any] | list[Any] | None = None


class CallPiece(msgspec.Struct):
    """A piece of a tool call. Some servers send no number, or no id."""

    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None


class Delta(msgspec.Struct):
    """What a chunk adds."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[CallPiece] | None = None


class ChunkChoice(msgspec.Struct):
    """An answer. A chunk has one."""

    delta: Delta | None = None
    finish_reason: str | None = None


class CachedTokens(msgspec.Struct):
    """The number of tokens read from a cache."""

    cached_tokens: int | None = None


class ChunkUsage(msgspec.Struct):
    """The cost of the answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: CachedTokens | None = None

    def tokens(self) -> Tokens:
        """Return the cost in the form of all services."""
        details = self.prompt_tokens_details
        cached = details.cached_tokens if details is not None else None
        return Tokens(self.prompt_tokens, self.completion_tokens, cached or 0)


class Chunk(msgspec.Struct):
    """An event of a streamed chat completion."""

    choices: list[ChunkChoice] | None = None
    usage: ChunkUsage | None = None
    error: Any = None


decode_chunk = msgspec.json.Decoder(Chunk).decode


class CallsInPieces:
    """Puts tool calls together, of which several may come at a time."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, piece: CallPiece) -> None:
        """Add a piece to the call it belongs to, or begin a call with it."""
        function = piece.function or FunctionPiece()
        call = self._known(piece.index, piece.id, function.name)
        if call is None:
            call = _Call()
            self._calls.append(call)
            if piece.index is not None:
                self._by_index[piece.index] = call
        call.id = call.id or piece.id
        call.name = call.name or function.name
        if isinstance(function.arguments, dict | list):
            call.arguments = json.dumps(function.arguments)
        elif function.arguments:
            call.arguments += function.arguments

    def finished(self) -> list[ToolCall]:
        """Return the calls.

        Raises:
            ValueError: a call has no name.

        """
        calls = []
        for call in self._calls:
            if not call.name:
                raise ValueError("a tool call without a name")
            call_id = call.id or f"call_{uuid4().hex}"
            calls.append(ToolCall(call_id, call.name, call.arguments or "{}"))
        return calls

    def _known(self, index: int | None, call_id: str | None, name: str | None) -> _Call | None:
        if index is not None:
            call = self._by_index.get(index)
        else:
            call = self._calls[-1] if self._calls else None
        if call is None or (call_id and call.id and call_id != call.id):
            return None
        # Without ids and numbers, a name after complete arguments begins the next call.
        if name and call.name and not (call_id and call_id == call.id) and call.is_whole():
            return None
        return call


class _Call:
    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None
        self.arguments = ""

    def is_whole(self) -> bool:
        try:
            json.loads(self.arguments)
        except ValueError:
            return False
        return True
