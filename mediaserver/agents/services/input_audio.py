"""The caller's speech on its way to a realtime model, without I/O."""

from __future__ import annotations

from typing import Final

from audiocodecs import AudioFormat, Resampler
from mediaserver.call import Frame


_BATCH: Final = 0.1
"""Seconds of the caller's speech in a message, while a delay does not matter."""

_LIVE_BATCH: Final = 0.02
"""The same if the API takes the turns, and listens for their beginning and end."""


class InputAudio:
    """Encodes the caller's speech, and collects it into messages.

    Args:
        format: the call's audio format.
        wire: the format that the API hears.
        live: whether the API takes the turns.
        shortest: seconds of the shortest turn that the API takes; a shorter one is filled up with
            silence.

    Attributes:
        piece: seconds of audio in a message.

    """

    def __init__(
        self, format: AudioFormat, wire: AudioFormat, *, live: bool, shortest: float = 0.0
    ) -> None:
        self._wire = wire
        self._resampler = Resampler(format.rate, wire.rate) if format.rate != wire.rate else None
        self._shortest = self._size_of(shortest)
        self.piece = _LIVE_BATCH if live else _BATCH
        self._batch = self._size_of(self.piece)
        self._unsent = bytearray()
        self._sent = 0  # bytes of the present turn

    @property
    def in_turn(self) -> bool:
        """Whether the present turn has any audio."""
        return bool(self._unsent or self._sent)

    def add(self, frame: Frame) -> bool:
        """Add a piece of speech; return whether there is enough for a message."""
        if self._resampler is None:
            self._unsent += frame.payload
        else:
            self._unsent += self._wire.encode(self._resampler.process(frame.samples))
        return len(self._unsent) >= self._batch

    def take(self) -> bytes:
        """Return the audio to send now."""
        taken = bytes(self._unsent)
        self._sent += len(taken)
        self._unsent.clear()
        return taken

    def end_turn(self) -> bytes:
        """Return the last audio of the turn, filled up with silence to the shortest allowed."""
        missing = self._shortest - self._sent - len(self._unsent)
        if missing > 0:
            self._unsent += self._wire.silence * -(-missing // self._wire.sample_bytes)
        taken = self.take()
        self._sent = 0
        if self._resampler is not None:
            self._resampler.reset()
        return taken

    def _size_of(self, seconds: float) -> int:
        return round(seconds * self._wire.rate) * self._wire.sample_bytes
