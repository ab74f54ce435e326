"""The messages of Sarvam's WebSocket for recognition, without I/O.

https://docs.sarvam.ai/api-reference/speech-to-text/transcribe/realtime/ws
"""

from __future__ import annotations

from base64 import b64encode
from typing import Final, TypeAlias

import msgspec


class SaarasBegan(msgspec.Struct, tag_field="event", tag="session.begin"):
    """The session is open, and its settings are accepted."""


class SaarasPartial(msgspec.Struct, tag_field="event", tag="transcript.partial"):
    """What was understood of an utterance so far."""

    utterance_idx: int
    text: str


class SaarasFinal(msgspec.Struct, tag_field="event", tag="transcript.final"):
    """What was understood of an utterance that has ended."""

    utterance_idx: int
    text: str


class SaarasEnded(msgspec.Struct, tag_field="event", tag="session.end"):
    """Sarvam ends the session."""


class SaarasFailure(msgspec.Struct, tag_field="event", tag="error"):
    """Something was refused; if it is fatal, the session is of no more use."""

    is_fatal: bool
    code: str = ""
    message: str = ""
    status_code: int | None = None


SaarasMessage: TypeAlias = SaarasBegan | SaarasPartial | SaarasFinal | SaarasEnded | SaarasFailure

SPEECH_START: Final = '{"event":"speech_start"}'
SPEECH_END: Final = '{"event":"speech_end"}'
SAARAS_PING: Final = '{"event":"ping"}'
SAARAS_END: Final = '{"event":"end"}'


class _Kind(msgspec.Struct, gc=False):
    event: str


_KIND = msgspec.json.Decoder(_Kind)
_MESSAGE = msgspec.json.Decoder(SaarasMessage)
_KNOWN: Final = frozenset(
    {"session.begin", "transcript.partial", "transcript.final", "session.end", "error"}
)


def decode_saaras(message: bytes | str) -> SaarasMessage | None:
    """Return a message, or None if it is of no use to an agent.

    Raises:
        ValueError: it is not JSON, or a field is missing or wrong.

    """
    return _MESSAGE.decode(message) if _KIND.decode(message).event in _KNOWN else None


def audio_input(audio: bytes) -> str:
    """Return the message with a piece of audio."""
    return f'{{"event":"audio_input","audio":"{b64encode(audio).decode()}"}}'
