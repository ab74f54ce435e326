"""A local Gemini to test against: its language models over HTTP, and its Live API.

Neither needs a key or a network. Both say what a script says, fail on request, and refuse what
Google's published types do not have: unknown fields, wrong types and values outside enums.
"""

from mediaserver.testing.gemini.answers import GeminiToolCall, answers, refuses
from mediaserver.testing.gemini.live_server import GeminiLiveServer
from mediaserver.testing.gemini.server import GeminiServer


__all__ = ["GeminiLiveServer", "GeminiServer", "GeminiToolCall", "answers", "refuses"]
