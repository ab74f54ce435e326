"""Records what both sides of a call hear, to a file that grows while they speak."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import soundfile
import structlog
from numpy.typing import NDArray

from mediaserver.agents.recording.paths import check_path, stream_path
from mediaserver.agents.recording.timeline import Timeline
from mediaserver.call import Frame
from mediaserver.call.converter import Wire
from mediaserver.stream import Stream


log = structlog.get_logger("mediaserver.calls")

WRITE_SECONDS = 1.0
"""Seconds between two writes: a killed process loses this much, in addition to `LAG`."""

LAG = 0.5
"""Seconds by which the file lags behind, since audio that was sent may still be interrupted."""

SUFFIXES = (".wav", ".flac")

CHANNELS = 2


class RecordingFile(Protocol):
    """An audio file that grows."""

    def write(self, samples: NDArray[np.int16]) -> None:
        """Append int16 samples of shape ``(n, 2)``; the file can be read after that."""

    def close(self) -> None:
        """Finish the file."""


class Recording:
    """A stereo recording of a stream: the caller left, what they hear right.

    That is what is played to them, and on a stream with an outbound track the other party.

    Each side is recorded as the other heard it: interrupted speech ends where the caller stopped
    hearing it, and pauses, underruns and lost frames keep their length. The file is written once a
    second, in a thread; a process that is killed loses the last second and a half. If the file
    cannot be written, the call goes on and the log says so.

        async with Recording(stream, "calls/{call_id}.wav") as recording:
            ...
            recording.pause()  # for a card number
            ...
            recording.resume()

    Args:
        stream: the stream to record. The file has its rate, in 16 bit.
        path: the path of a ``.wav`` or ``.flac`` file, with the fields of `stream_path`.

    Raises:
        ValueError: `path` has another suffix, or an unknown field.

    """

    def __init__(self, stream: Stream, path: str | os.PathLike[str]) -> None:
        check_path(path, *SUFFIXES)
        self._stream = stream
        self.path = stream_path(path, stream)
        """The path of the file: `path`, with a number added if that file existed."""
        self.pauses: list[tuple[float, float | None]] = []
        """The begin and end of each pause, in seconds of the recording; None while paused."""
        self.failed = False
        """Whether the file could not be written, or not to its end."""
        self._began = stream.clock()
        self._timeline = Timeline(stream.format, self._began)
        self._writing: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Recording:
        self._stream.tap = self
        try:
            self.path, file = await asyncio.to_thread(
                open_recording, self.path, self._timeline.rate
            )
        except OSError as error:
            self._fail(error)
            return self
        self._stream.recording = self.path
        self._writing = asyncio.create_task(
            self._write_on(file), name=f"call {self._stream.call_id} recording"
        )
        log.info("recording", path=str(self.path), **self._ids())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream.tap is self:
            self._stream.tap = None
        self._stopping.set()
        if self._writing is not None:
            await asyncio.shield(self._writing)

    def pause(self) -> None:
        """Record silence on both sides from now on, for example while a card number is said."""
        now = self._stream.clock()
        if not self._timeline.paused:
            self._timeline.pause(now)
            self.pauses.append((now - self._began, None))
            log.info("recording paused", **self._ids())

    def resume(self) -> None:
        """Record both sides again."""
        now = self._stream.clock()
        if self._timeline.paused:
            self._timeline.resume(now)
            self.pauses[-1] = (self.pauses[-1][0], now - self._began)
            log.info("recording resumed", **self._ids())

    # mediaserver.call.Tap

    def received(self, frame: Frame, at: float) -> None:
        """Record a frame of the caller, or of the other party."""
        if not self.failed:
            self._timeline.received(frame, at)

    def sent(self, audio: Wire, at: float) -> None:
        """Record audio for the caller, once it was heard."""
        if not self.failed:
            self._timeline.sent(audio, at)

    def cut(self, at: float) -> None:
        """Record that the caller stopped hearing the audio."""
        if not self.failed:
            self._timeline.cut(at)

    async def _write_on(self, file: RecordingFile) -> None:
        stream, timeline = self._stream, self._timeline
        try:
            try:
                while not (self._stopping.is_set() or stream.ended):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(WRITE_SECONDS):
                            await self._stopping.wait()
                    await asyncio.to_thread(file.write, timeline.take(stream.clock() - LAG))
                timeline.cut(stream.clock())
                await asyncio.to_thread(file.write, timeline.take(stream.clock()))
            finally:
                await asyncio.to_thread(file.close)
        except Exception as error:
            self._fail(error)
        if timeline.lost:
            log.warning("recording has holes", seconds=round(timeline.lost, 1), **self._ids())

    def _fail(self, error: Exception) -> None:
        """Give up the recording. The call goes on, and a handler may still pause it."""
        self.failed = True
        self._timeline = Timeline(self._stream.format, self._began)
        log.error("recording failed", path=str(self.path), error=str(error), **self._ids())

    def _ids(self) -> dict[str, str]:
        return {"call": self._stream.call_id, "stream": self._stream.stream_id}


def open_recording(path: Path, rate: int) -> tuple[Path, RecordingFile]:
    """Create a file to record to, and its folders.

    Returns:
        Its path, with a number added if that file existed; and the file.

    Raises:
        OSError: it cannot be created.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        free = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            descriptor = os.open(free, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            number += 1
            continue
        if path.suffix.lower() == ".flac":
            return free, FlacFile(descriptor, rate)
        return free, WavFile(descriptor, rate)


class WavFile:
    """A WAV file whose header is correct after every write."""

    def __init__(self, descriptor: int, rate: int) -> None:
        self._raw = os.fdopen(descriptor, "wb")
        self._file = wave.Wave_write(self._raw)
        self._file.setparams((CHANNELS, 2, rate, 0, "NONE", "not compressed"))

    def write(self, samples: NDArray[np.int16]) -> None:
        """Append int16 samples of shape ``(n, 2)``."""
        self._file.writeframes(samples.astype("<i2").tobytes())
        self._raw.flush()

    def close(self) -> None:
        """Finish the file."""
        with self._raw:
            self._file.close()


class _Disk(io.FileIO):
    """A file that keeps its error: libsndfile passes on no error of the system."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, or keep the error and return 0."""
        written = 0
        try:
            # A disk that is nearly full takes a part, and says so only when it is asked again.
            while written < len(data):
                written += os.write(self.fileno(), data[written:])
        except OSError as error:
            self.error = error
            return 0
        return written

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Raise the error of the system in place of libsndfile's."""
        try:
            yield
        except Exception:  # LibsndfileError, or an assertion of soundfile's
            if self.error is None:
                raise
        if self.error is not None:
            raise self.error


class FlacFile:
    """A FLAC file whose header is correct after every write, except for an incomplete frame."""

    def __init__(self, descriptor: int, rate: int) -> None:
        self._descriptor = descriptor
        self._length = 0
        self._disk = _Disk(descriptor, "r+")
        try:
            with self._disk.telling():
                self._file = soundfile.SoundFile(
                    self._disk,
                    "w",
                    samplerate=rate,
                    channels=CHANNELS,
                    format="FLAC",
                    subtype="PCM_16",
                )
        except BaseException:
            self._disk.close()
            raise

    def write(self, samples: NDArray[np.int16]) -> None:
        """Append int16 samples of shape ``(n, 2)``.

        Raises:
            OSError: they cannot be written.

        """
        if len(samples):
            with self._disk.telling():
                self._file.write(samples)
                self._file.flush()
            self._length += len(samples)
            self._write_header()

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: it could not be written to its end.

        """
        with self._disk, self._disk.telling():
            self._file.close()

    def _write_header(self) -> None:
        # The encoder writes the length when it is closed. Until then readers take the file to be
        # endless, so it is written here: RFC 9639, section 8.2, 36 bits from byte 21.4.
        header = os.pread(self._descriptor, 26, 0)
        frame = int.from_bytes(header[10:12], "big")
        length = max(0, self._length - 1) // frame * frame
        high, low = header[21] & 0xF0 | length >> 32, length & 0xFFFF_FFFF
        os.pwrite(self._descriptor, struct.pack(">BI", high, low), 21)
