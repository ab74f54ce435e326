"""Seven companions, by path: Deepgram hears in ten languages, Gemini thinks, xAI speaks.

    pip install ".[gemini,deepgram,xai]"
    export GEMINI_API_KEY=… DEEPGRAM_API_KEY=… XAI_API_KEY=…
    mediaserver serve examples.services.gemini_deepgram_xai:ROUTES
    mediaserver call ws://127.0.0.1:8000/travel --audio question.wav --after-greeting --silence 6

Of Plivo's examples, this is gemini-deepgram-groktts-pipecat: docs/services.md says what differs.
"""

from typing import Any

from mediaserver import Route, Routes
from mediaserver.agents import VoiceAgent, tool
from mediaserver.agents.services.deepgram.flux import FluxRecognizer
from mediaserver.agents.services.gemini.model import GeminiModel
from mediaserver.agents.services.xai.voice import XAIVoice


MARKS = ("[laugh]", "[sigh]", "[pause]", "<whisper>", "</whisper>")
FACTS = {"lisbon": "It lies on seven hills, and yellow trams climb them."}  # stands for a library


class Companion(VoiceAgent):
    """Plays the part that its route gives it."""

    part: str = "tell stories, and keep the end to the last"
    greeting = "Good evening, I am Ara. What shall I tell you a story about?"
    speech_to_text = FluxRecognizer("flux-general-multi")
    language_model = GeminiModel()
    text_to_speech = XAIVoice("ara")
    speech_tags = MARKS

    async def on_start(self) -> None:
        """Tell the model its part."""
        self.prompt = f"On the telephone, in two or three sentences at a time, you {self.part}."
        await super().on_start()

    @tool(hold="Let me think.")
    async def look_up(self, subject: str) -> str:
        """Look up what there is to tell of a place or an event."""
        return FACTS.get(subject.lower(), "Nothing is known of it.")


def played_by(voice: str, part: str, greeting: str) -> dict[str, Any]:
    return {"text_to_speech": XAIVoice(voice), "part": part, "greeting": greeting}


ROUTES = Routes(
    Route(Companion),
    Route(Companion, "/listen", settings=played_by("eve", "listen and console", "Eve. Tell me.")),
    Route(Companion, "/travel", settings=played_by("rex", "love every place", "Rex! Where to?")),
    Route(Companion, "/chat", settings=played_by("sal", "joke with a friend", "Sal. Any news?")),
    Route(Companion, "/news", settings=played_by("leo", "read the news", "Leo. Which news?")),
    Route(Companion, "/talk", settings=played_by("ara", "speak any language", "Hello. ¿Hola?")),
    Route(Companion, "/act", settings=played_by("ara", f"act, with {MARKS}", "[sigh] It is you!")),
)
