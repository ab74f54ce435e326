"""A support desk for India: Sarvam hears, GPT thinks, ElevenLabs speaks.

    pip install ".[openai,sarvam,elevenlabs]"
    export OPENAI_API_KEY=… SARVAM_API_KEY=… ELEVENLABS_API_KEY=…
    mediaserver serve examples.services.openai_sarvam_elevenlabs:Support

Plivo's is gpt4.1mini-sarvam-elevenlabs-native: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver.agents import VoiceAgent
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.agents.services.openai.chat import OpenAIChat
from mediaserver.agents.services.sarvam.recognizer import SarvamRecognizer


class Support(SupportDesk, VoiceAgent):
    """Answers Lantern's support line."""

    speech_to_text = SarvamRecognizer("en-IN")
    language_model = OpenAIChat("gpt-4.1-mini")
    text_to_speech = ElevenLabsVoice("21m00Tcm4TlvDq8ikWAM", stability=0.5, similarity_boost=0.8)
