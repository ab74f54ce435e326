"""Server-sent events, as far as models' answers need them: the data, without I/O.

The rules are those of the HTML standard's event streams, but that a lone CR ends no line, and that
a last event counts although no blank line follows it.
"""

from __future__ import annotations

from typing import Final


DONE: Final = b"[DONE]"
"""The data of the event that ends an answer of OpenAI's family."""


class EventStream:
    """Takes bytes in any pieces, gives the data of each event."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> list[bytes]:
        """Return the data of the events that end in `received`."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        events = []
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if line:
                self._field(line)
            elif self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
        return events

    def end(self) -> list[bytes]:
        """Return the data of an event that was cut off after its last line."""
        return self.feed(b"\n\n")

    def _field(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
