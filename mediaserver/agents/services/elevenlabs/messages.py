"""The messages of ElevenLabs' multi-context WebSocket, without I/O.

https://elevenlabs.io/docs/api-reference/text-to-speech/v-1-text-to-speech-voice-id-multi-stream-input
and https://elevenlabs.io/docs/eleven-api/guides/how-to/websockets/multi-context-web-socket
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from mediaserver.agents.services.aligned_text import words_of_characters
from mediaserver.agents.services.context_session import ContextProtocol, ContextSpeech


ELEVENLABS: Final = "elevenlabs"
MOST_CONTEXTS: Final = 5
"""Contexts that a connection may have open."""


class _Alignment(msgspec.Struct, rename="camel"):
    chars: list[str] = []
    char_start_times_ms: list[int] = []
    char_durations_ms: list[int] = []

    def words(self) -> list[tuple[str, float]]:
        """Return the words, and when each ends, in seconds of the message's audio.

        Raises:
            ValueError: the lists are not of the same length.

        """
        starts, durations = self.char_start_times_ms, self.char_durations_ms
        timed = zip(self.chars, starts, durations, strict=True)
        return words_of_characters((char, (start + lasts) / 1000) for char, start, lasts in timed)


class _FromElevenLabs(msgspec.Struct, rename="camel"):
    context_id: str | None = None
    audio: bytes | None = None
    alignment: _Alignment | None = None
    normalized_alignment: _Alignment | None = None
    is_final: bool | None = None
    error: str | None = None
    message: str | None = None


_decode: Final = msgspec.json.Decoder(_FromElevenLabs).decode


class ElevenLabsMessages(ContextProtocol):
    """Writes and reads messages.

    Args:
        first: fields of the first message of each context: the voice's settings.
        keep_alive_every: seconds from one keepalive to the next.

    """

    service = ELEVENLABS
    whole_words = True
    most_contexts = MOST_CONTEXTS
    confirms_cancel = True
    expires_after = None

    def __init__(self, first: Mapping[str, Any], keep_alive_every: float) -> None:
        self._first = first
        self.keep_alive_every = keep_alive_every

    def begin(self, context: str) -> Sequence[str]:
        """Return the message that opens a context; its text has to be a space."""
        return [_json(text=" ", context_id=context, **self._first)]

    def text(self, context: str, text: str) -> Sequence[str]:
        """Return the message with more text."""
        return [_json(text=text, context_id=context)]

    def flush(self, context: str) -> Sequence[str]:
        """Return the message that has all of the text so far spoken."""
        return [_json(context_id=context, flush=True)]

    def end(self, context: str) -> Sequence[str]:
        """Return the messages that have the rest spoken, and the context closed after it."""
        return [*self.flush(context), _json(context_id=context, close_context=True)]

    def cancel(self, context: str, *, ended: bool) -> Sequence[str]:
        """Return the message that closes the context, unless `end` has asked for that."""
        return [] if ended else [_json(context_id=context, close_context=True)]

    def keep_alive(self, contexts: Sequence[str]) -> Sequence[str]:
        """Return messages with empty texts, which reset the clocks of inactivity."""
        alive = [_json(text="", context_id=context) for context in contexts]
        return alive or [_json(text="")]

    def read(self, message: bytes | str) -> ContextSpeech | None:
        """Return what a message says.

        Raises:
            ValueError: it cannot be read.

        """
        read = _decode(message)
        if read.error is not None:
            error = f"{read.message} ({read.error})" if read.message else read.error
            return ContextSpeech(read.context_id, error=error)
        spoken = read.alignment or read.normalized_alignment
        return ContextSpeech(
            read.context_id,
            audio=read.audio or b"",
            words=spoken.words() if spoken else (),
            from_audio=True,
            done=read.is_final is True,
        )


def _json(**fields: Any) -> str:
    return msgspec.json.encode(fields).decode()
