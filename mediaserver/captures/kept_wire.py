"""The wire of one live call, on its way to a file."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from mediaserver.call import Clock
from mediaserver.captures.capture_lines import (
    CAPTURE_ENDED,
    CaptureHead,
    Side,
    encode_decision,
    encode_head,
    encode_line,
    line_format,
)
from mediaserver.captures.wire_redaction import WireRedaction


MESSAGES_LOST: Final = "messages lost"
"""The decision in a capture whose disk was too slow; it has their ``count``."""


_RECEIVED: Final = line_format("<")
_SENT: Final = line_format(">")
_DECIDED: Final = line_format("!")
_SIDES: Final[dict[bytes, Side]] = {_RECEIVED: "<", _SENT: ">", _DECIDED: "!"}

NotedMessage: TypeAlias = tuple[float, bytes, bytes | bytearray]
"""When, how its line is written, and the message."""


class KeptWire:
    """Notes each message of a call until it is written: a `CallFollower`.

    Noting one appends to a list. Everything else is done where the lines are taken, which may be in
    another thread.

    Args:
        head: describes the call.
        clock: the call's clock.
        redaction: takes out what must not be kept.

    """

    __slots__ = ("_began", "_clock", "_lost", "_notes", "_redaction", "ended", "full", "head")

    def __init__(self, head: CaptureHead, clock: Clock, redaction: WireRedaction) -> None:
        self.head = redaction.head(head)
        self._clock = clock
        self._redaction = redaction
        self._began = clock()
        self._notes: list[NotedMessage] = []
        self._lost = 0
        self.full = False
        """Whether messages are only counted, because too many wait to be written."""
        self.ended = False
        """Whether nothing follows."""

    def name(self, call: str) -> None:
        """Note the id of the call."""
        self.head = msgspec.structs.replace(self.head, call=call)

    # CallFollower

    def received(self, message: str | bytes | bytearray) -> None:
        """Note a message of the carrier's."""
        if self.full:
            self._lost += 1
        else:
            if isinstance(message, str):
                message = message.encode()
            self._notes.append((self._clock(), _RECEIVED, message))

    def sent(self, message: bytes) -> None:
        """Note a message to the carrier."""
        if self.full:
            self._lost += 1
        else:
            self._notes.append((self._clock(), _SENT, message))

    def decided(self, what: str, /, **details: object) -> None:
        """Note a decision."""
        if self.ended:
            return
        if self.full:
            self._lost += 1
        else:
            self._notes.append((self._clock(), _DECIDED, encode_decision(what, details)))

    def end(self, reason: str) -> None:
        """Note that the call is over. Nothing is noted after that."""
        seconds = round(self._clock() - self._began, 6)
        self.decided(CAPTURE_ENDED, reason=reason, seconds=seconds)
        self.ended = True

    # Where the lines are taken.

    @property
    def waiting(self) -> int:
        """Bytes of messages that wait to be written."""
        return sum(len(message) for _, _, message in self._notes)

    def take(self) -> list[NotedMessage]:
        """Take the messages that wait, and note new ones again if there were too many."""
        notes, self._notes = self._notes, []
        if self.full:
            self.full = False
            lost, self._lost = self._lost, 0
            if lost:
                self.decided(MESSAGES_LOST, count=lost)
        return notes

    def first_line(self) -> bytes:
        """Return the line that describes the call."""
        return encode_head(self.head)

    def lines(self, notes: list[NotedMessage]) -> bytes:
        """Return what was taken as lines, without what must not be kept."""
        began = self._began
        if not self._redaction:
            text = b"".join([line % (at - began, message) for at, line, message in notes])
            # Almost always: no message has a line break, or looks like one in base64.
            if text.count(b"\n") == len(notes) and b"\r" not in text and b"~" not in text:
                return text
        redact = self._redaction.message
        return b"".join(
            [
                encode_line(at - began, side, redact(side, bytes(message)))
                for at, line, message in notes
                for side in [_SIDES[line]]
            ]
        )
