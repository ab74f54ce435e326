"""Recordings of calls: WAV files, with the person on the left and what they hear on the right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

import structlog

from audiocodecs import Samples, write_wav
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.calls.services import Services


log = structlog.get_logger(__name__)


class CallRecording:
    """A recording that is under way. It ends at `stop`, or after `longest` seconds.

    Args:
        services: Clock, and place of the files.
        line: The line to record.
        longest: Seconds that it may last.
        on_written: Called with its parameters for callbacks once its file is written.

    Attributes:
        id: Name of its file.
        url: Where the file can be fetched once the recording has ended.
        stopped: Set once it was asked to end.

    """

    def __init__(
        self,
        services: Services,
        line: Line,
        longest: float,
        on_written: Callable[[Mapping[str, str]], object],
    ) -> None:
        self.id = str(uuid4())
        self.url = services.recording_url(self.id)
        self.stopped = asyncio.Event()
        self._path = services.recording_path(self.id)
        self._on_written = on_written
        self._recording = line.record()
        self._began = services.now()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(longest, self.stopped.set)
        self._task = asyncio.create_task(self._run(), name=f"recording {self.id}")

    async def stop(self) -> None:
        """End it, and wait until its file is written. Does nothing the second time."""
        self.stopped.set()
        await asyncio.shield(self._task)

    @property
    def seconds(self) -> float:
        """Length so far."""
        return self._recording.seconds

    def params(self) -> dict[str, str]:
        """Return its parameters for callbacks."""
        began = round(self._began * 1000)
        length = round(self.seconds * 1000)
        return {
            "RecordUrl": self.url,
            "RecordingID": self.id,
            "RecordFile": self.url,
            "RecordingDuration": str(round(self.seconds)),
            "RecordingDurationMs": str(length),
            "RecordingStartMs": str(began),
            "RecordingEndMs": str(began + length),
        }

    async def _run(self) -> None:
        await self.stopped.wait()
        self._timer.cancel()
        self._recording.stop()
        samples, rate = self._recording.samples, self._recording.rate
        try:
            await asyncio.to_thread(_write, self._path, samples, rate)
        except OSError as error:
            log.error("recording lost", path=str(self._path), error=str(error))
        self._on_written(self.params())


def _write(path: Path, samples: Samples, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, samples, rate)
