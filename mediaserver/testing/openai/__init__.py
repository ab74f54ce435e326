"""A local OpenAI to test against: its HTTP services here, its Realtime API in `realtime`.

Neither needs a key or a network. Both say what a script says, fail on request, and check what
clients send with the types of the ``openai`` package, in which no field may be left over.
"""

from mediaserver.testing.openai.chat import ChatToolCall, says
from mediaserver.testing.openai.replies import (
    At,
    Disconnect,
    Hold,
    HttpReply,
    event,
    fails,
    streams,
)
from mediaserver.testing.openai.requests import RefusedError, check_chat
from mediaserver.testing.openai.server import OpenAIServer
from mediaserver.testing.openai.speech import speaks
from mediaserver.testing.openai.transcription import hears


__all__ = [
    "At",
    "ChatToolCall",
    "Disconnect",
    "Hold",
    "HttpReply",
    "OpenAIServer",
    "RefusedError",
    "check_chat",
    "event",
    "fails",
    "hears",
    "says",
    "speaks",
    "streams",
]
