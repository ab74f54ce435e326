"""The audio of one live call: what the person says, and what the person hears.

person ── Handset ──▶ inbound ──▶ listeners: streams, recordings
person ◀─ Handset ◀── outbound ◀─ platform audio (`Line.play`), sources (`Line.attach`)
"""

from __future__ import annotations

import asyncio
import math
import time as wall
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from audiocodecs import L16_8K, L16_16K, L16_24K, AudioFormat, Samples, resample
from mediaserver.sandbox.audio.handset import Handset
from mediaserver.sandbox.audio.keys import check_digits
from mediaserver.sandbox.audio.playback import GRID_TOLERANCE, TICK, TICKS_PER_SECOND
from mediaserver.sandbox.audio.waits import WITHIN


LINE_FORMATS: dict[int, AudioFormat] = {8_000: L16_8K, 16_000: L16_16K, 24_000: L16_24K}
"""Sample rates a line can have, in Hz, and its samples as a format."""

_LATE = 0.002
"""Seconds after which a tick lets the event loop first do what else has waited."""

Undo: TypeAlias = Callable[[], None]

Entry = TypeVar("Entry")


class LineListener(Protocol):
    """Something that follows everything that happens on a line."""

    def on_frame(self, tick: int, inbound: Samples, outbound: Samples) -> None:
        """Take the 20 ms that end with tick `tick`: what was said, and what was heard.

        Both are `int16` at the rate of the line. Silence is the line's `silence`, the same object
        each time, so that `is` recognises it.
        """

    def on_digit(self, digit: str) -> None:
        """Take a key that the person pressed."""

    def on_end(self, ended_by: str) -> None:
        """Note that the call has ended."""


class AudioSource(Protocol):
    """Audio that the person hears beside what the platform plays."""

    def take(self, tick: int) -> Samples | None:
        """Return the frame that begins with tick `tick`, `int16` at the line's rate; None: silence.

        Called once for each tick, in order. The frame is heard to its end, whatever comes next.
        """


class Clip:
    """Something the platform plays to the person; `Line.play` makes it."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._offset = 0
        self._finished: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def playing(self) -> bool:
        """Whether it waits to be played, or is being played."""
        return not self._finished.done()

    async def finished(self) -> bool:
        """Wait until it is over: True if it was heard to its end, False if it was stopped."""
        return await asyncio.shield(self._finished)

    def stop(self) -> None:
        """Play no more of it. Does nothing if it is over."""
        if self.playing:
            self._finished.set_result(False)

    def take(self, samples: int) -> Samples:
        """Return up to `samples` more of it. For the line."""
        piece = self._samples[self._offset : self._offset + samples]
        self._offset += len(piece)
        return piece

    @property
    def exhausted(self) -> bool:
        """Whether all of it was taken. For the line."""
        return self._offset >= len(self._samples)

    def heard(self) -> None:
        """Note that it was heard to its end. For the line."""
        if self.playing:
            self._finished.set_result(True)


class LineRecording:
    """Both sides of a line, from now on until `stop` or the end; `Line.record` makes it.

    A minute of it takes about 4 MB at 16 kHz; silence takes none.
    """

    def __init__(self, line: Line) -> None:
        self.rate = line.rate
        self._frames: list[tuple[Samples, Samples]] = []
        self._unlisten = line.listen(self)

    @property
    def seconds(self) -> float:
        """Length so far."""
        return len(self._frames) / TICKS_PER_SECOND

    @property
    def samples(self) -> Samples:
        """The audio so far: `int16[n, 2]`, left the person's voice, right what the person heard."""
        if not self._frames:
            return np.empty((0, 2), np.int16)
        sides = zip(*self._frames, strict=True)
        return np.stack([np.concatenate(side) for side in sides], axis=1)

    def stop(self) -> None:
        """Record no more. Does nothing the second time."""
        self._unlisten()

    def on_frame(self, _tick: int, inbound: Samples, outbound: Samples) -> None:
        """Take a frame; see `LineListener`."""
        self._frames.append((inbound, outbound))

    def on_digit(self, digit: str) -> None:
        """Keys are not recorded."""

    def on_end(self, ended_by: str) -> None:
        """Stay as it is."""


class Line:
    """The audio of one live call, cut into 20 ms by an absolute clock: the event loop's.

    Every tick takes a frame from the person, and one from all that plays to the person, mixed;
    then it tells its listeners. It catches up on late ticks, so that it does not drift.

    A frame of a source begins with its tick and is over at the next one: then the listeners are
    told. The earpiece of the handset has it at once, since a telephone plays what it gets.

    Args:
        rate: Sample rate inside, in Hz: 8000, 16000 or 24000. Wideband loses nothing that a
            stream of 16 kHz could carry, and suits the noise canceller.
        epoch: Unix time at which the call was answered; now if left out.

    Attributes:
        rate: Sample rate inside, in Hz.
        handset: The person's end.
        silence: A frame of silence.
        ended_by: Who ended the call, None while it is up: `"person"`, or the argument of `hang_up`.

    Raises:
        ValueError: The rate is not one of the three.

    """

    def __init__(self, *, rate: int = 16_000, epoch: float | None = None) -> None:
        if rate not in LINE_FORMATS:
            allowed = ", ".join(map(str, LINE_FORMATS))
            raise ValueError(f"a line cannot have {rate!r} Hz; allowed: {allowed}")
        self.rate = rate
        self.ended_by: str | None = None
        self.handset = Handset(LINE_FORMATS[rate], self)
        self.frame_samples = rate // TICKS_PER_SECOND
        self.silence: Samples = np.zeros(self.frame_samples, np.int16)
        self.silence.flags.writeable = False
        self._epoch = epoch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Handle | None = None
        self._origin = 0.0
        self._deadline = 0.0
        self._ended_at: float | None = None
        self._ticks = 0
        self._clips: deque[Clip] = deque()
        self._sources: list[AudioSource] = []
        # What began to sound with the last tick.
        self._sounding: Samples | None = None
        self._listeners: list[LineListener] = []
        self._digit_callbacks: list[Callable[[str], None]] = []

    @property
    def up(self) -> bool:
        """Whether the call was answered and has not ended."""
        return self._loop is not None and self.ended_by is None

    @property
    def ticks(self) -> int:
        """Ticks done so far."""
        return self._ticks

    @property
    def time(self) -> float:
        """Seconds since the call was answered; stands still once it has ended."""
        if self._ended_at is not None:
            return self._ended_at
        return self._loop.time() - self._origin if self._loop is not None else 0.0

    @property
    def epoch(self) -> float:
        """Unix time at which the call was answered; 0 before that."""
        return self._epoch or 0.0

    def tick_time(self, tick: int) -> float:
        """Return when tick `tick` is due, on the event loop's clock."""
        return self._origin + tick / TICKS_PER_SECOND

    def start(self) -> None:
        """Answer the call: the clock runs from here.

        Raises:
            RuntimeError: It was answered before, or has ended.

        """
        if self._loop is not None or self.ended_by is not None:
            raise RuntimeError("a Line carries one call; this one has been started or ended before")
        self._loop = asyncio.get_running_loop()
        if self._epoch is None:
            self._epoch = wall.time()
        self._origin = self._loop.time()
        self._deadline = self._origin + TICK
        self._timer = self._loop.call_at(self._deadline, self._due)

    def play(self, samples: Samples, rate: int | None = None) -> Clip:
        """Play `samples` (`int16[n]`) to the person after everything queued before.

        Args:
            samples: Mono audio.
            rate: Its sample rate in Hz; the rate of the line if left out.

        Returns:
            A clip to wait for, or to stop. On a line that has ended it is stopped already.

        Raises:
            AudioError: The samples are not mono int16, or the rate is unknown.

        """
        clip = Clip(resample(samples, self.rate if rate is None else rate, self.rate))
        if self.ended_by is None:
            self._clips.append(clip)
        else:
            clip.stop()
        return clip

    def stop_playing(self) -> None:
        """Stop everything that the platform plays or has queued."""
        for clip in self._clips:
            clip.stop()
        self._clips.clear()

    def send_digits(self, digits: str) -> None:
        """Send digits to the person.

        Raises:
            ValueError: A digit is not one of `0`-`9`, `*`, `#`, `A`-`D`.

        """
        check_digits(digits, "digits")
        if self.ended_by is None:
            self.handset.hear_digits(digits)

    def attach(self, source: AudioSource) -> Undo:
        """Mix `source` into what the person hears; the result takes it out again."""
        return _entered(self._sources, source)

    def listen(self, listener: LineListener) -> Undo:
        """Let `listener` follow the line from the next tick on; the result ends that."""
        return _entered(self._listeners, listener)

    def on_digit(self, callback: Callable[[str], None]) -> Undo:
        """Call `callback` with every key the person presses; the result ends that."""
        return _entered(self._digit_callbacks, callback)

    def record(self) -> LineRecording:
        """Record both sides from the next tick on."""
        return LineRecording(self)

    def hang_up(self, by: str = "platform") -> None:
        """End the call, whatever is going on. Does nothing if it has ended."""
        if self.ended_by is not None:
            return
        self._ended_at = self.time
        self.ended_by = by
        if self._timer is not None:
            self._timer.cancel()
        self.stop_playing()
        self.handset.end()
        for listener in tuple(self._listeners):
            listener.on_end(by)
        self._listeners.clear()
        self._sources.clear()
        self._digit_callbacks.clear()

    async def wait_ended(self, *, within: float = WITHIN) -> str:
        """Wait until the call has ended, and return who ended it.

        Args:
            within: Seconds in which it must end; `math.inf` waits as long as it lasts.

        Raises:
            WaitTimeoutError: It has not ended.

        """
        await self.handset.wait_ended(within=within)
        return self.ended_by or ""

    def pressed(self, digit: str) -> None:
        """Pass a key of the person on to the listeners. For the handset."""
        for listener in tuple(self._listeners):
            listener.on_digit(digit)
        for callback in tuple(self._digit_callbacks):
            callback(digit)

    def _due(self) -> None:
        """Do the tick that has just become due, soon."""
        assert self._loop is not None
        if self._loop.time() - self._deadline < _LATE:
            self._tick()
        else:
            # Whatever held this up held up audio as well. It is in time if it is taken first.
            self._timer = self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        """Do the tick that has become due, or more after a stall."""
        assert self._loop is not None
        # A loop's timers may come a little early, by the clock's resolution.
        now = max(self._loop.time(), self._deadline)
        due = math.floor((now - self._origin) * TICKS_PER_SECOND + GRID_TOLERANCE)
        self._deadline = self.tick_time(due + 1)
        self._timer = self._loop.call_at(self._deadline, self._due)
        while self._ticks < due and self.ended_by is None:
            self._ticks += 1
            self._do_tick(self._ticks)

    def _do_tick(self, tick: int) -> None:
        said = self.handset.speak_frame(self.frame_samples)
        played = self._played() if self._clips else None
        sounded, self._sounding = self._sounding, self._sound(tick)
        heard = _mixed(played, sounded)
        inbound = self.silence if said is None else said
        outbound = self.silence if heard is None else heard
        for listener in tuple(self._listeners):
            listener.on_frame(tick, inbound, outbound)
        self.handset.hear_frame(heard, self.frame_samples)
        self.handset.earpiece(_mixed(played, self._sounding))

    def _sound(self, tick: int) -> Samples | None:
        """Return what the sources begin to play."""
        sound: Samples | None = None
        for source in tuple(self._sources):
            sound = _mixed(sound, source.take(tick))
        return sound

    def _played(self) -> Samples | None:
        """Return the next frame of the clips; the clips that end within it have been heard."""
        pieces: list[Samples] = []
        wanted = self.frame_samples
        while self._clips and wanted:
            clip = self._clips[0]
            if clip.playing:
                piece = clip.take(wanted)
                pieces.append(piece)
                wanted -= len(piece)
            if clip.exhausted or not clip.playing:
                self._clips.popleft()
                clip.heard()
        if not pieces:
            return None
        pieces.append(self.silence[:wanted])
        return np.concatenate(pieces)


def _mixed(one: Samples | None, other: Samples | None) -> Samples | None:
    if one is None or other is None:
        return other if one is None else one
    total = one.astype(np.int32) + other
    return total.clip(-32_768, 32_767).astype(np.int16)


def _entered(entries: list[Entry], entry: Entry) -> Undo:
    entries.append(entry)

    def undo() -> None:
        if entry in entries:
            entries.remove(entry)

    return undo
