"""Speech in, text out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from mediaserver.call import Frame


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, as far as it is known.

    Attributes:
        text: all that was understood of the utterance so far, not only what is new.
        final: whether nothing will change any more.
        seconds: how much audio was transcribed and is paid for; on the final one.

    """

    text: str
    final: bool = False
    seconds: float = 0.0


class SpeechToText(Protocol):
    """Recognises speech, one utterance at a time. One object serves all calls of a process."""

    def transcribe(self, speech: AsyncIterator[Frame]) -> AsyncIterator[Transcript]:
        """Yield partial transcripts as they come, where the service has them, then a final one.

        Args:
            speech: the utterance while it is spoken: it begins a little before the first word and
                ends when the caller has finished. Frames are in the stream's format.

        Raises:
            ServiceError: the service failed.

        """
        ...
