"""The messages of Cartesia's WebSockets for recognition, without I/O.

https://docs.cartesia.ai/api-reference/stt/websocket and
https://docs.cartesia.ai/api-reference/stt/turns/websocket
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from mediaserver.agents.services.known_messages import KnownMessages


class InkTranscript(msgspec.Struct, tag_field="type", tag="transcript"):
    """What was understood since the last final text. White space at its ends belongs to it."""

    text: str
    is_final: bool


class InkFlushed(msgspec.Struct, tag_field="type", tag="flush_done"):
    """All audio before a ``finalize`` was understood."""


class InkTurnStarted(msgspec.Struct, tag_field="type", tag="turn.start"):
    """The caller has begun."""


class InkTurnUpdated(msgspec.Struct, tag_field="type", tag="turn.update"):
    """What was understood of the turn so far."""

    transcript: str


class InkTurnMayEnd(msgspec.Struct, tag_field="type", tag="turn.eager_end"):
    """The caller may have finished."""

    transcript: str


class InkTurnResumed(msgspec.Struct, tag_field="type", tag="turn.resume"):
    """The caller had not finished."""


class InkTurnEnded(msgspec.Struct, tag_field="type", tag="turn.end"):
    """The caller has finished."""

    transcript: str


class InkDone(msgspec.Struct, tag_field="type", tag="done"):
    """The session ends."""


class InkFailure(msgspec.Struct, tag_field="type", tag="error"):
    """Something was refused, or has failed."""

    message: str = ""
    title: str = ""
    status_code: int | None = None


InkMessage: TypeAlias = (
    InkTranscript
    | InkFlushed
    | InkTurnStarted
    | InkTurnUpdated
    | InkTurnMayEnd
    | InkTurnResumed
    | InkTurnEnded
    | InkDone
    | InkFailure
)

FINALIZE_INK: Final = "finalize"
CLOSE_INK: Final = "close"
CLOSE_INK_TURNS: Final = '{"type":"close"}'

decode_ink: Final = KnownMessages[InkMessage](InkMessage).decode
