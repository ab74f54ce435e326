"""One piece of received audio."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from audiocodecs import AudioFormat


class Frame(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Audio as it came off the wire, usually 20 ms of it.

    The payload is decoded only when `samples` is asked for, so that a handler which passes mu-law
    on to a service that speaks mu-law never transcodes.
    """

    payload: bytes
    """The audio in the stream's format."""
    format: AudioFormat
    track: str = "inbound"
    """``inbound`` is the caller, ``outbound`` what the caller hears."""
    timestamp: int | None = None
    """Milliseconds on Plivo's clock. Only differences mean something."""
    chunk: int | None = None
    """Plivo's count of this track's frames."""

    @property
    def samples(self) -> NDArray[np.int16]:
        """The audio as int16 samples at ``format.rate``, decoded anew at each call."""
        return self.format.decode(self.payload)

    @property
    def seconds(self) -> float:
        """How long the audio lasts."""
        return len(self.payload) / self.format.bytes_per_second

    def __rich_repr__(self) -> Any:
        yield "track", self.track
        yield "seconds", self.seconds
        yield "chunk", self.chunk
