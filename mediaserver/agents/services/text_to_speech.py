"""Text in, speech out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from audiocodecs import AudioFormat
from mediaserver.call import Frame


@dataclass(frozen=True, slots=True)
class WordMark:
    """How much of the text has been spoken at a time of its audio.

    A mark at the end of each word is best. Marks at the beginnings of words, at syllables or at
    single characters work as well. Between two marks, speech is assumed to be even.

    Attributes:
        end: the number of characters of the text that have been spoken.
        seconds: the time from the first sample of the text's audio.

    """

    end: int
    seconds: float


class TextToSpeech(Protocol):
    """Speaks text. One object serves all calls of a process."""

    def speak(self, text: str, format: AudioFormat) -> AsyncIterator[Frame | WordMark]:
        """Yield the audio of `text` as it is made.

        Args:
            text: a sentence or a few.
            format: the stream's format. Frames in this format are played as they are; others are
                converted.

        Yields:
            Frames of any length, and the marks of words if the service has them. Without marks,
            the places of words are estimated.

        Raises:
            ServiceError: the service failed.

        """
        ...
