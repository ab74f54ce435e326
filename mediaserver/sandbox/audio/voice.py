"""The caller's voice: audio said into the phone, cut into the stream's frames."""

from __future__ import annotations

from collections import deque

from audiocodecs import AudioFormat, Samples
from mediaserver.sandbox.audio.speech import SpeechDetector, Spells


class CallerVoice:
    """Audio that the caller says, one clip after the other, with silence in between.

    Positions count bytes from the start of the stream, whether something is said or not.

    Args:
        format: Format of the stream.
        keep_audio: Keep what was said, for a recording.

    """

    def __init__(self, format: AudioFormat, *, keep_audio: bool = True) -> None:
        self.format = format
        self._position = 0
        self._keep_audio = keep_audio
        self._clips: deque[bytes] = deque()
        self._offset = 0
        self._waiting = 0
        self._said: list[tuple[int, bytes]] = []
        self._detector = SpeechDetector(format)
        self._speech = Spells(pause=format.rate // 2)
        self._silence = b""

    @property
    def position(self) -> int:
        """Bytes taken so far."""
        return self._position

    @property
    def ends(self) -> float:
        """Seconds after the start of the stream at which the last clip ends or has ended."""
        return (self._position + self._waiting) / self.format.bytes_per_second

    @property
    def speaking(self) -> bool:
        """Whether some audio has not been taken yet."""
        return self._waiting > 0

    @property
    def utterances(self) -> list[tuple[float, float]]:
        """Audible speech, `(start, end)` in seconds after the start of the stream.

        Half a second of silence ends an utterance. Those still to be taken are included.
        """
        rate = self.format.rate
        return [(start / rate, end / rate) for start, end in self._speech.spells]

    @property
    def said(self) -> list[tuple[int, Samples]]:
        """What was said, clip by clip: `(first sample, int16[n])`. Empty without `keep_audio`."""
        return [(start, self.format.decode(clip)) for start, clip in self._said]

    def say(self, payload: bytes) -> None:
        """Say `payload`, encoded in the format of the stream, after everything said before."""
        if not payload:
            return
        sample_bytes = self.format.sample_bytes
        start = (self._position + self._waiting) // sample_bytes
        for begin, end in self._detector.spans(payload):
            self._speech.add(start + begin // sample_bytes, start + end // sample_bytes)
        self._clips.append(payload)
        self._waiting += len(payload)
        if self._keep_audio:
            self._said.append((start, payload))

    def take(self, size: int) -> bytes:
        """Take the next `size` bytes, filled up with silence."""
        self._position += size
        if not self._clips:
            if len(self._silence) != size:
                self._silence = self.format.silence * (size // self.format.sample_bytes)
            return self._silence
        wanted = size
        pieces: list[bytes] = []
        while wanted and self._clips:
            clip = self._clips[0]
            piece = clip[self._offset : self._offset + wanted]
            pieces.append(piece)
            wanted -= len(piece)
            self._waiting -= len(piece)
            self._offset += len(piece)
            if self._offset == len(clip):
                self._clips.popleft()
                self._offset = 0
        pieces.append(self.format.silence * (wanted // self.format.sample_bytes))
        return b"".join(pieces)
