"""The tracks of a stream: from the line's frames to payloads, and from playback to frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from audiocodecs import AudioFormat, Resampler, Samples
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.audio.noise import NoiseCanceller
from mediaserver.sandbox.audio.playback import TICKS_PER_SECOND, Happening, PlaybackBuffer


# Frames of silence after which a resampler holds nothing but silence.
_SETTLED_FRAMES = 2


class OutgoingTrack:
    """One track to the server: the line's frames as payloads in the stream's format.

    Args:
        line: The line.
        format: Format of the stream.
        canceller: Takes the noise out first.

    """

    def __init__(
        self, line: Line, format: AudioFormat, canceller: NoiseCanceller | None = None
    ) -> None:
        self._canceller = canceller
        self._format = format
        self._resampler = Resampler(line.rate, format.rate)
        self._line_silence = line.silence
        self._silence = format.silence * (format.rate // TICKS_PER_SECOND)
        self._quiet_frames = _SETTLED_FRAMES

    def payload(self, frame: Samples) -> bytes:
        """Return the next frame as 20 ms of the stream; of settled silence, the same object."""
        if self._canceller is not None:
            frame = self._canceller.process(frame)
        elif frame is not self._line_silence:
            self._quiet_frames = 0
        elif self._quiet_frames < _SETTLED_FRAMES:
            self._quiet_frames += 1
        else:
            return self._silence
        return self._format.encode(self._resampler.process(frame))


class IncomingTrack:
    """What the server sends, on its way to the person: an `AudioSource` of the line.

    Args:
        line: The line.
        format: Format of the stream.
        origin: Time of the line's last tick, on the event loop's clock.
        limit: Seconds of audio that are held for playback.
        answer: Called with what became of audio and checkpoints, when it is due.

    Attributes:
        buffer: Where audio, checkpoints and clears go.

    """

    def __init__(
        self,
        line: Line,
        format: AudioFormat,
        *,
        origin: float,
        limit: float,
        answer: Callable[[list[Happening]], None],
    ) -> None:
        self._line = line
        self._format = format
        self._answer = answer
        self._resampler = Resampler(format.rate, line.rate)
        self._frame_samples = format.rate // TICKS_PER_SECOND
        self._silence = np.zeros(self._frame_samples, np.int16)
        self._quiet_frames = _SETTLED_FRAMES
        self._first_tick = line.ticks
        # Played but not yet taken: first sample after the origin, and samples.
        self._tape: deque[tuple[int, Samples]] = deque()
        self.buffer = PlaybackBuffer(
            format, origin=origin, limit=limit, keep_audio=False, sink=self._put
        )

    def take(self, tick: int) -> Samples | None:
        """Return the frame that begins with `tick`; see `AudioSource`."""
        self._answer(self.buffer.advance(self._line.tick_time(tick)))
        frame = self._next_frame((tick - self._first_tick) * self._frame_samples)
        if frame is not None:
            self._quiet_frames = 0
        elif self._quiet_frames < _SETTLED_FRAMES:
            self._quiet_frames += 1
            frame = self._silence
        else:
            return None
        return self._resampler.process(frame)

    def _put(self, start: int, payload: bytes) -> None:
        self._tape.append((start, self._format.decode(payload)))

    def _next_frame(self, position: int) -> Samples | None:
        end = position + self._frame_samples
        if not self._tape or self._tape[0][0] >= end:
            return None
        frame = self._silence.copy()
        while self._tape and self._tape[0][0] < end:
            start, samples = self._tape.popleft()
            piece = samples[: end - start]
            frame[start - position : start - position + len(piece)] = piece
            if len(samples) > len(piece):
                self._tape.appendleft((end, samples[len(piece) :]))
        return frame
