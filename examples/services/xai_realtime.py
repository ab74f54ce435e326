"""A support desk with xAI's voice agent: one model hears, thinks and speaks.

    pip install ".[xai]"
    export XAI_API_KEY=…
    mediaserver serve examples.services.xai_realtime:Support

Of Plivo's examples, this is grok-voice-native: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver.agents import RealtimeAgent
from mediaserver.agents.services.xai.realtime import XAIRealtime


class Support(SupportDesk, RealtimeAgent):
    """Answers Lantern's support line."""

    model = XAIRealtime(voice="sal")
