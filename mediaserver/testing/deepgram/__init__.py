"""A local Deepgram to test against: Nova, Flux and Aura. It needs no key and no network.

It hears that somebody speaks, and understands what a script says. It refuses settings, fields and
messages that Deepgram's published protocols do not have.
"""

from mediaserver.testing.deepgram.schema import read_message, read_query
from mediaserver.testing.deepgram.server import DeepgramFault, DeepgramServer


__all__ = ["DeepgramFault", "DeepgramServer", "read_message", "read_query"]
