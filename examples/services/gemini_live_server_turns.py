"""A support desk with Gemini Live, which itself decides when the caller has finished.

    pip install ".[gemini]"
    export GEMINI_API_KEY=…
    mediaserver serve examples.services.gemini_live_server_turns:Support

Of Plivo's examples, this is gemini-live-native-no-vad: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver.agents import RealtimeAgent
from mediaserver.agents.services.gemini.live import GeminiLive


class Support(SupportDesk, RealtimeAgent):
    """Answers Lantern's support line."""

    model = GeminiLive(voice="Kore", turn_detection={})
