"""An echo that says at first which process serves the call, and what that knows of it."""

import os
from typing import Any

from audiocodecs import MULAW_8K
from mediaserver.call import Frame, Turn
from mediaserver.handler import Handler
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.routes import Route, Routes


MARK_BYTES = 160
LIMITED = "/limited"
"""A path with a limit of calls."""
LIMIT = 4
"""That limit."""
UNTOLD = "-"
"""Stands for what an earlier stream has said, if nothing is known of one."""

_SILENCE = b"\xff" * 4_800


class MarkedEcho(Handler):
    """Plays a mark and 0.6 s of silence, and then the caller's audio.

    So the echo is as far ahead of the caller's ear as an agent's speech would be.
    """

    def __init__(self) -> None:
        self._prepared = False
        self._marked = False

    async def on_answer(self, answer: AnswerRequest, shared: Any) -> None:
        """Note that this process prepares the call."""
        self._prepared = True

    async def on_audio(self, frame: Frame) -> None:
        """Play."""
        if not self._marked:
            self._marked = True
            previous = self.stream.previous
            told = previous.turns[-1].agent if previous and previous.turns else UNTOLD
            mark = f"{os.getpid()} {'prepared' if self._prepared else 'unprepared'} {told}"
            self.stream.report(Turn(number=1, agent=f"{os.getpid()}"))
            await self.stream.play(mark.encode().ljust(MARK_BYTES) + _SILENCE, format=MULAW_8K)
        await self.stream.play(frame)


ROUTES = Routes(Route(MarkedEcho), Route(MarkedEcho, LIMITED, max_calls=LIMIT))
