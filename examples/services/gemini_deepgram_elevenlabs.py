"""A support desk: Deepgram hears, Gemini thinks, ElevenLabs speaks.

    pip install ".[deepgram,gemini,elevenlabs]"
    export DEEPGRAM_API_KEY=… GEMINI_API_KEY=… ELEVENLABS_API_KEY=…
    mediaserver serve examples.services.gemini_deepgram_elevenlabs:Support

Of Plivo's examples, this is gemini-deepgram-elevenlabs-native: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver.agents import VoiceAgent
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.agents.services.gemini.model import GeminiModel


class Support(SupportDesk, VoiceAgent):
    """Answers Lantern's support line."""

    speech_to_text = DeepgramRecognizer("nova-3", language="en-US")
    language_model = GeminiModel(temperature=0.7, max_output_tokens=256)
    text_to_speech = ElevenLabsVoice("21m00Tcm4TlvDq8ikWAM", stability=0.5, similarity_boost=0.75)
