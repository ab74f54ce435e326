"""Recordings of calls: WAV files, the person left and what they hear right."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from audiocodecs import Samples, write_wav
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.webhooks import Target


if TYPE_CHECKING:
    from mediaserver.sandbox.calls.call import SandboxCall

log = structlog.get_logger(__name__)


class CallRecording:
    """A recording that is under way. It ends at `stop`, with the call, or after `longest` seconds.

    Attributes:
        id: What its file is named by.
        url: Where it can be had once it has ended.
        stopped: Set once it has been asked to end.

    """

    def __init__(
        self, call: SandboxCall, line: Line, longest: float, callback: Target | None = None
    ) -> None:
        self.id = str(uuid4())
        self.url = call.exchange.recording_url(self.id)
        self.stopped = asyncio.Event()
        self._call = call
        self._callback = callback
        self._recording = line.record()
        self._began = call.exchange.now()
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
        """Return what callbacks say of it."""
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
        path = self._call.exchange.recording_path(self.id)
        try:
            await asyncio.to_thread(_write, path, self._recording.samples, self._recording.rate)
        except OSError as error:
            log.error("recording lost", path=str(path), error=str(error))
        self._call.notify(self._callback, self._call.params("RecordStop", **self.params()))


def _write(path: Path, samples: Samples, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, samples, rate)
