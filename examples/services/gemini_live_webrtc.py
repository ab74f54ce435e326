"""A support desk with Gemini Live. WebRTC's detector decides here when the caller speaks.

    pip install ".[gemini]"
    export GEMINI_API_KEY=…
    mediaserver serve examples.services.gemini_live_webrtc:Support

Of Plivo's examples, this is gemini-live-native-webrtcvad: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver.agents import RealtimeAgent, TurnSettings
from mediaserver.agents.services.gemini.live import GeminiLive
from mediaserver.agents.turns import WebrtcDetector


class Support(SupportDesk, RealtimeAgent):
    """Answers Lantern's support line."""

    model = GeminiLive(voice="Kore")
    voice_detector = WebrtcDetector
    turn_taking = TurnSettings(end_of_turn=0.5, onset=0.04)
