"""A support desk with Gemini Live. Silero decides here when the caller speaks.

    pip install ".[gemini]"
    export GEMINI_API_KEY=…
    mediaserver serve examples.services.gemini_live_silero:Support

Of Plivo's examples, this is gemini-live-native: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver.agents import RealtimeAgent, TurnSettings
from mediaserver.agents.services.gemini.live import GeminiLive
from mediaserver.agents.turns import SileroDetector


class Support(SupportDesk, RealtimeAgent):
    """Answers Lantern's support line."""

    model = GeminiLive(voice="Kore")
    voice_detector = SileroDetector
    turn_taking = TurnSettings(end_of_turn=0.5, start_above=0.5, preroll=0.15)
