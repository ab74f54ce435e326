"""A quick model talks with leads, a thorough one does the work. Deepgram hears, ElevenLabs speaks.

    pip install ".[openai,deepgram,elevenlabs]"
    export OPENAI_API_KEY=… DEEPGRAM_API_KEY=… ELEVENLABS_API_KEY=…
    mediaserver serve examples.services.openai_two_models:Sales

Plivo's is gpt4.1mini-gpt4.1-deepgram-elevenlabs-native: docs/services.md says what differs.
"""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from mediaserver.agents import VoiceAgent, tool
from mediaserver.agents.services.deepgram.flux import FluxRecognizer
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.agents.services.openai.chat import OpenAIChat


LEADS = {"ann@example.com": "Ann Lee, Mill Lane Bakery"}  # stands for the systems of a company


async def find_lead(email: str) -> str:
    """Find out who somebody is, by their address."""
    return LEADS.get(email, "Unknown.")


async def note_lead(email: str, notes: str, score: Annotated[int, Field(ge=0, le=100)]) -> str:
    """Note what a lead needs, can spend, may decide and by when, and how promising that is."""
    LEADS[email] = f"{LEADS.get(email, email)}: {notes} ({score})"
    return "Noted, and the sales team was told."


async def book_demo(email: str, at: datetime) -> str:
    """Book a demonstration."""
    return f"Booked for {at:%c}; the invitation went to {email}."


class Sales(VoiceAgent):
    """Finds out what a caller needs. The other model uses the systems meanwhile."""

    speech_to_text = FluxRecognizer(eot_timeout=3.0)
    language_model = OpenAIChat("gpt-4.1-mini")
    thinker: OpenAIChat = OpenAIChat("gpt-4.1")
    text_to_speech = ElevenLabsVoice("21m00Tcm4TlvDq8ikWAM")
    greeting = "Lantern sales, hello! What would you like your rosters to do?"
    prompt = "In a sentence or two, find out need, budget, authority and time. Delegate the rest."

    @tool(hold="One moment, please.", timeout=60.0)
    async def delegate_task(self, task: str) -> str:
        """Have a colleague look a lead up, note one, or book a demonstration."""
        prompt = f"Do the task with the tools, and report in one sentence. It is {datetime.now()}."
        return await self.delegate(
            task, self.thinker, prompt=prompt, tools=[find_lead, note_lead, book_demo]
        )
