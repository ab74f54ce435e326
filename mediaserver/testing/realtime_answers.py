"""What the model answers, and what goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audiocodecs import AudioFormat, Samples


SECONDS_PER_WORD = 0.3


@dataclass(frozen=True, slots=True)
class CallTool:
    """A tool that an answer uses."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeAnswer:
    """One answer of the model, and what goes wrong meanwhile.

    Attributes:
        text: what it says.
        samples: how that sounds, int16 at the rate of the session; a hum of `SECONDS_PER_WORD` for
            each word if left out.
        calls: the tools that it uses after that.
        tokens: read, read from the cache, and written.
        failed: the code and message of the error with which the response ends.
        incomplete: why it is cut off: ``max_output_tokens`` or ``content_filter``.
        wait_at: after how many pieces of audio it waits for `go`.
        go: lets it go on; if never set, the model stalls.
        drop_at: after how many pieces of audio the connection breaks.
        insert_at: after how many pieces of audio `insert` is sent.
        insert: any message, such as a malformed event.
        unended: whether the message with which the model's turn ends never comes.

    """

    text: str = ""
    samples: Samples | None = None
    calls: Sequence[CallTool] = ()
    tokens: tuple[int, int, int] = (120, 80, 40)
    failed: tuple[str, str] | None = None
    incomplete: str | None = None
    wait_at: int | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    drop_at: int | None = None
    insert_at: int | None = None
    insert: str | bytes = ""
    unended: bool = False

    @property
    def speaks(self) -> bool:
        """Whether it says anything."""
        return bool(self.text) or self.samples is not None or self.wait_at is not None

    @property
    def words(self) -> list[str]:
        """The text in words, each with the space that follows it."""
        return re.findall(r"\S+\s*", self.text)

    def sound(self, wire: AudioFormat) -> bytes:
        """Return its audio in a format."""
        if self.samples is not None:
            return wire.encode(self.samples)
        times = np.arange(round(len(self.words) * SECONDS_PER_WORD * wire.rate)) / wire.rate
        return wire.encode((8000 * np.sin(2 * np.pi * 300 * times)).astype(np.int16))
