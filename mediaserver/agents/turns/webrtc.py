"""Voice by the detector of WebRTC: about a microsecond a frame, and easily taken in by noise."""

from __future__ import annotations

from typing import Any, Final

from mediaserver.agents.turns.blocks import Blocks
from mediaserver.agents.turns.detector import DetectorUnavailableError
from mediaserver.call import Frame


_BLOCK: Final = 160  # samples at 8 kHz: 20 ms


class WebrtcDetector:
    """Says 0 or 1 for each 20 ms, by the energies in six bands.

    Args:
        aggressiveness: 0 to 3: how strict it is; at 3, the least counts as speech.

    Raises:
        DetectorUnavailableError: The package webrtcvad-wheels is not installed.
        ValueError: The aggressiveness is not 0 to 3.

    """

    def __init__(self, aggressiveness: int = 2) -> None:
        if aggressiveness not in range(4):
            raise ValueError(f"aggressiveness must be 0, 1, 2 or 3, not {aggressiveness!r}")
        self._is_speech = _new(aggressiveness).is_speech
        self._blocks = Blocks(_BLOCK)
        self._probability = 0.0

    def probability(self, frame: Frame) -> float:
        """Return 1.0 if the last 20 ms were speech, otherwise 0.0."""
        for block in self._blocks.push(frame):
            self._probability = float(self._is_speech(block.tobytes(), self._blocks.rate))
        return self._probability


def _new(aggressiveness: int) -> Any:
    try:
        import webrtcvad
    except ImportError as error:
        raise DetectorUnavailableError("WebrtcDetector", "webrtcvad-wheels") from error
    return webrtcvad.Vad(aggressiveness)
