"""Calls people to remind them of their appointments, and notes what they say.

    pip install ".[openai]"
    export OPENAI_API_KEY=sk-… MEDIASERVER_AUTH_ID=… MEDIASERVER_AUTH_TOKEN=…
    export MEDIASERVER_PUBLIC_URL=https://voice.example.com
    mediaserver dial +14155550199 --from +14155550100 --handler examples.reminder:Reminder

With ``--machine hangup`` it hangs up on answering machines. To call a list of people from code, use
`place_calls` (docs/plivo.md).
"""

import logging
from typing import Literal

from mediaserver.agents import VoiceAgent, tool
from mediaserver.agents.services.openai.chat import OpenAIChat
from mediaserver.agents.services.openai.speech import OpenAISpeech
from mediaserver.agents.services.openai.transcription import OpenAITranscription
from mediaserver.plivo import digits


log = logging.getLogger(__name__)

# Stands for the practice's own database: appointments by telephone number.
APPOINTMENTS = {"14155550199": "Thursday at a quarter past nine with Doctor Okafor"}


class Reminder(VoiceAgent):
    """Greets first, as a caller should, and hangs up when it has its answer."""

    speech_to_text = OpenAITranscription()
    language_model = OpenAIChat("gpt-5.4-mini")
    text_to_speech = OpenAISpeech("marin")
    silence_prompt = "Can you hear me?"

    async def on_start(self) -> None:
        """Look up the appointment of the person called, and greet them."""
        when = APPOINTMENTS.get(digits(self.stream.called or "") or "", "this week")
        self.greeting = (
            f"Hello, this is the practice on Mill Lane. You have an appointment on {when}. "
            "Will you be able to come?"
        )
        self.prompt = (
            f"You remind a patient of an appointment: {when}. Find out whether they will come, "
            "note it, thank them, say goodbye and hang up. You cannot give medical advice."
        )
        await super().on_start()

    @tool
    async def note(self, answer: Literal["will come", "cancels", "wants another time"]) -> str:
        """Note what the patient has decided."""
        log.info("%s: %s", self.stream.called, answer)
        return "Noted."
