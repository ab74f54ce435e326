"""Listening in on a call, in addition to its handler."""

from __future__ import annotations

from typing import Protocol

from mediaserver.call.converter import Wire
from mediaserver.call.frame import Frame


class Tap(Protocol):
    """Gets all audio that either side hears, as it happens.

    Times are on the call's clock, in seconds. They include the network's round trip: if the caller
    reacts to audio the moment they hear it, the reaction is received at that audio's time.

    The methods are called while messages are received and sent: they must not raise, and must be
    quick.
    """

    def received(self, frame: Frame, at: float) -> None:
        """Take a received frame, whether or not the handler reads it."""

    def sent(self, audio: Wire, at: float) -> None:
        """Take audio that was sent; the caller hears its first sample at `at`, by estimate.

        Audio is sent ahead of time, so `at` lies some tenths of a second in the future.
        """

    def cut(self, at: float) -> None:
        """Drop the sent audio from `at` on: it was interrupted or paused, and is not heard."""
