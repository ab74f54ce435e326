"""Audio that was given to a stream, and how much of it the caller has heard."""

from __future__ import annotations

import asyncio

import msgspec

from mediaserver.call import Heard, Playout


class Playback(msgspec.Struct, gc=False, eq=False, repr_omit_defaults=True):
    """Audio that was given to `Stream.play` or `Stream.say`."""

    _playout: Playout
    _start: int
    _end: int
    _generation: int
    # Whether an interruption came before all of it was queued.
    _cut_short: bool = False

    async def heard(self) -> Heard:
        """Wait until the caller has heard all of this audio, or will not hear the rest of it.

        Returns at Plivo's confirmation, at an interruption or at the end of the call. If no
        confirmation comes, it returns shortly after the audio must have been heard.
        """
        while True:
            heard = self._outcome()
            if heard is not None:
                return heard
            waiter = asyncio.get_running_loop().create_future()
            self._playout.watch(self._end, waiter)
            await waiter

    def extend(self, other: Playback) -> None:
        """Make `other`, which was played after this, a part of this playback.

        Use it for audio that is played in pieces but is one thing to the caller: from now on
        `heard`, `seconds_heard` and `interrupted` cover both. If an interruption dropped `other`,
        this playback counts as cut short.

        Raises:
            ValueError: if `other` was played before this, or on another stream.

        """
        if other._playout is not self._playout:
            raise ValueError("a playback can only be extended by one of the same stream")
        if other._cut_short or other._generation != self._generation:
            self._cut_short = True
        elif other._start < self._end:
            raise ValueError("a playback can only be extended by one that was played after it")
        else:
            self._end = other._end

    @property
    def seconds_heard(self) -> float:
        """Seconds of it that the caller has heard by now."""
        return self._playout.heard_seconds(self._start, self._end, self._generation)

    @property
    def begins_at(self) -> float | None:
        """When the caller hears its first sample, in seconds on the call's clock (`Stream.clock`).

        An estimate from the time it was sent, corrected when Plivo confirms playback. None until
        some of it has been sent, and if an interruption came before the caller heard any of it.
        """
        if self._start == self._end:
            return None
        return self._playout.begins_at(self._start, self._generation)

    @property
    def interrupted(self) -> bool:
        """Whether an interruption came before all of it was heard."""
        heard = self._outcome()
        return heard is not None and heard.interrupted

    def _outcome(self) -> Heard | None:
        heard = self._playout.outcome(self._start, self._end, self._generation)
        if heard is not None and self._cut_short:
            return Heard(heard.seconds, interrupted=True, confirmed=False)
        return heard
