"""Listening in on a call, beside its handler."""

from __future__ import annotations

from typing import Protocol

from mediaserver.call.converter import Wire
from mediaserver.call.frame import Frame


class Tap(Protocol):
    """What is told of all that the two sides hear of each other, while it happens.

    Times are those of the call's clock. What the caller does at the moment in which they hear
    something is received at that moment's time: the network's own time, there and back, is in it.

    It is called in the midst of receiving and sending: it must not raise, nor take long.
    """

    def received(self, frame: Frame, at: float) -> None:
        """A frame came, whether the handler reads it or not."""

    def sent(self, audio: Wire, at: float) -> None:
        """Audio was sent, whose first sample the caller hears at that time, as far as is known.

        Audio is sent ahead of time, so the moment lies some tenths of a second in the future.
        """

    def cut(self, at: float) -> None:
        """What was to be heard from that time on is not heard: it was interrupted, or paused."""
