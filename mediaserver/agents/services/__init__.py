"""The services with which agents hear, think and speak.

This module has the protocols. Each service is a module of its own, to be imported by name, because
it needs packages that only its users have installed.
"""

from mediaserver.agents.services.checked import Checked
from mediaserver.agents.services.errors import (
    MisconfiguredServiceError,
    NoAnswerError,
    ServiceError,
)
from mediaserver.agents.services.language_model import (
    LanguageModel,
    Message,
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.agents.services.prewarmed import Prewarmed
from mediaserver.agents.services.realtime import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
    RealtimeEvent,
    RealtimeModel,
    RealtimeSession,
    ResponseDone,
    Speech,
    SpokenText,
    Transcribing,
    Updatable,
)
from mediaserver.agents.services.recognizer import (
    CallerGoesOn,
    CallerMayHaveFinished,
    RecognizedWord,
    RecognizedWords,
    Recognizer,
    RecognizerEvent,
    RecognizerSession,
    SendsPieces,
    WordsComplete,
)
from mediaserver.agents.services.speech_to_text import SpeechToText, Transcript
from mediaserver.agents.services.text_to_speech import TextToSpeech, WordMark
from mediaserver.agents.services.voice import Voice, VoiceContext, VoiceSession


__all__ = [
    "CallerFinished",
    "CallerGoesOn",
    "CallerMayHaveFinished",
    "CallerSpeaks",
    "CallerText",
    "Checked",
    "LanguageModel",
    "Message",
    "MisconfiguredServiceError",
    "NoAnswerError",
    "Prewarmed",
    "RealtimeEvent",
    "RealtimeModel",
    "RealtimeSession",
    "RecognizedWord",
    "RecognizedWords",
    "Recognizer",
    "RecognizerEvent",
    "RecognizerSession",
    "ResponseDone",
    "SendsPieces",
    "ServiceError",
    "Speech",
    "SpeechToText",
    "SpokenText",
    "Text",
    "TextToSpeech",
    "Tokens",
    "ToolCall",
    "ToolResult",
    "ToolSpec",
    "Transcribing",
    "Transcript",
    "Updatable",
    "Voice",
    "VoiceContext",
    "VoiceSession",
    "WordMark",
    "WordsComplete",
]
