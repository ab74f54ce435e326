"""Reads the data of server-sent events, as models' answers use them; without I/O.

The rules are those of the HTML standard's event streams, with two exceptions: a lone CR does not
end a line, and the last event counts even without a blank line after it.
"""

from __future__ import annotations

from typing import Final


DONE: Final = b"[DONE]"
"""The data of the event that ends an answer in OpenAI's protocol."""


class EventStream:
    """Takes bytes in pieces of any length, and returns the data of each event."""

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
        """Return the data of an event that has no blank line after it."""
        return self.feed(b"\n\n")

    def _field(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
