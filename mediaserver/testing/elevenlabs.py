"""A local ElevenLabs to test against: its multi-context WebSocket. It needs no key and no network.

Parameters, fields and values that the published protocol does not have are refused:
https://elevenlabs.io/docs/api-reference/text-to-speech/v-1-text-to-speech-voice-id-multi-stream-input
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from audiocodecs import AudioFormat, Encoding
from mediaserver.agents.services.elevenlabs.messages import MOST_CONTEXTS
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.voice_server import (
    ServedText,
    ServedVoice,
    ServedWord,
    VoiceServer,
    decode_closed,
    pieces,
)


_PATH: Final = re.compile(r"/v1/text-to-speech/[^/]+/multi-stream-input")
_ENCODINGS: Final[dict[str, Encoding]] = {"pcm": "l16", "ulaw": "mulaw", "alaw": "alaw"}
_FIRST_CHUNK: Final = 120
"""Characters after which the service speaks without a flush: the schedule's first."""

_Flag = Literal["true", "false"]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Closed(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    pass


class ElevenLabsQuery(_Closed, kw_only=True):
    """The parameters of the address."""

    authorization: str | None = None
    single_use_token: str | None = None
    model_id: str = "eleven_multilingual_v2"
    language_code: Annotated[str, msgspec.Meta(pattern="^[a-z]{2}$")] | None = None
    enable_logging: _Flag = "true"
    enable_ssml_parsing: _Flag = "false"
    output_format: Literal[
        "pcm_8000",
        "pcm_16000",
        "pcm_22050",
        "pcm_24000",
        "pcm_44100",
        "ulaw_8000",
        "alaw_8000",
    ]
    """Without formats that no phone agent can play: the default is MP3."""
    inactivity_timeout: Annotated[int, msgspec.Meta(ge=1, le=180)] = 20
    sync_alignment: _Flag = "false"
    auto_mode: _Flag = "false"
    apply_text_normalization: Literal["auto", "on", "off"] = "auto"
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] | None = None


class WireVoiceSettings(_Closed):
    """The settings of a voice."""

    stability: _Share | None = None
    similarity_boost: _Share | None = None
    style: _Share | None = None
    use_speaker_boost: bool | None = None
    speed: Annotated[float, msgspec.Meta(ge=0.7, le=1.2)] | None = None


class WireGenerationConfig(_Closed):
    """When text is spoken."""

    chunk_length_schedule: list[Annotated[float, msgspec.Meta(ge=50, le=500)]] | None = None


class WireLocator(_Closed):
    """A pronunciation dictionary."""

    pronunciation_dictionary_id: str
    version_id: str


class ElevenLabsMessage(_Closed):
    """A message of the client, of any kind."""

    text: str | None = None
    context_id: str | None = None
    flush: bool | None = None
    close_context: bool | None = None
    close_socket: bool | None = None
    voice_settings: WireVoiceSettings | None = None
    generation_config: WireGenerationConfig | None = None
    pronunciation_dictionary_locators: list[WireLocator] | None = None
    xi_api_key: str | None = None
    authorization: str | None = None


class ElevenLabsServer(VoiceServer):
    """Speaks as ElevenLabs does, with the times of characters."""

    def admit(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Check a request.

        Raises:
            RefusedError: the service would refuse it.

        """
        if not _PATH.fullmatch(path):
            raise RefusedError(404, f"there is no {path}")
        if headers.get("xi-api-key") != self.api_key:
            raise RefusedError(401, "invalid_api_key")
        asked = _query(query)
        if asked.model_id.startswith("eleven_v3"):
            raise RefusedError(400, f"{asked.model_id} has no multi-context WebSocket")

    async def take(self, session: ServedVoice, message: str) -> None:
        """Do what a message asks for.

        Raises:
            RefusedError: the service would refuse it.

        """
        asked = decode_closed(message, ElevenLabsMessage)
        query = _query(session.query)
        encoding, rate = query.output_format.split("_")
        session.format = AudioFormat(_ENCODINGS[encoding], int(rate))
        session.context = asked.context_id
        if asked.close_socket:
            await session.close()
            return
        name = asked.context_id or "default"
        known = name in session.texts
        if not known and (
            asked.text is None or (asked.text == "" and asked.context_id is not None)
        ):
            raise RefusedError(400, f"there is no context {name}")
        if not known and asked.text == "":
            return  # keeps the connection
        first = asked.voice_settings or asked.generation_config
        if known and first is not None:
            raise RefusedError(400, f"context {name} has its settings from its first message")
        if not known:
            if len(session.texts) >= MOST_CONTEXTS:
                raise RefusedError(
                    400,
                    "Maximum simultaneous contexts per WebSocket connection exceeded "
                    f"({MOST_CONTEXTS}).",
                    "max_active_conversations",
                )
            if asked.text != " ":
                raise RefusedError(400, "the first text of a context has to be a space")
        text = session.text(name)
        text.settings = text.settings or first
        self._watch(text, query.inactivity_timeout)
        if asked.close_context:
            text.end()
            return
        if asked.text and not asked.text.endswith(" "):
            raise RefusedError(400, f"text should end with a space: {asked.text!r}")
        text.pending += asked.text or ""
        enough = len(text.pending) >= _FIRST_CHUNK or query.auto_mode == "true"
        if asked.flush or (enough and text.pending.strip()):
            text.flush()

    def spoken(self, text: ServedText, word: ServedWord) -> Sequence[dict[str, Any]]:
        """Return the messages with a word, whose times count from the message's audio."""
        step = word.length * 1000 / len(word.text)
        starts = [round(step * index) for index in range(len(word.text))]
        ends = [*starts[1:], round(word.length * 1000)]
        total = round(len(word.audio) / text.session.format.bytes_per_second * 1000)
        alignment = {
            "chars": [*word.text, " "],
            "charStartTimesMs": [*starts, ends[-1]],
            "charDurationsMs": [
                *(end - start for start, end in zip(starts, ends, strict=True)),
                total - ends[-1],
            ],
        }
        asked = _query(text.session.query).sync_alignment == "true"
        first, *rest = (
            {"audio": b64encode(piece).decode(), "contextId": text.name, "isFinal": None}
            for piece in pieces(word.audio, odd=self.odd)
        )
        aligned = {"alignment": alignment, "normalizedAlignment": alignment} if asked else {}
        return [{**first, **aligned}, *rest]

    def over(self, text: ServedText) -> dict[str, Any]:
        """Return the message that ends a context."""
        return {"isFinal": True, "contextId": text.name}

    def error(self, session: ServedVoice, refused: RefusedError) -> dict[str, Any]:
        """Return the message that refuses something."""
        error = refused.code or "invalid_message"
        return {"message": refused.message, "error": error, "code": 1008}

    def _watch(self, text: ServedText, seconds: float) -> None:
        """Close the context if nothing comes for it in this time."""
        if text.timer is not None:
            text.timer.cancel()
        text.timer = asyncio.get_running_loop().call_later(seconds, text.end)


def _query(query: Mapping[str, str]) -> ElevenLabsQuery:
    try:
        return msgspec.convert(dict(query), ElevenLabsQuery, strict=False)
    except msgspec.ValidationError as error:
        raise RefusedError(400, f"invalid query: {error}") from None


__all__ = ["ElevenLabsServer"]
