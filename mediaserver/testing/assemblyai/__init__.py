"""A local AssemblyAI to test against: its streaming recognition. It needs no key and no network.

It hears that somebody speaks, and understands what a script says. It refuses parameters, fields and
messages that AssemblyAI's published protocol does not have; AssemblyAI itself ignores parameters
that it does not know.
"""

from mediaserver.testing.assemblyai.schema import (
    read_assemblyai_message,
    read_assemblyai_query,
    read_token_query,
)
from mediaserver.testing.assemblyai.server import AssemblyAIServer


__all__ = [
    "AssemblyAIServer",
    "read_assemblyai_message",
    "read_assemblyai_query",
    "read_token_query",
]
