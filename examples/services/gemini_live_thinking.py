"""A support desk with a Gemini Live model that thinks a little, and a line for each turn.

    pip install ".[gemini]"
    export GEMINI_API_KEY=…
    mediaserver serve examples.services.gemini_live_thinking:Support

Of Plivo's examples, this is gemini3.1flash-live-native: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver import Turn
from mediaserver.agents import RealtimeAgent
from mediaserver.agents.services.gemini.live import GeminiLive


class Support(SupportDesk, RealtimeAgent):
    """Answers Lantern's support line."""

    model = GeminiLive(
        voice="Kore",
        turn_detection={"prefixPaddingMs": 100, "silenceDurationMs": 500},
        session={"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}},
    )

    async def on_turn(self, turn: Turn) -> None:
        """Tell what was said, and how long the caller waited for the answer."""
        print(f"{turn.caller!r} → {turn.agent!r}, after {turn.audio_heard} s")
