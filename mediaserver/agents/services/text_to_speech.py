"""Text in, speech out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from audiocodecs import AudioFormat
from mediaserver.call import Frame


@dataclass(frozen=True, slots=True)
class WordMark:
    """How far in the text the audio is at a time: best, where a word ends.

    It need not be there: marks at beginnings of words, at syllables or at single characters will do
    as well. Between two of them, speech is taken to be even.

    Attributes:
        end: how many characters of the text have been spoken by then.
        seconds: from the first sample of the text's audio.

    """

    end: int
    seconds: float


class TextToSpeech(Protocol):
    """Speaks text. One object serves all calls of a process."""

    def speak(self, text: str, format: AudioFormat) -> AsyncIterator[Frame | WordMark]:
        """Yield the audio of `text` as it is made.

        Args:
            text: a sentence or a few.
            format: what the stream plays. Frames in this format are played as they are; any other
                is converted.

        Yields:
            Frames of any length; and, from services that tell, where the words are. Without those
            it is estimated.

        Raises:
            ServiceError: the service failed.

        """
        ...
