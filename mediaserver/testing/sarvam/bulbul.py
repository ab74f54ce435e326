"""Sarvam's WebSocket for text to speech on this machine. It needs no key, no network.

Parameters, fields and values that the published protocol does not have are refused:
https://docs.sarvam.ai/api-reference/text-to-speech/stream
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from audiocodecs import AudioFormat, Encoding
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.voice_server import (
    ServedText,
    ServedVoice,
    ServedWord,
    VoiceServer,
    decode_closed,
    pieces,
)


_ENCODINGS: Final[dict[str, Encoding]] = {"linear16": "l16", "mulaw": "mulaw", "alaw": "alaw"}
_MODELS: Final = ("bulbul:v2", "bulbul:v3", "bulbul:v4-flash")
_V2_SPEAKERS: Final = frozenset(
    {"abhilash", "anushka", "arya", "hitesh", "karun", "manisha", "vidya"}
)


class _Closed(msgspec.Struct, forbid_unknown_fields=True):
    pass


class WireBulbulConfig(_Closed, kw_only=True):
    """The settings of a connection, with the audio formats that this server can make."""

    language_code: Literal[
        "bn-IN",
        "en-IN",
        "gu-IN",
        "hi-IN",
        "kn-IN",
        "ml-IN",
        "mr-IN",
        "od-IN",
        "pa-IN",
        "ta-IN",
        "te-IN",
    ]
    speaker: Annotated[str, msgspec.Meta(pattern="^[a-z]+(_[a-z_]+)?$")]
    model: Literal["bulbul:v2", "bulbul:v3", "bulbul:v4-flash"] | None = None
    pitch: Annotated[float, msgspec.Meta(ge=-0.75, le=0.75)] | None = None
    pace: Annotated[float, msgspec.Meta(ge=0.3, le=3)] | None = None
    loudness: Annotated[float, msgspec.Meta(ge=0.3, le=3)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0.01, le=1)] | None = None
    speech_sample_rate: Literal[8000, 16000, 22050, 24000] | None = None
    enable_preprocessing: bool | None = None
    output_audio_codec: Literal["linear16", "mulaw", "alaw"]
    output_audio_bitrate: Literal["32k", "64k", "96k", "128k", "192k"] | None = None
    dict_id: str | None = None
    min_buffer_size: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_chunk_length: Annotated[int, msgspec.Meta(ge=1)] | None = None


class BulbulConfigMessage(_Closed, tag_field="type", tag="config"):
    """The first message."""

    data: WireBulbulConfig


class WireBulbulText(_Closed):
    """Text to speak."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=2500)]


class BulbulTextMessage(_Closed, tag_field="type", tag="text"):
    """A message with text."""

    data: WireBulbulText


class BulbulFlushMessage(_Closed, tag_field="type", tag="flush"):
    """A message that has all of the text so far spoken."""


class BulbulPingMessage(_Closed, tag_field="type", tag="ping"):
    """A message that keeps the connection."""


_MESSAGE: Final[Any] = (
    BulbulConfigMessage | BulbulTextMessage | BulbulFlushMessage | BulbulPingMessage
)


class BulbulServer(VoiceServer):
    """Speaks as Bulbul does: what was flushed. It keeps the rest, however much it is."""

    def admit(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Check a request.

        Raises:
            RefusedError: the service would refuse it.

        """
        if path != "/text-to-speech/ws":
            raise RefusedError(404, f"there is no {path}")
        if unknown := query.keys() - {"model", "send_completion_event"}:
            raise RefusedError(400, f"unknown parameters: {', '.join(sorted(unknown))}")
        if (model := query.get("model", "bulbul:v2")) not in _MODELS:
            raise RefusedError(400, f"model must be one of {_MODELS}, not {model!r}")
        if (told := query.get("send_completion_event", "true")) != "true":
            raise RefusedError(
                400, f"this server takes only true for send_completion_event: {told!r}"
            )
        if headers.get("api-subscription-key") != self.api_key:
            raise RefusedError(403, "Invalid API key")

    async def take(self, session: ServedVoice, message: str) -> None:
        """Do what a message asks for.

        Raises:
            RefusedError: the service would refuse it.

        """
        asked = decode_closed(message, _MESSAGE)
        if isinstance(asked, BulbulConfigMessage):
            self._configure(session, asked.data)
        elif session.context is None:
            raise RefusedError(400, "the first message must be config")
        elif isinstance(asked, BulbulTextMessage):
            session.text(session.context).pending += asked.data.text
        elif isinstance(asked, BulbulFlushMessage):
            text = session.text(session.context)
            text.flush()
            text.end()
            session.context = f"flush-{len(session.received)}"

    def spoken(self, text: ServedText, word: ServedWord) -> Sequence[dict[str, Any]]:
        """Return the messages with a word; there are no times."""
        return [
            {
                "type": "audio",
                "data": {
                    "audio": b64encode(piece).decode(),
                    "content_type": f"audio/{text.session.format.encoding}",
                    "request_id": text.name,
                },
            }
            for piece in pieces(word.audio, odd=self.odd)
        ]

    def over(self, text: ServedText) -> dict[str, Any]:
        """Return the message that answers a flush."""
        data = {"event_type": "final", "message": "Speech generation has completed"}
        return {"type": "event", "data": {**data, "timestamp": "2026-07-01T12:00:00Z"}}

    def error(self, session: ServedVoice, refused: RefusedError) -> dict[str, Any]:
        """Return the message that refuses something."""
        return {"type": "error", "data": {"message": refused.message, "code": refused.status}}

    def _configure(self, session: ServedVoice, config: WireBulbulConfig) -> None:
        model = config.model or session.query.get("model", "bulbul:v2")
        if (config.speaker in _V2_SPEAKERS) != (model == "bulbul:v2"):
            raise RefusedError(400, f"the speaker {config.speaker!r} is not one of {model}")
        if (pace := config.pace) is not None and model != "bulbul:v2" and not 0.5 <= pace <= 2:
            raise RefusedError(400, f"pace must be from 0.5 to 2, not {pace}")
        rate = config.speech_sample_rate or 22050
        session.format = AudioFormat(_ENCODINGS[config.output_audio_codec], rate)
        session.context = session.context or "flush-0"


__all__ = ["BulbulServer"]
