"""What is odd about one stream, for the log: each kind once, and at the end how often."""

from __future__ import annotations

from typing import Protocol


class NoticeWriter(Protocol):
    """Writes a line of the log: a fixed text, which names its kind, and details."""

    def __call__(self, text: str, /, **details: str | int) -> object:
        """Write it."""


class Notices:
    """Keeps a peer that repeats itself from filling the log.

    Args:
        tell: writes a line of the log.

    """

    __slots__ = ("_repeated", "_tell")

    def __init__(self, tell: NoticeWriter) -> None:
        self._tell = tell
        # How often each kind came again after its first line.
        self._repeated: dict[str, int] = {}

    def note(self, text: str, /, **details: str | int) -> None:
        """Write a line the first time that this text comes; count it from then on."""
        if text in self._repeated:
            self._repeated[text] += 1
        else:
            self._repeated[text] = 0
            self._tell(text, **details)

    def end(self) -> None:
        """Write how often each kind was repeated, and forget it; then write nothing more."""
        tell, self._tell = self._tell, _tell_nobody
        repeated, self._repeated = self._repeated, {}
        for text, times in repeated.items():
            if times:
                tell(text, repeated=times)


def _tell_nobody(text: str, /, **details: str | int) -> None:
    pass
