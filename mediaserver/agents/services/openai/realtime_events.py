"""The events that OpenAI's Realtime API sends, without I/O.

The `openai` package's own models take dozens of times as long to make, and check nothing. Here an
event that is not as the API's reference describes it is malformed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec
import structlog

from mediaserver.agents.services.language_model import Tokens


SERVICE_NAME: Final = "openai_realtime"
"""The name under which failures are counted and logged."""

log = structlog.get_logger("mediaserver.agents.services.openai.realtime")


class ApiReason(msgspec.Struct, gc=False):
    """Why something failed, as the API says it."""

    message: str | None = None
    code: str | None = None
    type: str | None = None
    event_id: str | None = None

    def __str__(self) -> str:
        what = self.message or "no reason was given"
        kind = self.code or self.type
        return f"{what} ({kind})" if kind else what


class _TokenDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class RealtimeUsage(msgspec.Struct, gc=False):
    """What a response or a transcription cost: in tokens, or in seconds of audio."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _TokenDetails | None = None
    seconds: float | None = None

    @property
    def tokens(self) -> Tokens | None:
        """The cost in tokens; None if it is not given in tokens."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        details = self.input_token_details
        cached = details.cached_tokens if details is not None else None
        return Tokens(self.input_tokens or 0, self.output_tokens or 0, cached or 0)


class StatusDetails(msgspec.Struct, gc=False):
    """Why a response ended as it did."""

    error: ApiReason | None = None
    reason: str | None = None


class ApiResponse(msgspec.Struct, gc=False):
    """A response, and how it ended."""

    status: str | None = None
    status_details: StatusDetails | None = None
    usage: RealtimeUsage | None = None


class ApiItem(msgspec.Struct, gc=False):
    """A message or a tool call that the model has finished."""

    id: str
    type: str
    status: str | None = None
    call_id: str = ""
    name: str = ""
    arguments: str | None = None


class AudioDelta(msgspec.Struct, gc=False):
    """A piece of the model's speech."""

    item_id: str
    delta: bytes


class TextDelta(msgspec.Struct, gc=False):
    """A piece of the words of the model's speech."""

    item_id: str
    delta: str


class ResponseCreated(msgspec.Struct, gc=False):
    """A response has begun."""

    response: ApiResponse


class OutputItemDone(msgspec.Struct, gc=False):
    """The model has finished a message or a tool call."""

    item: ApiItem


class CallArgumentsDone(msgspec.Struct, gc=False):
    """The model has finished a tool call, which an item repeats later."""

    call_id: str
    name: str = ""
    arguments: str | None = None


class ResponseOver(msgspec.Struct, gc=False):
    """A response has ended."""

    response: ApiResponse


class InputCommitted(msgspec.Struct, gc=False):
    """A turn of the caller is in the conversation."""

    item_id: str


class InputTranscriptDelta(msgspec.Struct, gc=False):
    """A piece of the words of a turn of the caller, which is not final."""

    item_id: str
    delta: str | None = None


class InputTranscribed(msgspec.Struct, gc=False):
    """A turn of the caller was transcribed."""

    item_id: str
    transcript: str
    usage: RealtimeUsage = msgspec.field(default_factory=RealtimeUsage)


class TranscriptionFailed(msgspec.Struct, gc=False):
    """A turn of the caller could not be transcribed."""

    item_id: str
    error: ApiReason


class InputSpeechStarted(msgspec.Struct, gc=False):
    """The API has noticed that the caller began to speak, in the item that the turn will be.

    The time is in milliseconds of all of the audio that the session was given.
    """

    item_id: str = ""
    audio_start_ms: float = 0.0


class InputSpeechStopped(msgspec.Struct, gc=False):
    """The API has noticed that the caller stopped speaking."""

    item_id: str = ""
    audio_end_ms: float = 0.0


class SessionUpdated(msgspec.Struct, gc=False):
    """The API has taken the settings of the session."""


class ErrorEvent(msgspec.Struct, gc=False):
    """A request was refused."""

    error: ApiReason


ServerEvent: TypeAlias = (
    AudioDelta
    | TextDelta
    | ResponseCreated
    | OutputItemDone
    | CallArgumentsDone
    | ResponseOver
    | InputCommitted
    | InputTranscriptDelta
    | InputTranscribed
    | TranscriptionFailed
    | InputSpeechStarted
    | InputSpeechStopped
    | SessionUpdated
    | ErrorEvent
)


class _Head(msgspec.Struct, gc=False):
    type: str


_head = msgspec.json.Decoder(_Head)
_DECODERS: Mapping[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(kind)
    for name, kind in {
        "response.output_audio.delta": AudioDelta,
        "response.output_audio_transcript.delta": TextDelta,
        "response.created": ResponseCreated,
        "response.output_item.done": OutputItemDone,
        "response.function_call_arguments.done": CallArgumentsDone,
        "response.done": ResponseOver,
        "input_audio_buffer.committed": InputCommitted,
        "conversation.item.input_audio_transcription.delta": InputTranscriptDelta,
        "conversation.item.input_audio_transcription.completed": InputTranscribed,
        "conversation.item.input_audio_transcription.failed": TranscriptionFailed,
        "input_audio_buffer.speech_started": InputSpeechStarted,
        "input_audio_buffer.speech_stopped": InputSpeechStopped,
        "session.updated": SessionUpdated,
        "error": ErrorEvent,
    }.items()
}


def read_server_event(message: bytes) -> ServerEvent | None:
    """Return an event of the server; None if it does not matter here.

    Raises:
        ValueError: it is malformed.

    """
    decoder = _DECODERS.get(_head.decode(message).type)
    event: ServerEvent | None = decoder.decode(message) if decoder is not None else None
    return event


def decode_server_event(message: bytes, service: str = SERVICE_NAME) -> ServerEvent | None:
    """Return an event of the server; None if it does not matter here, or is malformed."""
    try:
        return read_server_event(message)
    except ValueError as error:
        # One bad event must not end the call. If it mattered, the response stalls.
        log.warning("malformed event", service=service, reason=str(error))
        return None
