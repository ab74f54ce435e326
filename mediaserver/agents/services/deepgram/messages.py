"""The messages of Deepgram's WebSockets, as far as phone agents need them.

https://developers.deepgram.com/reference/speech-to-text/listen-streaming,
https://developers.deepgram.com/reference/speech-to-text/listen-flux and
https://developers.deepgram.com/reference/text-to-speech/speak-streaming. Fields and messages that
are not here are passed over: Deepgram adds some from time to time.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from mediaserver.agents.services.known_messages import KnownMessages
from mediaserver.agents.services.recognizer import RecognizedWord


class NovaWord(msgspec.Struct, gc=False):
    """A word of Nova's."""

    word: str
    start: float
    end: float
    punctuated_word: str | None = None


class NovaAlternative(msgspec.Struct):
    """What was said, as Nova understood it."""

    transcript: str
    words: list[NovaWord] = []


class NovaChannel(msgspec.Struct):
    """The alternatives of a channel, the likeliest first."""

    alternatives: list[NovaAlternative]


class NovaResults(msgspec.Struct, tag_field="type", tag="Results"):
    """What Nova understood from `start` on, for `duration` seconds of the audio."""

    channel: NovaChannel
    start: float
    duration: float
    is_final: bool = False
    from_finalize: bool = False

    @property
    def text(self) -> str:
        """The words."""
        return self.channel.alternatives[0].transcript if self.channel.alternatives else ""

    @property
    def words(self) -> tuple[RecognizedWord, ...]:
        """The words, with their times."""
        if not self.channel.alternatives:
            return ()
        return tuple(
            RecognizedWord(word.punctuated_word or word.word, word.start, word.end)
            for word in self.channel.alternatives[0].words
        )


class FluxWord(msgspec.Struct, gc=False):
    """A word of Flux's. Not every server tells its time."""

    word: str
    start: float | None = None
    end: float | None = None


class FluxTurn(msgspec.Struct, tag_field="type", tag="TurnInfo"):
    """What Flux understood of the present turn, and what has become of the turn."""

    event: str
    transcript: str
    audio_window_start: float
    audio_window_end: float
    words: list[FluxWord] = []

    @property
    def timed_words(self) -> tuple[RecognizedWord, ...]:
        """The words that have times."""
        return tuple(
            RecognizedWord(word.word, word.start, word.end)
            for word in self.words
            if word.start is not None and word.end is not None
        )


class AuraFlushed(msgspec.Struct, tag_field="type", tag="Flushed"):
    """All audio of the text before a ``Flush`` has been sent."""


class AuraCleared(msgspec.Struct, tag_field="type", tag="Cleared"):
    """No more audio of the text before a ``Clear`` will be sent."""


class DeepgramWarning(msgspec.Struct, tag_field="type", tag="Warning"):
    """Something was not done."""

    code: str = ""
    description: str = ""


class DeepgramFailure(msgspec.Struct, tag_field="type", tag="Error"):
    """The connection is of no more use."""

    code: str = ""
    description: str = ""


DeepgramMessage: TypeAlias = (
    NovaResults | FluxTurn | AuraFlushed | AuraCleared | DeepgramWarning | DeepgramFailure
)

FINALIZE: Final = '{"type":"Finalize"}'
KEEP_ALIVE: Final = '{"type":"KeepAlive"}'
CLOSE_STREAM: Final = '{"type":"CloseStream"}'
FORCE_END_TURN: Final = '{"type":"ForceEndTurn"}'
FLUSH: Final = '{"type":"Flush"}'
CLEAR: Final = '{"type":"Clear"}'
CLOSE: Final = '{"type":"Close"}'

decode_deepgram: Final = KnownMessages[DeepgramMessage](DeepgramMessage).decode


def speak_message(text: str) -> str:
    """Return the message that has text spoken."""
    return msgspec.json.encode({"type": "Speak", "text": text}).decode()
