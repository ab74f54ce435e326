"""A restaurant's receptionist with three services: one hears, one thinks, one speaks.

    pip install ".[openai]"
    export OPENAI_API_KEY=sk-…
    mediaserver serve examples.receptionist:Receptionist
    mediaserver call ws://127.0.0.1:8000/stream --audio question.wav --after-greeting --silence 6

The same with one model that hears and speaks: receptionist_realtime.py.
"""

from datetime import date, time
from typing import Annotated, Any

from pydantic import Field

from mediaserver.agents import VoiceAgent, tool
from mediaserver.agents.services.openai.chat import OpenAIChat
from mediaserver.agents.services.openai.speech import OpenAISpeech
from mediaserver.agents.services.openai.transcription import OpenAITranscription


BOOKED: dict[tuple[date, time], str] = {}  # stands for the restaurant's own database
TIMES = (time(18), time(19, 30), time(21))


class Receptionist(VoiceAgent):
    """Takes bookings; the restaurant has one table at each time."""

    speech_to_text = OpenAITranscription()
    language_model = OpenAIChat("gpt-5.4-mini")
    text_to_speech = OpenAISpeech("marin")
    greeting = "Good evening, Rosa's restaurant. What can I do for you?"
    transfers = {"the kitchen": "https://rosas.example.com/kitchen.xml"}
    prompt = (
        "You answer the phone of Rosa's, a small restaurant. Speak in short sentences, one "
        "question at a time. Book tables only by the tools, and repeat day, time and name before "
        "you book. Questions about allergies go to the kitchen. When all is said, say goodbye and "
        "hang up."
    )

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.prompt += f" Today is {date.today():%A, %d %B %Y}."

    @tool(hold="One moment, let me look in the book.")
    async def free_times(self, day: date) -> list[time]:
        """Find the times at which a table is free on a day."""
        return [each for each in TIMES if (day, each) not in BOOKED]

    @tool
    async def book(
        self, day: date, at: time, name: str, people: Annotated[int, Field(ge=1, le=8)]
    ) -> str:
        """Book a table at one of the free times."""
        if at not in await self.free_times(day):
            return "That time is not free. Offer another."
        BOOKED[day, at] = f"{name}, {people}, {self.stream.caller or 'number withheld'}"
        return "Booked."
