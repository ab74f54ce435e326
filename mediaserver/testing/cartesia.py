"""A local Cartesia to test against: its WebSocket for text to speech. It needs no key, no network.

Parameters, fields and values that the published protocol does not have are refused:
https://docs.cartesia.ai/2026-03-01/api-reference/tts/websocket
"""

from __future__ import annotations

import asyncio
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


_VERSIONS: Final = ("2026-03-01", "2026-08-14")
_ENCODINGS: Final[dict[str, Encoding]] = {
    "pcm_s16le": "l16",
    "pcm_mulaw": "mulaw",
    "pcm_alaw": "alaw",
}
_PARAMETERS: Final = frozenset({"cartesia_version", "api_key", "access_token"})
_BUFFER_MS: Final = 3000


class _Closed(msgspec.Struct, forbid_unknown_fields=True):
    pass


class WireSonicVoice(_Closed):
    """A voice."""

    id: str
    mode: Literal["id"] = "id"


class WireRaw(_Closed):
    """The format of the audio, of those that this server can make."""

    container: Literal["raw"]
    encoding: Literal["pcm_s16le", "pcm_mulaw", "pcm_alaw"]
    sample_rate: Literal[8000, 16000, 22050, 24000, 44100, 48000]


class WireSonicGeneration(_Closed):
    """How the voice speaks."""

    speed: Annotated[float, msgspec.Meta(ge=0.6, le=1.5)] | None = None
    volume: Annotated[float, msgspec.Meta(ge=0.5, le=2)] | None = None
    emotion: str | None = None


class CartesiaRequest(_Closed, kw_only=True, rename={"continues": "continue"}):
    """A message with text."""

    model_id: str
    voice: WireSonicVoice | str
    output_format: WireRaw
    context_id: str
    transcript: str
    continues: bool | None = None
    flush: bool | None = None
    add_timestamps: bool | None = None
    add_phoneme_timestamps: bool | None = None
    use_normalized_timestamps: bool | None = None
    generation_config: WireSonicGeneration | None = None
    language: Annotated[str, msgspec.Meta(pattern="^[a-z]{2,3}(-[A-Z]{2})?$")] | None = None
    max_buffer_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=5000)] | None = None
    pronunciation_dict_id: str | None = None
    speed: Literal["slow", "normal", "fast"] | None = None

    def same(self) -> tuple[Any, ...]:
        """Return what has to stay the same in a context."""
        return (
            self.model_id,
            self.voice,
            self.output_format,
            self.add_timestamps,
            self.generation_config,
            self.language,
            self.max_buffer_delay_ms,
        )


class CartesiaCancel(_Closed):
    """A message that cancels a context."""

    context_id: str
    cancel: Literal[True]


class _Kind(msgspec.Struct):
    context_id: str | None = None
    cancel: bool | None = None


class CartesiaServer(VoiceServer):
    """Speaks as Cartesia does, with the times of words."""

    def admit(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Check a request.

        Raises:
            RefusedError: the service would refuse it.

        """
        if path != "/tts/websocket":
            raise RefusedError(404, f"there is no {path}")
        if unknown := query.keys() - _PARAMETERS:
            raise RefusedError(400, f"unknown parameters: {', '.join(sorted(unknown))}")
        version = query.get("cartesia_version") or headers.get("cartesia-version")
        if version not in _VERSIONS:
            raise RefusedError(400, f"Cartesia-Version must be one of {_VERSIONS}, not {version}")
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self.api_key not in (bearer, headers.get("x-api-key"), query.get("api_key")):
            raise RefusedError(401, "invalid API key")

    async def take(self, session: ServedVoice, message: str) -> None:
        """Do what a message asks for.

        Raises:
            RefusedError: the service would refuse it.

        """
        kind = decode_closed(message, _Kind)
        session.context = kind.context_id
        if kind.cancel is not None:
            name = decode_closed(message, CartesiaCancel).context_id
            if name in session.texts:
                session.texts[name].cancel()
            return
        asked = decode_closed(message, CartesiaRequest)
        session.format = AudioFormat(
            _ENCODINGS[asked.output_format.encoding], asked.output_format.sample_rate
        )
        text = session.text(asked.context_id)
        if text.settings is None:
            text.settings = asked
        elif text.settings.same() != asked.same():
            raise RefusedError(400, "fields of a context must stay the same")
        text.pending += asked.transcript
        if asked.flush or not asked.continues:
            text.flush()
        elif text.timer is None or text.timer.when() < asyncio.get_running_loop().time():
            delay = _BUFFER_MS if asked.max_buffer_delay_ms is None else asked.max_buffer_delay_ms
            text.timer = asyncio.get_running_loop().call_later(delay / 1000, text.flush)
        if not asked.continues:
            text.end()

    def spoken(self, text: ServedText, word: ServedWord) -> Sequence[dict[str, Any]]:
        """Return the messages with a word, whose times count from the context's first sample."""
        every = {"context_id": text.name, "done": False, "status_code": 206}
        messages: list[dict[str, Any]] = [
            {"type": "chunk", "data": b64encode(piece).decode(), "step_time": 1.0, **every}
            for piece in pieces(word.audio, odd=self.odd)
        ]
        if text.settings.add_timestamps:
            times = {
                "words": [word.text],
                "start": [word.start],
                "end": [word.start + word.length],
            }
            messages.append({"type": "timestamps", "word_timestamps": times, **every})
        return messages

    def over(self, text: ServedText) -> dict[str, Any]:
        """Return the message that ends a context."""
        return {"type": "done", "done": True, "status_code": 206, "context_id": text.name}

    def error(self, session: ServedVoice, refused: RefusedError) -> dict[str, Any]:
        """Return the message that refuses something."""
        return {
            "type": "error",
            "done": True,
            "title": "Invalid request",
            "message": refused.message,
            "error_code": "invalid_request",
            "status_code": refused.status,
            "context_id": session.context,
        }


__all__ = ["CartesiaServer"]
