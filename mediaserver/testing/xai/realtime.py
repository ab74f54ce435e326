"""A server of xAI's voice agent on 127.0.0.1, closed to whatever its reference does not have.

https://docs.x.ai/developers/model-capabilities/audio/speech-to-speech. It answers as
`OpenAIRealtimeServer` does, by a script.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.testing.openai.realtime.client_events import JsonDict, RealtimeRefusal
from mediaserver.testing.openai.realtime.server import OpenAIRealtimeServer
from mediaserver.testing.openai.realtime.session import ServedSession
from mediaserver.testing.openai.realtime.session_settings import Direction, SessionSettings


_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)


class _Closed(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Format(_Closed):
    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    rate: int | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.rate is not UNSET and (self.type != "audio/pcm" or self.rate not in _RATES):
            raise ValueError(f"{self.type} has no rate {self.rate}")


class _Transcription(_Closed):
    model: str | UnsetType = UNSET
    language_hint: str | UnsetType = UNSET
    keyterms: list[str] | UnsetType = UNSET


class _Input(_Closed):
    format: _Format | UnsetType = UNSET
    transcription: _Transcription | UnsetType = UNSET


class _Output(_Closed):
    format: _Format | UnsetType = UNSET
    speed: float | UnsetType = UNSET


class _Audio(_Closed):
    input: _Input | UnsetType = UNSET
    output: _Output | UnsetType = UNSET


class _TurnDetection(_Closed):
    type: Literal["server_vad"] | None
    threshold: float | UnsetType = UNSET
    prefix_padding_ms: int | UnsetType = UNSET
    silence_duration_ms: int | UnsetType = UNSET
    idle_timeout_ms: int | UnsetType = UNSET


class _Reasoning(_Closed):
    effort: str


class _Tool(_Closed):
    type: Literal["function", "web_search", "x_search", "file_search"]
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET
    allowed_x_handles: list[str] | UnsetType = UNSET
    vector_store_ids: list[str] | UnsetType = UNSET
    max_num_results: int | UnsetType = UNSET


class _Session(_Closed):
    instructions: str | UnsetType = UNSET
    voice: str | UnsetType = UNSET
    turn_detection: _TurnDetection | UnsetType | None = UNSET
    audio: _Audio | UnsetType = UNSET
    reasoning: _Reasoning | UnsetType = UNSET
    tools: list[_Tool] | UnsetType = UNSET
    replace: dict[str, str] | UnsetType = UNSET


class _Content(_Closed):
    type: Literal["input_text", "output_text"]
    text: str


class _Item(_Closed):
    type: Literal["message", "function_call", "function_call_output"]
    role: Literal["user", "assistant", "system"] | UnsetType = UNSET
    content: list[_Content] | UnsetType = UNSET
    call_id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    output: str | UnsetType = UNSET


class _Response(_Closed):
    instructions: str | UnsetType = UNSET
    modalities: list[Literal["text", "audio"]] | UnsetType = UNSET


class _Event(_Closed, tag_field="type", kw_only=True):
    event_id: str | UnsetType = UNSET


class _SessionUpdate(_Event, tag="session.update"):
    session: _Session


class _Append(_Event, tag="input_audio_buffer.append"):
    audio: str


class _Commit(_Event, tag="input_audio_buffer.commit"):
    pass


class _Clear(_Event, tag="input_audio_buffer.clear"):
    pass


class _Create(_Event, tag="conversation.item.create"):
    item: _Item
    previous_item_id: str | UnsetType = UNSET


class _Truncate(_Event, tag="conversation.item.truncate"):
    item_id: str
    content_index: int
    audio_end_ms: int


class _Delete(_Event, tag="conversation.item.delete"):
    item_id: str


class _Respond(_Event, tag="response.create"):
    response: _Response | UnsetType = UNSET


class _Cancel(_Event, tag="response.cancel"):
    pass


_Events = (
    _SessionUpdate | _Append | _Commit | _Clear | _Create | _Truncate | _Delete | _Respond | _Cancel
)


class XAISettings(SessionSettings):
    """The settings of a session, in xAI's form."""

    def wire(self, direction: Direction) -> AudioFormat:
        """Return the format of the caller's audio, which is the input, or of the model's."""
        asked = self._audio(direction).get("format", {"type": "audio/pcm"})
        match asked["type"]:
            case "audio/pcmu":
                return MULAW_8K
            case "audio/pcma":
                return AudioFormat("alaw", 8000)
            case _:
                return AudioFormat("l16", asked.get("rate", 24000))

    @property
    def transcribes(self) -> bool:
        """True: xAI always says what it understood."""
        return True

    @property
    def turn_detection(self) -> JsonDict | None:
        """How the server takes the turns; None if the client does."""
        detection: JsonDict | None = self.values.get("turn_detection", {"type": "server_vad"})
        if detection is None or detection["type"] is None:
            return None
        usual = {"silence_duration_ms": 500, "interrupt_response": True, "create_response": True}
        return usual | detection

    def _check(self) -> None:
        pass  # each message was checked as a whole


class XAIServedSession(ServedSession):
    """One connection of a client."""

    settings_class: ClassVar[type[SessionSettings]] = XAISettings

    def check(self, event: JsonDict) -> None:
        """Check an event against xAI's reference.

        Raises:
            RealtimeRefusal: its type is unknown, or a field is unknown, missing or wrong.

        """
        try:
            msgspec.convert(event, _Events)
        except msgspec.ValidationError as error:
            raise RealtimeRefusal("invalid_request", str(error)) from None
        if event["type"] == "input_audio_buffer.commit" and self._settings.turn_detection:
            raise RealtimeRefusal("invalid_request", "the server takes the turns")

    def _check_own(self, event: JsonDict) -> None:
        if not event["type"].startswith("session."):  # its settings are not OpenAI's
            super()._check_own(event)

    async def _response_done(self, status: str, **more: Any) -> None:
        if status == "cancelled":
            more.pop("status_details", None)  # xAI documents no reason
        await super()._response_done(status, **more)


class XAIRealtimeServer(OpenAIRealtimeServer):
    """A voice agent that answers by a script: see `OpenAIRealtimeServer`.

    A message with a field that xAI's reference does not have is refused with an ``error`` event; a
    query with another parameter than ``model`` is refused with status 400.
    """

    session_class: ClassVar[type[ServedSession]] = XAIServedSession


__all__ = ["XAIRealtimeServer", "XAIServedSession", "XAISettings"]
