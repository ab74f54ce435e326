"""What the caller has said since the agent's last answer, for sessions to hear."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from mediaserver.agents.services import RealtimeSession
from mediaserver.call import Frame


_REMEMBERED: Final = 60.0
"""Seconds of speech that are kept for a session that replaces a lost one."""


class UnansweredSpeech:
    """Keeps the caller's speech until it is answered, and knows how much a session has heard of it.

    A session that replaces a lost one hears it from the beginning, or the last minute of it.
    """

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque()
        self._seconds = 0.0
        self._session: RealtimeSession | None = None
        self._told = 0  # frames that the session has heard

    def add(self, frames: Sequence[Frame]) -> None:
        """Add what the caller goes on to say."""
        for frame in frames:
            self.frames.append(frame)
            self._seconds += frame.seconds
            if self._seconds > _REMEMBERED:
                self._seconds -= self.frames.popleft().seconds
                self._told = max(0, self._told - 1)

    async def tell(self, session: RealtimeSession) -> None:
        """Let `session` hear what it has not heard yet."""
        if session is not self._session:
            self._session = session
            self._told = 0
        while self._told < len(self.frames):
            self._told += 1
            await session.hear(self.frames[self._told - 1])
