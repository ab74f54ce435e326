"""A support desk: Deepgram hears, GPT thinks, xAI speaks.

    pip install ".[openai,deepgram,xai]"
    export OPENAI_API_KEY=… DEEPGRAM_API_KEY=… XAI_API_KEY=…
    mediaserver serve examples.services.openai_deepgram_xai:Support

Of Plivo's examples, this is gpt5.4mini-deepgram-groktts-native: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver.agents import VoiceAgent
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.agents.services.openai.chat import OpenAIChat
from mediaserver.agents.services.xai.voice import XAIVoice


class Support(SupportDesk, VoiceAgent):
    """Answers Lantern's support line."""

    speech_to_text = DeepgramRecognizer("nova-3", language="en-US")
    language_model = OpenAIChat("gpt-5.4-mini")
    text_to_speech = XAIVoice("eve", language="en")
