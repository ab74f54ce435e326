"""The chunks of a streamed chat completion, and tool calls put together from pieces."""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import uuid4

import msgspec

from mediaserver.agents.services.language_model import Tokens, ToolCall


class FunctionPiece(msgspec.Struct):
    """The name of a tool, and a piece of its arguments or all of them."""

    name: str | None = None
    arguments: str | dict[str, Any] | list[Any] | None = None


class CallPiece(msgspec.Struct):
    """A piece of a tool call. Some servers send no number, or no id.

    Attributes:
        extra: fields of the provider's own, which it wants back with the conversation.

    """

    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None
    extra: dict[str, Any] = {}


class Delta(msgspec.Struct):
    """What a chunk adds."""

    content: str | list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The words: some servers send them as a list of parts, among others of no concern."""
        if not isinstance(self.content, list):
            return self.content or ""
        return "".join(map(_text_of, self.content))

    @property
    def calls(self) -> list[CallPiece]:
        """The pieces of tool calls.

        Raises:
            msgspec.ValidationError: one is not as chat completions have it.

        """
        return [_call_piece(fields) for fields in self.tool_calls or ()]


class ChunkChoice(msgspec.Struct):
    """An answer. A chunk has one."""

    delta: Delta | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """An event of a streamed chat completion."""

    choices: list[ChunkChoice] | None = None
    usage: Any = None
    error: Any = None

    @property
    def tokens(self) -> Tokens | None:
        """The cost of the answer, as far as it is told."""
        if not isinstance(self.usage, dict):
            return None
        details = self.usage.get("prompt_tokens_details")
        return Tokens(
            _count(self.usage, "prompt_tokens"),
            _count(self.usage, "completion_tokens"),
            _count(details, "cached_tokens"),
        )


decode_chunk = msgspec.json.Decoder(Chunk).decode

_TEXTS: Final = (None, "text", "output_text")
_KNOWN: Final = frozenset({"index", "id", "type", "function"})


def _text_of(part: Any) -> str:
    if isinstance(part, dict) and part.get("type") in _TEXTS:
        part = part.get("text")
    return part if isinstance(part, str) else ""


def _call_piece(fields: dict[str, Any]) -> CallPiece:
    piece = msgspec.convert(
        {name: value for name, value in fields.items() if name in _KNOWN}, CallPiece
    )
    piece.extra = {name: value for name, value in fields.items() if name not in _KNOWN}
    function = fields.get("function")
    if isinstance(function, dict) and (more := function.keys() - {"name", "arguments"}):
        piece.extra["function"] = {name: function[name] for name in more}
    return piece


def _merge(known: dict[str, Any], more: dict[str, Any]) -> None:
    """Add fields that came later, within objects as well; a null takes nothing away."""
    for name, value in more.items():
        former = known.get(name)
        if isinstance(former, dict) and isinstance(value, dict):
            _merge(former, value)
        elif value is not None:
            known[name] = value


def _count(fields: Any, name: str) -> int:
    number = fields.get(name) if isinstance(fields, dict) else None
    return int(number) if isinstance(number, int | float) else 0


class CallsInPieces:
    """Puts tool calls together from pieces. Several calls may come at a time."""

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
        _merge(call.extra, piece.extra)
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
            calls.append(ToolCall(call_id, call.name, call.arguments or "{}", call.extra))
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
        self.extra: dict[str, Any] = {}

    def is_whole(self) -> bool:
        try:
            json.loads(self.arguments)
        except (ValueError, RecursionError):
            return False
        return True
