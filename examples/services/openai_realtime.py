"""A support desk with OpenAI's Realtime API: one model hears, thinks and speaks.

    pip install ".[openai]"
    export OPENAI_API_KEY=…
    mediaserver serve examples.services.openai_realtime:Support

Of Plivo's examples, this is gpt-realtime-native: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver.agents import RealtimeAgent
from mediaserver.agents.services.openai.realtime import OpenAIRealtime


class Support(SupportDesk, RealtimeAgent):
    """Answers Lantern's support line."""

    model = OpenAIRealtime(model="gpt-realtime-1.5", voice="alloy")
