"""Words in, speech out, for the length of a call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from audiocodecs import AudioFormat
from mediaserver.agents.services.text_to_speech import WordMark
from mediaserver.call import Frame


class VoiceContext(Protocol):
    """The speech of one text, which comes in pieces. Contexts of a session do not mix.

    If the connection is lost, `speech` raises that, and no other method does.
    """

    async def say(self, text: str) -> None:
        """Go on with the text. Pieces are put together as they are, with the spaces in them."""

    async def flush(self) -> None:
        """Have all of the text so far spoken now, because the next piece may take a while."""

    async def end(self) -> None:
        """Note that the text is complete."""

    def speech(self) -> AsyncIterator[Frame | WordMark]:
        """Yield the audio as it comes, and the marks of words if the service has them.

        Iterate over it once. It ends when all of the text was spoken, after `end` or `clear`.

        Raises:
            ServiceError: the connection was lost, or the service refused something.

        """
        ...

    async def clear(self) -> None:
        """Forget the rest: no more audio comes, and the service stops making it."""


class VoiceSession(Protocol):
    """A connection to a voice, for one call."""

    expires_after: float | None
    """Seconds after which the service ends the session by itself, or None. It is replaced before,
    while the agent is silent."""

    def begin(self) -> VoiceContext:
        """Begin a text. At most two are spoken at a time: the one that plays, and the next."""
        ...

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""


class Voice(Protocol):
    """Speaks text while it is written. One object serves all calls of a process.

    `TextToSpeech` is the protocol for a service that takes one whole text at a time.
    """

    async def connect(self, format: AudioFormat) -> VoiceSession:
        """Open a session for a call.

        Args:
            format: the stream's format. Frames in this format are played as they are; others are
                converted.

        Raises:
            ServiceError: the service cannot be reached, or refuses the session.

        """
        ...
