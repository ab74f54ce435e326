"""The audio of a call that is followed, as a file."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from audiocodecs import AudioFormat
from mediaserver.agents.recording.recording import open_recording
from mediaserver.agents.recording.timeline import Timeline
from mediaserver.call import Frame


_LAG: Final = 0.5
"""Seconds by which the file lags behind, since audio that was sent may still be cut."""


class TracedAudio:
    """Writes both sides of a call to a stereo file: the caller left, what they hear right.

    Args:
        path: of a ``.wav`` or ``.flac`` file; a number is added if it exists.
        format: the format of the stream.

    Raises:
        OSError: the file cannot be created.

    """

    def __init__(self, path: Path, format: AudioFormat) -> None:
        self.path, self._file = open_recording(path, format.rate)
        self._format = format
        self._timeline: Timeline | None = None
        self._written = self._latest = 0.0

    def take(self, line: Mapping[str, Any]) -> None:
        """Take a line of the trace."""
        at = line.get("at")
        if at is None:
            return
        self._latest = at
        if self._timeline is None:
            self._timeline, self._written = Timeline(self._format, at), at
        timeline, what = self._timeline, line["what"]
        if what == "audio received":
            payload = base64.b64decode(line["payload"])
            frame = Frame(payload, self._format, line["track"], line["timestamp"], line["chunk"])
            timeline.received(frame, at)
        elif what == "audio sent":
            timeline.sent(base64.b64decode(line["payload"]), line["heard_at"])
        elif what == "audio cut":
            timeline.cut(line["heard_at"])
        if at - self._written >= 1.0:
            self._written = at
            self._file.write(timeline.take(at - _LAG))

    def close(self) -> None:
        """Write the rest, and finish the file."""
        if self._timeline is not None:
            self._file.write(self._timeline.take(self._latest))
        self._file.close()
