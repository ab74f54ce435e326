"""OpenAI's Realtime API on this machine, for tests: the model says what a script says."""

from mediaserver.testing.openai.realtime.client_events import JsonDict
from mediaserver.testing.openai.realtime.server import OpenAIRealtimeServer
from mediaserver.testing.openai.realtime.session import ServedSession
from mediaserver.testing.openai.realtime.transcription import OpenAITranscriptionServer
from mediaserver.testing.realtime_answers import CallTool, RealtimeAnswer


__all__ = [
    "CallTool",
    "JsonDict",
    "OpenAIRealtimeServer",
    "OpenAITranscriptionServer",
    "RealtimeAnswer",
    "ServedSession",
]
