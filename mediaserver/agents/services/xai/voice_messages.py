"""The messages of xAI's WebSocket for text to speech, without I/O.

https://docs.x.ai/developers/model-capabilities/audio/text-to-speech#streaming-tts-websocket. A
connection speaks one utterance at a time, whose messages have no id. More text is taken once the
utterance before it has been spoken, so text is held here until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec

from mediaserver.agents.services.aligned_text import words_of_characters
from mediaserver.agents.services.context_session import ContextProtocol, ContextSpeech


XAI_VOICE: Final = "xai"
LONGEST_DELTA: Final = 15_000
"""Characters that a message with text may have."""
_SESSION: Final = 600.0
"""Seconds for which xAI permits a session."""


def _json(**fields: Any) -> str:
    return msgspec.json.encode(fields).decode()


_DONE: Final = _json(type="text.done")
_CLEAR: Final = _json(type="text.clear")


class _Characters(msgspec.Struct):
    graph_chars: list[str] = []
    graph_times: list[tuple[float, float]] = []

    def words(self) -> list[tuple[str, float]]:
        """Return the words, and when each ends, in seconds of the utterance.

        Raises:
            ValueError: the lists are not of the same length.

        """
        ends = [end for _, end in self.graph_times]
        return words_of_characters(zip(self.graph_chars, ends, strict=True))


class _FromXAI(msgspec.Struct):
    type: str
    delta: bytes = b""
    audio_timestamps: _Characters | None = None
    message: str | None = None


_decode: Final = msgspec.json.Decoder(_FromXAI).decode


class XAIVoiceMessages(ContextProtocol):
    """Writes and reads the messages of one connection. The text of a context is its utterances.

    Args:
        replace: phrases that are said otherwise, and how.

    """

    service = XAI_VOICE
    whole_words = False
    most_contexts = 1
    confirms_cancel = True
    keep_alive_every = None
    expires_after = _SESSION

    def __init__(self, replace: Mapping[str, str]) -> None:
        self._opening = [_json(type="session.update", replace=replace)] if replace else []
        self._context: str | None = None
        self._begun = False  # an utterance
        self._speaking = False  # an utterance that is complete
        self._clearing = False
        self._held = ""
        self._held_flush = 0  # characters of it, up to the last flush

    def begin(self, context: str) -> Sequence[str]:
        """Return what is said differently, before the first text of the connection."""
        self._context = context
        opening, self._opening = self._opening, []
        return opening

    def text(self, context: str, text: str) -> Sequence[str]:
        """Return the messages with more text, unless an utterance is being spoken."""
        if self._speaking:
            self._held += text
            return []
        self._begun = True
        ends = range(0, len(text) + LONGEST_DELTA, LONGEST_DELTA)
        return [_json(type="text.delta", delta=text[at:end]) for at, end in pairwise(ends)]

    def flush(self, context: str) -> Sequence[str]:
        """Return the message that ends the utterance."""
        if self._speaking:
            self._held_flush = len(self._held)
            return []
        if not self._begun:
            return []
        self._begun, self._speaking = False, True
        return [_DONE]

    def end(self, context: str) -> Sequence[str]:
        """Return the message that ends the utterance: at xAI, a text has only one."""
        return self.flush(context)

    def cancel(self, context: str, *, ended: bool) -> Sequence[str]:
        """Return the message that has the utterance not spoken."""
        self._forget()
        self._clearing = True
        return [_CLEAR]

    def keep_alive(self, contexts: Sequence[str]) -> Sequence[str]:
        """Return nothing: there is no such message."""
        return []

    def read(self, message: bytes | str) -> ContextSpeech | None:
        """Return what a message says; None if it only notes something.

        An error is one of the connection: xAI does not say what becomes of the utterance.

        Raises:
            ValueError: it cannot be read.

        """
        read = _decode(message)
        match read.type:
            case "audio.delta" if not self._clearing:
                words = read.audio_timestamps.words() if read.audio_timestamps else ()
                return ContextSpeech(self._context, audio=read.delta, words=words)
            case "audio.done" if not self._clearing:
                return self._spoken()
            case "audio.clear" if self._clearing:
                self._clearing = False
                return ContextSpeech(self._context, done=True)
            case "error":
                return ContextSpeech(None, error=read.message or "no reason was given")
        return None

    def _spoken(self) -> ContextSpeech:
        context, held, flushed = self._context, self._held, self._held_flush
        self._forget()
        if context is None or not held:
            return ContextSpeech(context, done=True)
        replies = list(self.text(context, held[:flushed] or held))
        if flushed:
            replies += self.flush(context)
            self._held = held[flushed:]
        return ContextSpeech(context, restarts=True, replies=replies)

    def _forget(self) -> None:
        self._begun = self._speaking = False
        self._held = ""
        self._held_flush = 0
