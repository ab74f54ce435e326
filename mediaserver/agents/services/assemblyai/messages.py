"""The messages of AssemblyAI's streaming WebSocket, as far as phone agents need them.

https://www.assemblyai.com/docs/streaming/api-spec/streaming-websocket and
https://www.assemblyai.com/docs/streaming/message-sequence. Fields and messages that are not here
are passed over: AssemblyAI adds some from time to time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

from mediaserver.agents.services.known_messages import KnownMessages
from mediaserver.agents.services.recognizer import RecognizedWord


class AssemblyAIBegin(msgspec.Struct, tag_field="type", tag="Begin"):
    """The session is open. `expires_at` is in seconds of Unix time."""

    id: str
    expires_at: float


class AssemblyAIWord(msgspec.Struct, gc=False):
    """A word, with its time in milliseconds of the session's audio."""

    text: str
    start: float
    end: float
    word_is_final: bool = True


class AssemblyAITurn(msgspec.Struct, tag_field="type", tag="Turn"):
    """What was understood of a turn so far, and whether the turn is over.

    Universal-Streaming has only final words in `transcript`, and ends an utterance within a turn by
    telling it in `utterance`. The Universal-3 models have all words in `transcript`.
    """

    turn_order: int
    end_of_turn: bool
    transcript: str
    turn_is_formatted: bool = False
    words: list[AssemblyAIWord] = []
    utterance: str = ""

    @property
    def text(self) -> str:
        """All words of the turn, those that may change included."""
        pending = [word.text for word in self.words if not word.word_is_final]
        if not pending or (self.transcript and len(pending) == len(self.words)):
            return self.transcript
        return " ".join((self.transcript, *pending)).strip()

    @property
    def timed_words(self) -> tuple[RecognizedWord, ...]:
        """The words, with their times in seconds."""
        return tuple(
            RecognizedWord(word.text, word.start / 1000, max(word.start, word.end) / 1000)
            for word in self.words
        )


class AssemblyAISpeechStarted(msgspec.Struct, tag_field="type", tag="SpeechStarted"):
    """The caller speaks. A `Turn` with their words follows. Universal-3 models tell this."""


class AssemblyAITermination(msgspec.Struct, tag_field="type", tag="Termination"):
    """The session is over; nothing follows."""


class AssemblyAIFailure(msgspec.Struct, tag_field="type", tag="Error"):
    """Why the connection will be closed, with the code of the close.

    https://www.assemblyai.com/docs/streaming/common-session-errors-and-closures.
    """

    error: str
    error_code: int | None = None


AssemblyAIMessage: TypeAlias = (
    AssemblyAIBegin
    | AssemblyAITurn
    | AssemblyAISpeechStarted
    | AssemblyAITermination
    | AssemblyAIFailure
)

FORCE_ENDPOINT: Final = '{"type":"ForceEndpoint"}'
TERMINATE: Final = '{"type":"Terminate"}'

decode_assemblyai: Final = KnownMessages[AssemblyAIMessage](AssemblyAIMessage).decode


def configuration_message(settings: Mapping[str, object]) -> str:
    """Return the message that changes settings of an open session."""
    return msgspec.json.encode({"type": "UpdateConfiguration", **settings}).decode()
