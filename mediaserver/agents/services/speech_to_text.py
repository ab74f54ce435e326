"""Speech in, text out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from mediaserver.call import Frame


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of an utterance so far.

    Attributes:
        text: all words of the utterance so far, not only the new ones.
        final: whether the text will not change any more.
        seconds: the seconds of audio that are charged for; set on the final transcript.
        track: who spoke: ``inbound`` for the caller, ``outbound`` for the other party. Handlers set
            this; a service need not.

    """

    text: str
    final: bool = False
    seconds: float = 0.0
    track: str = "inbound"


class SpeechToText(Protocol):
    """Recognises speech, one utterance at a time. One object serves all calls of a process."""

    def transcribe(self, speech: AsyncIterator[Frame]) -> AsyncIterator[Transcript]:
        """Yield partial transcripts as they come, if the service has them, and then a final one.

        Args:
            speech: the utterance while it is spoken. It begins shortly before the first word and
                ends when the caller has finished. Frames are in the stream's format.

        Raises:
            ServiceError: the service failed.

        """
        ...
