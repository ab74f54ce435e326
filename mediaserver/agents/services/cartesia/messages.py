"""The messages of Cartesia's WebSocket for text to speech, without I/O.

https://docs.cartesia.ai/2026-03-01/api-reference/tts/websocket
https://docs.cartesia.ai/use-the-api/tts-websocket/contexts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from mediaserver.agents.services.context_session import ContextProtocol, ContextSpeech


CARTESIA: Final = "cartesia"
CARTESIA_VERSION: Final = "2026-03-01"
"""The version of the API that the messages are of, here and for recognition."""
_IDLE: Final = 240.0
"""Seconds, below the five minutes after which Cartesia closes an idle connection. See
https://docs.cartesia.ai/use-the-api/concurrency-limits-and-timeouts"""


class _Words(msgspec.Struct):
    words: list[str]
    end: list[float]


class _FromCartesia(msgspec.Struct):
    type: str
    context_id: str | None = None
    data: bytes = b""
    word_timestamps: _Words | None = None
    title: str | None = None
    message: str | None = None
    error: str | None = None
    status_code: int | None = None


_decode: Final = msgspec.json.Decoder(_FromCartesia).decode


class CartesiaMessages(ContextProtocol):
    """Writes and reads messages.

    Args:
        every: fields of every message with text, which have to stay the same in a context.

    """

    service = CARTESIA
    whole_words = False
    most_contexts = 24
    confirms_cancel = False
    keep_alive_every = None
    expires_after = _IDLE

    def __init__(self, every: Mapping[str, Any]) -> None:
        self._every = every

    def begin(self, context: str) -> Sequence[str]:
        """Return nothing: the first text opens the context."""
        return []

    def text(self, context: str, text: str) -> Sequence[str]:
        """Return the message with more text; more may follow."""
        return [self._json(context, text)]

    def flush(self, context: str) -> Sequence[str]:
        """Return the message that has all of the text so far spoken."""
        return [self._json(context, "", flush=True)]

    def end(self, context: str) -> Sequence[str]:
        """Return the message after which nothing follows."""
        return [self._json(context, "", **{"continue": False})]

    def cancel(self, context: str, *, ended: bool) -> Sequence[str]:
        """Return the message that has the rest not spoken."""
        return [msgspec.json.encode({"context_id": context, "cancel": True}).decode()]

    def keep_alive(self, contexts: Sequence[str]) -> Sequence[str]:
        """Return nothing: there is no such message."""
        return []

    def read(self, message: bytes | str) -> ContextSpeech | None:
        """Return what a message says; None if it only notes something.

        Raises:
            ValueError: it cannot be read.

        """
        read = _decode(message)
        match read.type:
            case "chunk":
                return ContextSpeech(read.context_id, audio=read.data)
            case "timestamps" if read.word_timestamps is not None:
                words, ends = read.word_timestamps.words, read.word_timestamps.end
                return ContextSpeech(read.context_id, words=list(zip(words, ends, strict=True)))
            case "done":
                return ContextSpeech(read.context_id, done=True)
            case "error":
                parts = [part for part in (read.title, read.message) if part]
                error = ": ".join(parts) or read.error or "no reason was given"
                return ContextSpeech(read.context_id, error=error, status=read.status_code)
        return None

    def _json(self, context: str, text: str, **more: bool) -> str:
        fields = {**self._every, "context_id": context, "transcript": text, "continue": True}
        return msgspec.json.encode({**fields, **more}).decode()
