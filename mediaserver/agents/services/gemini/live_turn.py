"""The caller's present turn on its way to Gemini's Live API, without I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mediaserver.agents.services.gemini.live_messages import (
    ACTIVITY_END,
    ACTIVITY_START,
    audio_message,
    text_message,
)


_KEPT_MESSAGES: Final = 1500
"""Messages of the caller's speech that are kept to be sent again: half a minute where the API takes
the turns, two and a half minutes where the agent does."""


class LiveTurn:
    """The messages of a turn: what is to be sent, and what another connection has to be told.

    Args:
        marked: whether the agent takes the turns, and so marks their beginning and end.

    """

    def __init__(self, *, marked: bool) -> None:
        self._marked = marked
        self._messages: list[str] = []
        self._sent = 0
        self._continued = 0  # earlier turns that it goes on with

    def __bool__(self) -> bool:
        return bool(self._messages)

    def hear(self, audio: bytes) -> None:
        """Add a piece of speech. The oldest one is dropped if there are too many."""
        self._begin()
        self._messages.append(audio_message(audio))
        first = int(self._marked)
        if len(self._messages) > _KEPT_MESSAGES + first:
            del self._messages[first]
            if self._sent > first:
                self._sent -= 1

    def add(self, message: str) -> None:
        """Add any other message."""
        self._messages.append(message)

    def next(self) -> str | None:
        """Return the next message that was not sent."""
        if self._sent == len(self._messages):
            return None
        self._sent += 1
        return self._messages[self._sent - 1]

    def send_again(self) -> None:
        """Send all that is kept over another connection."""
        self._sent = 0

    def forget(self, *, but: int = 0) -> None:
        """Keep only the last of the messages that were sent."""
        if self._sent > but:
            del self._messages[: self._sent - but]
            self._sent = but

    def end(self, notes: Iterable[str]) -> tuple[list[str], int, int]:
        """End the turn, with notes for the model in it.

        Returns:
            Its messages, how many of them were sent, and how many turns of the caller it is.

        """
        self._begin()
        self._messages.extend(map(text_message, notes))
        self._messages.append(ACTIVITY_END)
        ended = self._messages, self._sent, self._continued + 1
        self._messages, self._sent, self._continued = [], 0, 0
        return ended

    def take_back(self, messages: Iterable[str], sent: int, turns: int) -> None:
        """Go on with a turn that had ended and is not answered on its own."""
        spoken = [message for message in messages if message != ACTIVITY_END]
        self._messages = [*spoken, *self._messages[1:]]
        self._sent = min(sent, len(spoken))
        self._continued += turns

    def _begin(self) -> None:
        if self._marked and not self._messages:
            self._messages.append(ACTIVITY_START)
