"""A local OpenAI to test against: its HTTP services here, its Realtime API in `realtime`.

Neither needs a key or a network. Both say what a script says, fail on request, and check what
clients send with the types of the ``openai`` package, in which no field may be left over.
"""

from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.openai.azure import AzureGate
from mediaserver.testing.openai.chat import ChatToolCall, says
from mediaserver.testing.openai.failures import fails
from mediaserver.testing.openai.requests import check_chat
from mediaserver.testing.openai.server import OpenAIServer
from mediaserver.testing.openai.speech import speaks
from mediaserver.testing.openai.transcription import hears
from mediaserver.testing.replies import At, Disconnect, Hold, HttpReply, event, streams


__all__ = [
    "At",
    "AzureGate",
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
