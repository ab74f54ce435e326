"""A local server of xAI's WebSocket for text to speech.

Parameters, fields and values that the published protocol does not have are refused:
https://docs.x.ai/developers/model-capabilities/audio/text-to-speech#streaming-tts-websocket
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


_VOICES: Final = """
    altair ara atlas aurora carina castor celeste cosmo eve helios helix iris kepler leo liora lumen
    luna lux naksh orion perseus rex rigel sal sirius ursa zagan zenith"""
_OWN_VOICE: Final = "anna"
"""Stands for the voices that users make themselves."""
_LANGUAGES: Final = """
    auto en ar-eg ar-sa ar-ae bn zh fr de hi id it ja ko pt-br pt-pt ru es-mx es-es tr vi"""
_ENCODINGS: Final[dict[str, Encoding]] = {
    "pcm": "l16",
    "mulaw": "mulaw",
    "ulaw": "mulaw",
    "alaw": "alaw",
}
_UTTERANCE: Final = "utterance"
_LONGEST_REPLACED: Final = 60_000


class _Closed(msgspec.Struct, forbid_unknown_fields=True):
    pass


class XAIVoiceQuery(_Closed, kw_only=True):
    """The parameters of the address, of codecs that this server can make."""

    language: str
    voice: str = "eve"
    codec: Literal["pcm", "mulaw", "ulaw", "alaw"]
    sample_rate: Literal[8000, 16000, 22050, 24000, 44100, 48000] = 24000
    speed: Annotated[float, msgspec.Meta(ge=0.7, le=1.5)] = 1.0
    optimize_streaming_latency: Literal[0, 1, 2] = 0
    text_normalization: Literal["true", "false"] = "false"
    with_timestamps: Literal["true", "false"] = "false"


class _Message(_Closed, tag_field="type"):
    pass


class XAITextDelta(_Message, tag="text.delta"):
    """A piece of text."""

    delta: Annotated[str, msgspec.Meta(min_length=1, max_length=15_000)]


class XAITextDone(_Message, tag="text.done"):
    """The end of an utterance."""


class XAITextClear(_Message, tag="text.clear"):
    """A request to speak no more."""


class XAIReplacements(_Message, tag="session.update"):
    """Phrases that are said otherwise, from the next utterance on."""

    replace: Annotated[
        dict[
            Annotated[str, msgspec.Meta(max_length=100, pattern=r"^\s*[\w'\u2019][\w\s'\u2019]*$")],
            Annotated[str, msgspec.Meta(max_length=128)],
        ],
        msgspec.Meta(max_length=200),
    ]


class XAIVoiceServer(VoiceServer):
    """Speaks as xAI does, with the times of characters: one utterance at a time on a connection."""

    def admit(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Check a request.

        Raises:
            RefusedError: the service would refuse it.

        """
        if path != "/v1/tts":
            raise RefusedError(404, f"there is no {path}")
        if headers.get("authorization") != f"Bearer {self.api_key}":
            raise RefusedError(401, "Incorrect API key provided")
        asked = _query(query)
        if asked.language.lower() not in _LANGUAGES.split():
            raise RefusedError(400, f"unknown language {asked.language}")
        if asked.voice.lower() not in [*_VOICES.split(), _OWN_VOICE]:
            raise RefusedError(404, f"unknown voice {asked.voice}")

    async def take(self, session: ServedVoice, message: str) -> None:
        """Do what a message asks for.

        Raises:
            RefusedError: the service would refuse it.

        """
        query = _query(session.query)
        session.format = AudioFormat(_ENCODINGS[query.codec], query.sample_rate)
        asked: _Message = decode_closed(message, _Messages)
        spoken = session.texts.get(_UTTERANCE)
        match asked:
            case XAITextDelta(delta=delta):
                if spoken is not None and spoken.ended:
                    raise RefusedError(400, "text came before the audio.done of the last utterance")
                session.text(_UTTERANCE).pending += delta
                if len(session.texts[_UTTERANCE].pending) > _LONGEST_REPLACED:
                    raise RefusedError(400, "the utterance is too long")
            case XAITextDone():
                if spoken is None or spoken.ended:
                    raise RefusedError(400, "text.done came without any text")
                spoken.flush()
                spoken.end()
            case XAITextClear():
                if spoken is None:
                    await session.send({"type": "audio.clear"})
                else:
                    spoken.settings = "cleared"
                    spoken.cancel()
            case XAIReplacements(replace=replace):
                await session.send({"type": "session.updated", "replace": replace})

    def spoken(self, text: ServedText, word: ServedWord) -> Sequence[dict[str, Any]]:
        """Return the messages with a word; times count from the utterance's first sample."""
        first, *rest = (
            {"type": "audio.delta", "delta": b64encode(part).decode()}
            for part in pieces(word.audio, odd=self.odd)
        )
        if _query(text.session.query).with_timestamps == "false":
            return [first, *rest]
        step = word.length / len(word.text)
        starts = [word.start + step * index for index in range(len(word.text))]
        chars, times = list(word.text), [[start, start + step] for start in starts]
        if word.start:
            chars, times = [" ", *chars], [[word.start, word.start], *times]
        timed = {
            "audio_timestamps": {"graph_chars": chars, "graph_times": times},
            "audio_duration": len(word.audio) / text.session.format.bytes_per_second,
        }
        return [first | timed, *rest]

    def over(self, text: ServedText) -> dict[str, Any]:
        """Return the message that ends an utterance."""
        if text.settings == "cleared":
            return {"type": "audio.clear"}
        return {"type": "audio.done", "trace_id": "3f0e2b9c"}

    def error(self, session: ServedVoice, refused: RefusedError) -> dict[str, Any]:
        """Return the message that refuses something."""
        return {"type": "error", "message": refused.message}


_Messages: Any = XAITextDelta | XAITextDone | XAITextClear | XAIReplacements


def _query(query: Mapping[str, str]) -> XAIVoiceQuery:
    try:
        return msgspec.convert(dict(query), XAIVoiceQuery, strict=False)
    except msgspec.ValidationError as error:
        raise RefusedError(400, f"invalid query: {error}") from None


__all__ = ["XAIVoiceServer"]
