"""The wire of one live call, on its way to a file."""

from __future__ import annotations

from typing import Final

import msgspec

from mediaserver.call import Clock
from mediaserver.captures.capture_lines import (
    CAPTURE_ENDED,
    CAPTURE_FULL,
    ENCODED,
    CaptureHead,
    decode_lines,
    encode_decision,
    encode_head,
    encode_line,
    encoded,
)
from mediaserver.captures.wire_redaction import WireRedaction


MESSAGES_LOST: Final = "messages lost"
"""The decision in a capture whose disk was too slow; it has their ``count``."""


_LINE_BREAK: Final = 10


class KeptWire:
    """Notes each message of a call until it is written: a `CallFollower`.

    A message becomes a line at once, at the end of the text that waits: so nothing is kept of it
    but that, and nothing is done for each message once more. The text is compressed, and what must
    not be kept is taken out, in another thread.

    Args:
        head: describes the call.
        clock: the call's clock.
        redaction: takes out what must not be kept.

    """

    __slots__ = ("_began", "_clock", "_lost", "_redaction", "_text", "ended", "full", "head")

    def __init__(self, head: CaptureHead, clock: Clock, redaction: WireRedaction) -> None:
        self.head = redaction.head(head)
        self._clock = clock
        self._redaction = redaction
        self._began = clock()
        self._text = bytearray()
        self._lost = 0
        self.full = False
        """Whether messages are only counted: too many wait to be written, or nothing follows."""
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
            return
        if isinstance(message, str):
            message = message.encode()
        if _LINE_BREAK in message or message[:1] == ENCODED:
            message = encoded(message)
        self._text += b"%.6f < %s\n" % (self._clock() - self._began, message)

    def received_binary(self, message: bytes) -> None:
        """Note a binary message of the carrier's."""
        if self.full:
            self._lost += 1
        else:
            at = self._clock() - self._began
            self._text += encode_line(at, "<", message, binary=True)

    def sent(self, message: bytes) -> None:
        """Note a message to the carrier, which is JSON in one line."""
        if self.full:
            self._lost += 1
        else:
            self._text += b"%.6f > %s\n" % (self._clock() - self._began, message)

    def decided(self, what: str, /, **details: object) -> None:
        """Note a decision."""
        if self.ended:
            return
        if self.full:
            self._lost += 1
        else:
            self._decide(what, **details)

    def end(self, reason: str) -> None:
        """Note that the call is over, however much waits. Nothing is noted after that."""
        if self.ended:
            return
        self._tell_lost()
        self._decide(CAPTURE_ENDED, reason=reason, seconds=round(self._clock() - self._began, 6))
        self.ended = self.full = True

    # Where the text is taken.

    @property
    def waiting(self) -> int:
        """Bytes of text that wait to be written."""
        return len(self._text)

    def take(self) -> bytearray:
        """Take the text that waits, and note messages again if there were too many."""
        text, self._text = self._text, bytearray()
        if not self.ended:
            self.full = False
            self._tell_lost()
        return text

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            self._decide(MESSAGES_LOST, count=lost)

    def _decide(self, what: str, /, **details: object) -> None:
        message = encode_decision(what, details)
        self._text += b"%.6f ! %s\n" % (self._clock() - self._began, message)

    def first_line(self) -> bytes:
        """Return the line that describes the call."""
        return encode_head(self.head)

    def last_line(self) -> bytes:
        """Return the line that ends a capture before its call."""
        at = self._clock() - self._began
        return encode_line(at, "!", encode_decision(CAPTURE_FULL, {}))

    def redacted(self, text: bytes | bytearray) -> bytes | bytearray:
        """Return text that was taken without what must not be kept."""
        if not self._redaction:
            return text
        redact = self._redaction.message
        return b"".join(
            encode_line(line.at, line.side, redact(line.side, line.message), binary=line.binary)
            for line in decode_lines(bytes(text))
        )
