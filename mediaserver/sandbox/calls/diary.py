"""What happens in a call, told as it happens: a line of the log each, and a timeline at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import structlog

from audiocodecs import AudioFormat, Samples
from mediaserver.sandbox.audio.handset import TURN_PAUSE
from mediaserver.sandbox.audio.playback import TICK
from mediaserver.sandbox.audio.speech import SpeechDetector
from mediaserver.sandbox.wire.ledger import TimelineEntry


log = structlog.get_logger("mediaserver.sandbox.calls")

MAX_ENTRIES: Final = 2000
"""Happenings of one call that are told; the other side could cause any number of them."""

_LONGEST_TEXT: Final = 300

_Level: TypeAlias = Literal["info", "warning"]


class CallDiary:
    """What happens in one call.

    Args:
        call_uuid: The call, which each line of the log names.
        now: Returns Unix time.

    Attributes:
        began: When the call was placed, in Unix time.
        on_entry: Called with each entry of the timeline as it is made.

    """

    def __init__(self, call_uuid: str, now: Callable[[], float]) -> None:
        self.began = now()
        self.on_entry: Callable[[TimelineEntry], object] = lambda _: None
        self._call_uuid = call_uuid
        self._now = now
        self._entries: list[TimelineEntry] = []

    def tell(
        self, kind: str, text: str = "", *, level: _Level = "info", at: float | None = None
    ) -> None:
        """Write down and log that something happened.

        Args:
            kind: What happened, in words joined by `_`, as in `TimelineEntry`.
            text: More about it.
            level: Severity of the line of the log.
            at: When, in Unix time; now if left out.

        """
        if len(self._entries) > MAX_ENTRIES:
            return
        if len(self._entries) == MAX_ENTRIES:
            kind, text, level = "warning", f"more than {MAX_ENTRIES} happenings", "warning"
        text = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
        time = (self._now() if at is None else at) - self.began
        entry = TimelineEntry(time, kind, text)
        self._entries.append(entry)
        self.on_entry(entry)
        details: dict[str, Any] = {"what": text} if text else {}
        write = log.warning if level == "warning" else log.info
        write(kind.replace("_", " "), call_uuid=self._call_uuid, **details)

    def relay(self, entry: TimelineEntry) -> None:
        """Tell what a stream has written down, as it writes it."""
        # A key is told once, by the line; the start of a stream with its URL.
        if entry.kind in ("key_pressed", "stream_started"):
            return
        level: _Level = "warning" if entry.kind == "error" else "info"
        self.tell(entry.kind, entry.text, level=level)

    @property
    def timeline(self) -> list[TimelineEntry]:
        """Everything that has happened, in order; times are seconds since the call was placed."""
        return sorted(self._entries, key=lambda entry: entry.time)


class SpeechWatch:
    """Tells a diary when one side of a line begins to speak, and when it has fallen silent.

    Args:
        who: The side, `caller` or `agent`.
        format: L16 at the rate of the line.
        diary: Where it is told.
        origin: Unix time of the first tick.

    """

    def __init__(self, who: str, format: AudioFormat, diary: CallDiary, origin: float) -> None:
        self._who = who
        self._detector = SpeechDetector(format)
        self._diary = diary
        self._origin = origin
        # When the last sound ended; None while the side is silent.
        self._sound_ended: float | None = None

    def frame(self, tick: int, samples: Samples) -> None:
        """Take the 20 ms that end with `tick`, counted from 1."""
        end = self._origin + tick * TICK
        if any(self._detector.spans(samples.tobytes())):
            if self._sound_ended is None:
                self._diary.tell(f"{self._who}_speaks", at=end - TICK)
            self._sound_ended = end
        elif self._sound_ended is not None and end - self._sound_ended >= TURN_PAUSE:
            self._diary.tell(f"{self._who}_silent", at=self._sound_ended)
            self._sound_ended = None


def without_query(url: str) -> str:
    """Return a URL without its query and fragment, which may hold a token."""
    return url.partition("?")[0].partition("#")[0]
