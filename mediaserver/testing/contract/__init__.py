"""Tests that any service must pass, also one of an author outside this project.

A test inherits from the class of the service's protocol, and says how to make the service::

    class TestMyVoice(VoiceContract):
        @asynccontextmanager
        async def opened(self):
            async with MyLocalServer(key=self.key) as server:
                yield MyVoice(api_key=self.key, base_url=server.url)

pytest runs the inherited tests, and needs no plugin for it: each runs in an event loop of its own.
"""

from mediaserver.testing.contract.language_model import LanguageModelContract
from mediaserver.testing.contract.realtime_model import RealtimeModelContract
from mediaserver.testing.contract.recognizer import RecognizerContract
from mediaserver.testing.contract.service import ServiceContract
from mediaserver.testing.contract.speech_to_text import SpeechToTextContract
from mediaserver.testing.contract.text_to_speech import TextToSpeechContract
from mediaserver.testing.contract.voice import VoiceContract


__all__ = [
    "LanguageModelContract",
    "RealtimeModelContract",
    "RecognizerContract",
    "ServiceContract",
    "SpeechToTextContract",
    "TextToSpeechContract",
    "VoiceContract",
]
