"""Records what both sides of a call hear, to a file that grows while they speak."""

from __future__ import annotations

import asyncio
import os
import re
import struct
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import soundfile
import structlog
from numpy.typing import NDArray

from mediaserver.agents.timeline import Timeline
from mediaserver.call import Frame
from mediaserver.call.converter import Wire
from mediaserver.stream import Stream


log = structlog.get_logger("mediaserver.calls")

WRITE_SECONDS = 1.0
"""How often the file grows, and so how much of it a killed process loses, beside `LAG`."""

LAG = 0.5
"""Seconds by which the file is behind: what was sent may still be interrupted."""

CHANNELS = 2


class RecordingFile(Protocol):
    """An audio file that grows."""

    def write(self, samples: NDArray[np.int16]) -> None:
        """Append int16 samples of shape ``(n, 2)``, so that what is there can be read."""

    def close(self) -> None:
        """Finish the file."""


class Recording:
    """A stereo recording of a stream: the caller left, the agent right.

    Each side is where the other heard it. So speech that was interrupted ends where the caller
    stopped hearing it, and pauses, underruns and lost frames are as long as they were. It is
    written once a second, in a thread; a process that is killed leaves all but the last second and
    a half. If the file cannot be written the call goes on, and the log says so.

        async with Recording(stream, "calls/{call_id}.wav") as recording:
            ...
            recording.pause()  # for a card number
            ...
            recording.resume()

    Args:
        stream: what to record. The format and rate are the stream's, in 16 bit.
        path: of a ``.wav`` or ``.flac`` file; see `recording_path`.

    Raises:
        ValueError: if `path` has another suffix, or a field that is unknown.

    """

    def __init__(self, stream: Stream, path: str | os.PathLike[str]) -> None:
        self._stream = stream
        self.path = recording_path(path, stream)
        """Where it is written: the path that was asked for, or one with a number if that exists."""
        self.pauses: list[tuple[float, float | None]] = []
        """When it was paused and resumed, in seconds since it began; None if it was not resumed."""
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
            self._give_up(error)
            return self
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
        """Record silence on both sides from now on, as while a card number is said."""
        now = self._stream.clock()
        if not self._timeline.paused:
            self._timeline.pause(now)
            self.pauses.append((now - self._began, None))
            log.info("recording paused", **self._ids())

    def resume(self) -> None:
        """Record again."""
        now = self._stream.clock()
        if self._timeline.paused:
            self._timeline.resume(now)
            self.pauses[-1] = (self.pauses[-1][0], now - self._began)
            log.info("recording resumed", **self._ids())

    # mediaserver.call.Tap

    def received(self, frame: Frame, at: float) -> None:
        """Record a frame of the caller's."""
        self._timeline.received(frame, at)

    def sent(self, audio: Wire, at: float) -> None:
        """Record what the agent says, once it was heard."""
        self._timeline.sent(audio, at)

    def cut(self, at: float) -> None:
        """Record that the caller stopped hearing it."""
        self._timeline.cut(at)

    async def _write_on(self, file: RecordingFile) -> None:
        stream, timeline = self._stream, self._timeline
        try:
            while not self._stopping.is_set():
                try:
                    async with asyncio.timeout(WRITE_SECONDS):
                        await self._stopping.wait()
                except TimeoutError:
                    await asyncio.to_thread(file.write, timeline.take(stream.clock() - LAG))
            timeline.cut(stream.clock())
            await asyncio.to_thread(file.write, timeline.take(stream.clock()))
        except (OSError, soundfile.LibsndfileError) as error:
            self._give_up(error)
        finally:
            try:
                await asyncio.to_thread(file.close)
            except (OSError, soundfile.LibsndfileError) as error:
                self._give_up(error)
        if timeline.lost:
            log.warning("recording has holes", seconds=round(timeline.lost, 1), **self._ids())

    def _give_up(self, error: Exception) -> None:
        if self._stream.tap is self:
            self._stream.tap = None
        log.error("recording failed", path=str(self.path), error=str(error), **self._ids())

    def _ids(self) -> dict[str, str]:
        return {"call": self._stream.call_id, "stream": self._stream.stream_id}


def recording_path(template: str | os.PathLike[str], stream: Stream) -> Path:
    """Fill in the path of a recording; see `stream_path`.

    Raises:
        ValueError: if it is no ``.wav`` or ``.flac`` file, or has a field that is unknown.

    """
    path = stream_path(template, stream)
    if path.suffix.lower() not in (".wav", ".flac"):
        raise ValueError(f"a recording is a .wav or .flac file, not {os.fspath(template)!r}")
    return path


def stream_path(template: str | os.PathLike[str], stream: Stream) -> Path:
    """Fill in the path of a file that belongs to a stream.

    Args:
        template: may have ``{call_id}``, ``{stream_id}``, ``{caller}``, ``{called}`` and
            ``{time}``, when it began, in UTC, which takes a format: ``{time:%Y-%m-%d}``. Whatever
            of the others is no letter, digit, ``+`` or ``-`` becomes ``_``: a caller may choose it.
        stream: whose file it is.

    Raises:
        ValueError: if it has a field that is none of those.

    """
    text = os.fspath(template)
    fields = {
        "call_id": stream.call_id,
        "stream_id": stream.stream_id,
        "caller": stream.caller or "unknown",
        "called": stream.called or "unknown",
    }
    safe = {name: re.sub(r"[^\w+-]", "_", value) for name, value in fields.items()}
    try:
        return Path(text.format(**safe, time=datetime.now(UTC)))
    except (KeyError, IndexError, AttributeError) as error:
        known = ", ".join(f"{{{name}}}" for name in (*fields, "time"))
        raise ValueError(f"{text!r} has the field {error}; there are {known}") from None


def open_recording(path: Path, rate: int) -> tuple[Path, RecordingFile]:
    """Make a file to record to, and the folders above it.

    Returns:
        Its path, which has a number if there was such a file already; and the file.

    Raises:
        OSError: it cannot be made.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        free = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            descriptor = os.open(free, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            number += 1
            continue
        if path.suffix.lower() == ".flac":
            return free, FlacFile(descriptor, rate)
        return free, WavFile(descriptor, rate)


class WavFile:
    """A WAV file whose header is right after every write."""

    def __init__(self, descriptor: int, rate: int) -> None:
        self._file = os.fdopen(descriptor, "wb")
        self._rate = rate
        self._size = 0
        self._write_header()

    def write(self, samples: NDArray[np.int16]) -> None:
        """Append int16 samples of shape ``(n, 2)``."""
        payload = samples.astype("<i2").tobytes()
        self._file.seek(0, os.SEEK_END)
        self._file.write(payload)
        self._size += len(payload)
        self._write_header()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _write_header(self) -> None:
        block = CHANNELS * 2
        self._file.seek(0)
        self._file.write(
            struct.pack(
                "<4sI4s4sIHHIIHH4sI",
                b"RIFF",
                36 + self._size,
                b"WAVE",
                b"fmt ",
                16,
                1,
                CHANNELS,
                self._rate,
                self._rate * block,
                block,
                16,
                b"data",
                self._size,
            )
        )
        self._file.flush()


class FlacFile:
    """A FLAC file, whose frames can be read as they are; its header says the length at the end."""

    def __init__(self, descriptor: int, rate: int) -> None:
        self._raw = os.fdopen(descriptor, "wb")
        self._file = soundfile.SoundFile(
            self._raw, "w", samplerate=rate, channels=CHANNELS, format="FLAC", subtype="PCM_16"
        )

    def write(self, samples: NDArray[np.int16]) -> None:
        """Append int16 samples of shape ``(n, 2)``."""
        if len(samples):
            self._file.write(samples)
            self._file.flush()
            self._raw.flush()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()
        self._raw.close()
