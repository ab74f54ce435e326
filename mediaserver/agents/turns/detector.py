"""The protocol of voice detectors."""

from __future__ import annotations

from typing import Protocol

from mediaserver.call import Frame


class VoiceDetector(Protocol):
    """Hears a call's frames and says whether the caller speaks. Each call has its own."""

    def probability(self, frame: Frame) -> float:
        """Return how likely it is, from 0 to 1, that the caller speaks as of the end of `frame`.

        It is called with every frame of the call, in order. A frame may be of any length and any
        stream format, but the format stays the same throughout a call.
        """
        ...


class DetectorUnavailableError(ImportError):
    """A voice detector's packages are not installed; the message says how to install them."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(
            f"{what} needs the package {package}, which is not installed or of an unsuitable "
            "version: pip install '.[agents]'"
        )
