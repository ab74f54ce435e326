"""A support desk: Deepgram hears, GPT thinks, and a voice of OpenAI's speaks as it is told to.

    pip install ".[openai,deepgram]"
    export OPENAI_API_KEY=… DEEPGRAM_API_KEY=…
    mediaserver serve examples.services.openai_deepgram:Support

Of Plivo's examples, this is gpt4o-deepgram-openaitts-pipecat: docs/services.md says what differs.
"""

from examples.services.support_desk import SupportDesk
from mediaserver.agents import VoiceAgent
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.agents.services.openai.chat import OpenAIChat
from mediaserver.agents.services.openai.speech import OpenAISpeech


class Support(SupportDesk, VoiceAgent):
    """Answers Lantern's support line."""

    speech_to_text = DeepgramRecognizer("nova-3")
    language_model = OpenAIChat("gpt-4o-mini")
    text_to_speech = OpenAISpeech("alloy", instructions="Sound warm, helpful and unhurried.")
