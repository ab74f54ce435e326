"""The messages of Sarvam's WebSocket for text to speech, without I/O.

https://docs.sarvam.ai/api-reference/text-to-speech/stream
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from mediaserver.agents.services.known_messages import KnownMessages


class _Audio(msgspec.Struct):
    audio: bytes


class _Event(msgspec.Struct):
    event_type: str


class _Failure(msgspec.Struct):
    message: str = ""
    code: int | None = None


class BulbulAudio(msgspec.Struct, tag_field="type", tag="audio"):
    """A piece of audio."""

    data: _Audio


class BulbulEvent(msgspec.Struct, tag_field="type", tag="event"):
    """Something has happened; ``final`` says that all text was spoken."""

    data: _Event

    @property
    def final(self) -> bool:
        """Whether it answers a flush."""
        return self.data.event_type == "final"


class BulbulFailure(msgspec.Struct, tag_field="type", tag="error"):
    """Something was refused, or has failed."""

    data: _Failure

    @property
    def status(self) -> int | None:
        """The HTTP status, if there is one."""
        code = self.data.code
        return code if code is not None and 400 <= code < 600 else None


BulbulMessage: TypeAlias = BulbulAudio | BulbulEvent | BulbulFailure

BULBUL_FLUSH: Final = '{"type":"flush"}'
BULBUL_PING: Final = '{"type":"ping"}'

decode_bulbul: Final = KnownMessages[BulbulMessage](BulbulMessage).decode


def bulbul_config(settings: Mapping[str, Any]) -> str:
    """Return the message that comes first."""
    return msgspec.json.encode({"type": "config", "data": settings}).decode()


def bulbul_text(text: str) -> str:
    """Return the message with more text."""
    return msgspec.json.encode({"type": "text", "data": {"text": text}}).decode()
