"""The messages that Gemini's Live API sends, without I/O.

https://ai.google.dev/api/live#bidigeneratecontentservermessage. One message may say several things
at once.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import structlog

from mediaserver.agents.services.gemini.chunks import FunctionCallPart, GeminiUsage


SERVICE_NAME: Final = "gemini_live"
"""The name under which failures are counted and logged."""

_PCM: Final = "audio/pcm"
_RATE: Final = "24000"

log = structlog.get_logger("mediaserver.agents.gemini")


class SpokenData(msgspec.Struct, rename="camel", gc=False):
    """A piece of the model's speech."""

    mime_type: str
    data: bytes

    def __post_init__(self) -> None:
        kind, _, rate = self.mime_type.replace(" ", "").partition(";rate=")
        if kind != _PCM or rate not in ("", _RATE):
            raise ValueError(f"speech as {self.mime_type!r}, not PCM of {_RATE} Hz")


class LivePart(msgspec.Struct, rename="camel", gc=False):
    """A part of what the model says. Its texts are thoughts, which nobody is to hear."""

    inline_data: SpokenData | None = None


class ModelTurn(msgspec.Struct, gc=False):
    """What the model says."""

    parts: list[LivePart] = []


class TranscribedWords(msgspec.Struct, gc=False):
    """A piece of a transcript."""

    text: str = ""
    finished: bool = False


class ServerContent(msgspec.Struct, rename="camel", gc=False):
    """What the model says, what it heard, and where it is in its turn.

    An interim transcription comes while the caller speaks, and takes the place of the one before
    it. What it says comes again in input transcriptions.
    """

    model_turn: ModelTurn | None = None
    input_transcription: TranscribedWords | None = None
    interim_input_transcription: TranscribedWords | None = None
    output_transcription: TranscribedWords | None = None
    interrupted: bool = False
    generation_complete: bool = False
    turn_complete: bool = False
    turn_complete_reason: str | None = None


class LiveToolCalls(msgspec.Struct, rename="camel", gc=False):
    """The model uses tools, and waits for the results."""

    function_calls: list[FunctionCallPart] = []


class LiveCancellation(msgspec.Struct, gc=False):
    """The model does not wait for these results any more."""

    ids: list[str] = []


class GoAway(msgspec.Struct, rename="camel", gc=False):
    """The connection will be closed soon."""

    time_left: str = ""


class ResumptionUpdate(msgspec.Struct, rename="camel", gc=False):
    """With which handle the session can be resumed as it is now."""

    new_handle: str = ""
    resumable: bool = False


class HeardActivity(msgspec.Struct, rename="camel", gc=False):
    """The API has noticed that the caller began or stopped speaking; not every model says so."""

    voice_activity_type: str = ""


class LiveServerMessage(msgspec.Struct, rename="camel", gc=False):
    """A message of the server."""

    setup_complete: dict[str, Any] | None = None
    server_content: ServerContent | None = None
    tool_call: LiveToolCalls | None = None
    tool_call_cancellation: LiveCancellation | None = None
    usage_metadata: GeminiUsage | None = None
    go_away: GoAway | None = None
    session_resumption_update: ResumptionUpdate | None = None
    voice_activity: HeardActivity | None = None


_decoder = msgspec.json.Decoder(LiveServerMessage)


def decode_live_message(message: bytes | str) -> LiveServerMessage | None:
    """Return a message of the server; None if it is malformed."""
    try:
        return _decoder.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # One bad message must not end the call. If it mattered, the response stalls.
        log.warning("malformed event", service=SERVICE_NAME, reason=str(error))
        return None
