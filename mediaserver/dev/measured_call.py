"""What the carrier's side of a call measures, as messages to a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.streams import ActiveStream
from mediaserver.sandbox.wire.ledger import TimelineEntry


class MeasuredCall:
    """Passes on each entry of a call's diary as it is made, and at the end what was heard.

    Times are seconds: `call_at` since the call was placed, all others since the stream started,
    which is when its `start` was sent. The server counts from when it reads that `start`, which is
    later on a busy machine. So what was heard comes with `started_at`: when it was sent, in Unix
    time.

    Args:
        call: The call; what has happened in it already is passed on at once.
        tell: Called with each message.

    """

    def __init__(self, call: SandboxCall, tell: Callable[[dict[str, Any]], object]) -> None:
        self._call = call
        self._tell = tell
        self._stream: ActiveStream | None = None
        # When the stream started, in seconds since the call was placed; and by how much earlier its
        # first frame had begun, from which the carrier counts.
        self._started = self._earlier = 0.0
        for entry in call.diary.timeline:
            self._pass_on(entry)
        call.diary.on_entry = self._pass_on

    def _pass_on(self, entry: TimelineEntry) -> None:
        if entry.kind == "stream_opened" and (stream := self._call.streams.active) is not None:
            self._stream = stream
            # The carrier has just sent `start`.
            self._started, self._earlier = entry.time, stream.media.seconds
        message: dict[str, Any] = {
            "what": "measured",
            "call": self._call.uuid,
            "kind": entry.kind.replace("_", " "),
            "text": entry.text,
            "call_at": round(entry.time, 4),
        }
        stream = self._stream
        if stream is not None:
            message["at"] = round(entry.time - self._started, 4)
            message["stream"] = stream.record.stream_id
        self._tell(message)
        if entry.kind == "stream_ended" and stream is not None:
            self._stream = None
            self._tell(self._heard(stream))

    def _heard(self, stream: ActiveStream) -> dict[str, Any]:
        ledger, playback = stream.media.ledger, stream.media.playback
        return {
            "what": "measured",
            "call": self._call.uuid,
            "kind": "heard",
            "stream": stream.record.stream_id,
            "started_at": round(self._call.diary.began + self._started, 4),
            "spells": [
                [self._since(begin), self._since(end)]
                for begin, end in (playback.spells if playback else ())
            ],
            "gaps": self._begun(playback.gaps if playback else ()),
            "pauses": self._begun(playback.pauses if playback else ()),
            "clears": self._begun(ledger.clears),
            "checkpoints": [
                {
                    "name": each.name,
                    "requested": self._since(each.requested),
                    "played": self._since(each.played),
                    "cleared": self._since(each.cleared),
                }
                for each in ledger.checkpoints
            ],
        }

    def _begun(self, times: Iterable[tuple[float, float]]) -> list[list[float | None]]:
        """Return when each began, and its seconds."""
        return [[self._since(began), round(seconds, 4)] for began, seconds in times]

    def _since(self, time: float | None) -> float | None:
        return None if time is None else round(time - self._earlier, 4)
