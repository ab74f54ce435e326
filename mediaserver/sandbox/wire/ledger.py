"""What the carrier writes down during a stream."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from mediaserver.sandbox.audio.keys import Key
from mediaserver.sandbox.wire.messages import WireMessage


MAX_TEXTS = 100
"""Number of distinct warnings, and of distinct errors, that are kept: they quote the server."""


@dataclass(slots=True)
class CheckpointReport:
    """When a checkpoint was requested, and when it was played or cleared, if it was."""

    name: str
    requested: float
    played: float | None = None
    cleared: float | None = None


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """An event, `time` seconds after the start of the stream.

    `kind` is one of `stream_started`, `caller_speaks`, `caller_silent`, `agent_speaks`,
    `agent_silent`, `key_pressed`, `dtmf_received`, `checkpoint`, `checkpoint_played`, `cleared`,
    `gap`, `misbehaviour`, `warning`, `error` and `stream_ended`.
    """

    time: float
    kind: str
    text: str = ""


class CallLedger:
    """Everything that happened on one stream, as it happened.

    Times are seconds after the start of the stream.

    Args:
        on_entry: Called with each entry of the timeline as it is made.

    Attributes:
        entries: The timeline without speech, in order.
        checkpoints: Every checkpoint that the server requested.
        clears: `(time, seconds)` of each clear that dropped audio, and how much.
        keys_pressed: Digits the caller pressed.
        dtmf_received: Digits the server sent.
        warnings: Departures from the protocol that did no harm, with counts.
        errors: What could not be obeyed, with counts.
        frames_sent: Media messages sent.
        messages_sent: All messages sent.
        messages_received: All messages received.
        bytes_sent: Size of the messages sent.
        bytes_received: Size of the messages received.
        lateness: The most that a tick came late, in seconds.

    """

    def __init__(self, on_entry: Callable[[TimelineEntry], object] = lambda _: None) -> None:
        self._on_entry = on_entry
        self.entries: list[TimelineEntry] = []
        self.checkpoints: list[CheckpointReport] = []
        self.clears: list[tuple[float, float]] = []
        self.keys_pressed: list[Key] = []
        self.dtmf_received: list[Key] = []
        self.warnings: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.frames_sent = 0
        self.messages_sent = 0
        self.messages_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.lateness = 0.0
        # The checkpoints that have been neither played nor cleared.
        self._pending: deque[CheckpointReport] = deque()

    def message_sent(self, message: WireMessage) -> None:
        """Count a message sent."""
        self.messages_sent += 1
        self.bytes_sent += _size(message)

    def message_received(self, message: WireMessage) -> None:
        """Count a message received."""
        self.messages_received += 1
        self.bytes_received += _size(message)

    def note(self, time: float, kind: str, text: str = "") -> None:
        """Enter something into the timeline."""
        entry = TimelineEntry(time, kind, text)
        self.entries.append(entry)
        self._on_entry(entry)

    def key_pressed(self, time: float, digit: str) -> None:
        """Enter a key that the caller pressed."""
        self.keys_pressed.append(Key(time, digit))
        self.note(time, "key_pressed", digit)

    def digits_received(self, time: float, digits: str) -> None:
        """Enter digits from the server."""
        self.dtmf_received.extend(Key(time, digit) for digit in digits)
        self.note(time, "dtmf_received", digits)

    def checkpoint_requested(self, time: float, name: str) -> None:
        """Enter a checkpoint."""
        checkpoint = CheckpointReport(name, time)
        self.checkpoints.append(checkpoint)
        self._pending.append(checkpoint)
        self.note(time, "checkpoint", name)

    def checkpoint_played(self, time: float) -> None:
        """Enter that the oldest pending checkpoint has been played."""
        checkpoint = self._pending.popleft()
        checkpoint.played = time
        self.note(time, "checkpoint_played", checkpoint.name)

    def cleared(self, time: float, seconds: float) -> None:
        """Enter a clear that dropped `seconds` of audio and all pending checkpoints."""
        for checkpoint in self._pending:
            checkpoint.cleared = time
        self._pending.clear()
        if seconds:
            self.clears.append((time, seconds))
        self.note(time, "cleared", f"{seconds:.2f} s dropped")

    def warning(self, time: float, text: str) -> None:
        """Count a warning; the first of its kind goes into the timeline."""
        if _count(self.warnings, text) == 1:
            self.note(time, "warning", text)

    def error(self, time: float, text: str) -> None:
        """Count an error; the first of its kind goes into the timeline."""
        if _count(self.errors, text) == 1:
            self.note(time, "error", text)


def _size(message: WireMessage) -> int:
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode())


def _count(texts: Counter[str], text: str) -> int:
    if text not in texts and len(texts) >= MAX_TEXTS:
        text = "others"
    texts[text] += 1
    return texts[text]
