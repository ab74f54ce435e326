"""What is known of a stream when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mediaserver.call.counters import StreamCounters
from mediaserver.call.turn import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """What is known of a stream when it is over, for a summary, an entry or an upload."""

    call_id: str
    """Plivo's CallUUID."""
    stream_id: str
    """Plivo's id of the stream."""
    caller: str | None
    """The caller's number, if the answer webhook gave it."""
    called: str | None
    """The number that was dialled, if the answer webhook gave it."""
    path: str
    """The path of the stream URL."""
    started_at: datetime
    """When the stream started, in UTC."""
    seconds: float
    """How long it lasted."""
    end_reason: str
    """Why it ended."""
    error: BaseException | None = None
    """What the handler raised, if it failed."""
    turns: tuple[Turn, ...] = ()
    """The turns of the conversation that an agent has reported, of many the last thousand."""
    recording: Path | None = None
    """The file of the recording, if there is one. It is complete."""
    transcript: Path | None = None
    """The file of the transcript, if the handler has written one."""
    counters: StreamCounters = field(default_factory=StreamCounters)
    """What the stream counted."""
    data: dict[str, Any] = field(default_factory=dict)
    """What the handler kept in ``stream.data``."""
