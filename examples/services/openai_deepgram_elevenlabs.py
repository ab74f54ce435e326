"""A support desk: Deepgram hears, GPT thinks, ElevenLabs speaks; it says goodbye by itself.

    pip install ".[openai,deepgram,elevenlabs]"
    export OPENAI_API_KEY=… DEEPGRAM_API_KEY=… ELEVENLABS_API_KEY=…
    mediaserver serve examples.services.openai_deepgram_elevenlabs:Support

Of Plivo's examples, this is gpt4.1-deepgram-elevenlabs-vapi: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver.agents import TurnSettings, VoiceAgent
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.agents.services.openai.chat import OpenAIChat


class Support(SupportDesk, VoiceAgent):
    """Answers Lantern's support line."""

    speech_to_text = DeepgramRecognizer("nova-3", language="en")
    language_model = OpenAIChat("gpt-4.1", temperature=0.7)
    text_to_speech = ElevenLabsVoice("21m00Tcm4TlvDq8ikWAM", stability=0.5, similarity_boost=0.75)
    turn_taking = TurnSettings(end_of_turn=0.4)
    goodbye = "Thank you for calling Lantern. Goodbye."
