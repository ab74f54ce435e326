"""The wire of one live call, on its way to a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from sys import getsizeof
from typing import Any, Final, TypeAlias

import msgspec

from mediaserver.call import Clock
from mediaserver.captures.capture_lines import (
    CAPTURE_ENDED,
    CAPTURE_FULL,
    ENCODED,
    CaptureHead,
    Side,
    encode_decision,
    encode_head,
    encode_line,
)
from mediaserver.captures.wire_redaction import WireRedaction


MESSAGES_LOST: Final = "messages lost"
"""The decision in a capture whose disk was too slow; it has their ``count``."""


# Where a message went, as it is written.
_FROM: Final = b"<"
_TO: Final = b">"
_DECIDED: Final = b"!"
_BINARY: Final = b"< binary"

Noted: TypeAlias = list[Any]
"""Messages, as three elements each: when it passed, on the call's clock; where it went; itself."""


class KeptWire:
    """Notes each message of a call until it is written: a `CallFollower`.

    The event loop only notes when a message passed, and which. Another thread makes lines of what
    was noted, and takes out what must not be kept.

    Args:
        head: describes the call.
        clock: the call's clock.
        redaction: takes out what must not be kept.

    """

    __slots__ = (
        "_began",
        "_clock",
        "_has_binary",
        "_lost",
        "_noted",
        "_redaction",
        "ended",
        "full",
        "head",
    )

    def __init__(self, head: CaptureHead, clock: Clock, redaction: WireRedaction) -> None:
        self.head = redaction.head(head)
        self._clock = clock
        self._redaction = redaction
        self._began = clock()
        self._noted: Noted = []
        self._has_binary = False
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
        if type(message) is not bytes:
            message = message.encode() if isinstance(message, str) else bytes(message)
        # One list without tuples: they would stay alive, and the garbage collector look at each.
        self._noted.extend((self._clock(), _FROM, message))

    def received_binary(self, message: bytes) -> None:
        """Note a binary message of the carrier's."""
        if self.full:
            self._lost += 1
        else:
            self._has_binary = True
            self._noted.extend((self._clock(), _BINARY, message))

    def sent(self, message: bytes) -> None:
        """Note a message to the carrier, which is JSON in one line."""
        if self.full:
            self._lost += 1
        else:
            self._noted.extend((self._clock(), _TO, message))

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

    # Where it is taken.

    @property
    def waiting(self) -> int:
        """Bytes of memory that messages take until they are written."""
        return sum(map(getsizeof, self._noted))

    def take(self) -> Noted:
        """Take what waits, and note messages again if there were too many."""
        noted, self._noted = self._noted, []
        if not self.ended:
            self.full = False
            self._tell_lost()
        return noted

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            self._decide(MESSAGES_LOST, count=lost)

    def _decide(self, what: str, /, **details: object) -> None:
        self._noted.extend((self._clock(), _DECIDED, encode_decision(what, details)))

    def first_line(self) -> bytes:
        """Return the line that describes the call."""
        return encode_head(self.head)

    def last_line(self) -> bytes:
        """Return the line that ends a capture before its call."""
        at = self._clock() - self._began
        return encode_line(at, "!", encode_decision(CAPTURE_FULL, {}))

    def lines(self, noted: Noted) -> bytes:
        """Return the lines of what was taken, without what must not be kept."""
        began, redact = self._began, self._redaction.message
        # One look at all messages costs less than one at each.
        looked_at = b"".join(noted[2::3])
        is_usual = not self._has_binary and b"\n" not in looked_at and ENCODED not in looked_at
        if is_usual and not self._redaction:
            # One formatting of all costs less than one of each.
            lines = noted.copy()
            lines[::3] = [at - began for at in noted[::3]]
            return b"%.6f %b %b\n" * (len(lines) // 3) % tuple(lines)
        return b"".join(
            encode_line(at - began, side, redact(side, message), binary=to is _BINARY)
            for at, to, message in _each(noted)
            for side in [_SIDES[to]]
        )


_SIDES: Final[Mapping[bytes, Side]] = {_FROM: "<", _BINARY: "<", _TO: ">", _DECIDED: "!"}


def _each(noted: Noted) -> Iterator[tuple[float, bytes, bytes]]:
    """Return the messages one by one."""
    elements = iter(noted)
    return zip(elements, elements, elements, strict=True)


def bytes_of(noted: Noted) -> int:
    """Return how many bytes of messages were noted."""
    return sum(map(len, noted[2::3]))
