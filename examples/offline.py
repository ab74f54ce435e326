"""An agent that runs on this machine, without a key or a network. It understands five sentences.

    mediaserver serve examples.offline:TownHall
    mediaserver call ws://127.0.0.1:8000/stream --audio question.wav --after-greeting --silence 6

It needs `pip install '.[offline]'`. For a question.wav, at 8 kHz or more:

    python -c "from mediaserver.espeak import speak; from audiocodecs import write_wav; \
      clip = speak('When are you open today?'); write_wav('question.wav', clip.samples, clip.rate)"
"""

from datetime import date

from mediaserver.agents import VoiceAgent, tool
from mediaserver.agents.services.espeak import EspeakSpeech
from mediaserver.agents.services.pocketsphinx import PocketSphinxTranscription
from mediaserver.agents.services.scripted import Rule, ScriptedModel, Use


PHRASES = [
    "When are you open today?",
    "When are you open tomorrow?",
    "Where can I find you?",
    "I need a new passport.",
    "Thank you. Goodbye!",
]

MODEL = ScriptedModel(
    [
        Rule(r"open (?P<day>\w+)", use=Use("opening_hours", {"day": "{day}"})),
        Rule("where", "We are in the Market Square, opposite the fountain."),
        Rule("passport", "Bring your old one, a photograph, and forty minutes of your time."),
        Rule("goodbye", use=Use("hang_up")),
    ],
    otherwise="I can tell you when we are open, and where we are.",
)


class TownHall(VoiceAgent):
    """Answers a town hall's telephone."""

    greeting = "Town hall, good morning. What can I do for you?"
    speech_to_text = PocketSphinxTranscription(PHRASES)
    language_model = MODEL
    text_to_speech = EspeakSpeech("en-us+m7")

    @tool(hold="One moment, please.")
    async def opening_hours(self, day: str) -> str:
        """Tell when the town hall is open, today or tomorrow."""
        weekday = (date.today().weekday() + (day == "tomorrow")) % 7
        if weekday >= 5:
            return f"We are closed {day}, because it is a weekend."
        return f"We are open {day} from nine until five."
