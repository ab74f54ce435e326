"""The messages of Sarvam's WebSocket for recognition, without I/O.

https://docs.sarvam.ai/api-reference/speech-to-text/transcribe/realtime/ws
"""

from __future__ import annotations

from base64 import b64encode
from typing import Final, TypeAlias

import msgspec

from mediaserver.agents.services.known_messages import KnownMessages


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

decode_saaras: Final = KnownMessages[SaarasMessage](SaarasMessage).decode


def audio_input(audio: bytes) -> str:
    """Return the message with a piece of audio."""
    return f'{{"event":"audio_input","audio":"{b64encode(audio).decode()}"}}'
