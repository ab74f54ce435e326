"""Turn-taking: when the caller speaks, interrupts and has finished.

Nothing here waits or looks at a clock: audio goes in, events come out.
"""

from mediaserver.agents.turns.cascade import CascadeDetector, default_detector, prewarm
from mediaserver.agents.turns.detector import DetectorUnavailableError, VoiceDetector
from mediaserver.agents.turns.level import LevelDetector
from mediaserver.agents.turns.settings import BACKCHANNELS, TurnSettings
from mediaserver.agents.turns.silero import SileroDetector
from mediaserver.agents.turns.turn_taker import (
    CallerSilent,
    SpeechConfirmed,
    SpeechDropped,
    SpeechStarted,
    TurnEnded,
    TurnEvent,
    TurnTaker,
)
from mediaserver.agents.turns.webrtc import WebrtcDetector


__all__ = [
    "BACKCHANNELS",
    "CallerSilent",
    "CascadeDetector",
    "DetectorUnavailableError",
    "LevelDetector",
    "SileroDetector",
    "SpeechConfirmed",
    "SpeechDropped",
    "SpeechStarted",
    "TurnEnded",
    "TurnEvent",
    "TurnSettings",
    "TurnTaker",
    "VoiceDetector",
    "WebrtcDetector",
    "default_detector",
    "prewarm",
]
