"""A support desk: Deepgram hears, Gemini thinks, Cartesia speaks.

    pip install ".[deepgram,gemini,cartesia]"
    export DEEPGRAM_API_KEY=… GEMINI_API_KEY=… CARTESIA_API_KEY=…
    mediaserver serve examples.services.gemini_deepgram_cartesia:Support

Of Plivo's examples, this is gemini-deepgram-cartesia-native: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver.agents import VoiceAgent
from mediaserver.agents.services.cartesia.voice import CartesiaVoice
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.agents.services.gemini.model import GeminiModel


class Support(SupportDesk, VoiceAgent):
    """Answers Lantern's support line."""

    speech_to_text = DeepgramRecognizer("nova-3", language="en-US")
    language_model = GeminiModel(temperature=0.7, max_output_tokens=256)
    text_to_speech = CartesiaVoice("a0e99841-438c-4a64-b679-ae501e7d6091", language="en")
