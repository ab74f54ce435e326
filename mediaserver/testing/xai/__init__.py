"""A local xAI to test against: its voice agent, and its voices. It needs no key and no network.

Both refuse whatever xAI's published protocols do not have.
"""

from mediaserver.testing.xai.realtime import XAIRealtimeServer
from mediaserver.testing.xai.voice import XAIVoiceServer


__all__ = ["XAIRealtimeServer", "XAIVoiceServer"]
