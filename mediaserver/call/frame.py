"""One piece of received audio."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from audiocodecs import AudioFormat


class Frame(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Audio as received, usually 20 ms.

    The payload is decoded only on access to `samples`, so that a handler that passes mu-law on to a
    service that takes mu-law never transcodes.
    """

    payload: bytes
    """The audio in the stream's format."""
    format: AudioFormat
    track: str = "inbound"
    """``inbound`` is what the caller says, ``outbound`` what they hear."""
    timestamp: int | None = None
    """Milliseconds on Plivo's clock. Only differences are meaningful."""
    chunk: int | None = None
    """Plivo's count of this track's frames."""

    @property
    def samples(self) -> NDArray[np.int16]:
        """The audio as int16 samples at ``format.rate``; decoded at every access."""
        return self.format.decode(self.payload)

    @property
    def seconds(self) -> float:
        """Duration of the audio in seconds."""
        return len(self.payload) / self.format.bytes_per_second

    def __rich_repr__(self) -> Any:
        yield "track", self.track
        yield "seconds", self.seconds
        yield "chunk", self.chunk
