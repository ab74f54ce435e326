"""Voices of xAI over its WebSocket for text to speech."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, Unpack

from audiocodecs import AudioFormat, Encoding
from mediaserver.agents.services.context_voice import (
    ContextConnection,
    ContextRequest,
    ContextVoice,
)
from mediaserver.agents.services.setting_values import require_name, require_within
from mediaserver.agents.services.xai.voice_messages import XAI_VOICE, XAIVoiceMessages


_CODECS: Final[dict[Encoding, str]] = {"mulaw": "mulaw", "alaw": "alaw", "l16": "pcm"}
_RATES: Final = (8000, 16000, 22050, 24000, 44100, 48000)

# https://docs.x.ai/developers/model-capabilities/audio/text-to-speech#map-limits
_MOST_REPLACED: Final = 200
_LONGEST_PHRASE: Final = 100
_LONGEST_REPLACEMENT: Final = 128


class XAIVoice(ContextVoice):
    """Speaks with a voice of xAI: one connection for each call, over which texts follow each other.

    Audio comes in the stream's format. The times of characters tell what a caller has heard.

    Args:
        voice: the voice: ``eve``, ``ara``, ``rex``, ``sal``, ``leo``, … or the id of your own.
        language: the language of the text (``en``, ``pt-BR``), or ``auto``.
        speed: from 0.7 to 1.5; None is as usual.
        optimize_streaming_latency: 1 and 2 have the first audio come earlier, at some cost of
            quality; None and 0 do not.
        text_normalization: whether numbers, abbreviations and symbols are put into words first.
        with_timestamps: whether the times of characters come. Without them, it is estimated how
            much of a text was heard.
        replace: up to 200 phrases that are to be said otherwise, and how: ``{"Plivo": "Pleevo"}``,
            or in the letters of the phonetic alphabet.
        connection: see `ContextVoice`. The key is in ``XAI_API_KEY``.

    Raises:
        ValueError: a setting cannot be right.

    """

    def __init__(
        self,
        voice: str = "eve",
        *,
        language: str = "auto",
        speed: float | None = None,
        optimize_streaming_latency: Literal[0, 1, 2] | None = None,
        text_normalization: bool = False,
        with_timestamps: bool = True,
        replace: Mapping[str, str] | None = None,
        **connection: Unpack[ContextConnection],
    ) -> None:
        super().__init__(XAI_VOICE, "XAI_API_KEY", "wss://api.x.ai", **connection)
        require_name(voice=voice)
        if not re.fullmatch("auto|[a-zA-Z]{2,3}(-[a-zA-Z]{2,4})?", language):
            raise ValueError(f"language must be like 'en' or 'pt-BR', or 'auto', not {language!r}")
        require_within(0.7, 1.5, speed=speed)
        if optimize_streaming_latency not in (None, 0, 1, 2):
            raise ValueError(
                f"optimize_streaming_latency must be 0, 1 or 2, not {optimize_streaming_latency!r}"
            )
        self._replace = dict(replace or {})
        _require_phrases(self._replace)
        self._query = {
            "voice": voice,
            "language": language,
            **({"speed": f"{speed:g}"} if speed is not None else {}),
            **(
                {"optimize_streaming_latency": str(optimize_streaming_latency)}
                if optimize_streaming_latency is not None
                else {}
            ),
            **({"text_normalization": "true"} if text_normalization else {}),
            **({"with_timestamps": "true"} if with_timestamps else {}),
        }

    def request(self, format: AudioFormat, key: str) -> ContextRequest:
        """Return how to open a session; audio at a rate that xAI lacks comes at 24 kHz."""
        wire = format if format.rate in _RATES else AudioFormat("l16", 24000)
        return ContextRequest(
            "/v1/tts",
            {**self._query, "codec": _CODECS[wire.encoding], "sample_rate": str(wire.rate)},
            {"authorization": f"Bearer {key}"},
            XAIVoiceMessages(self._replace),
            wire,
        )


def _require_phrases(replace: Mapping[str, str]) -> None:
    """Check phrases and what is said in their place.

    Raises:
        ValueError: xAI would refuse them.

    """
    if len(replace) > _MOST_REPLACED:
        raise ValueError(f"replace has {len(replace)} phrases; xAI takes {_MOST_REPLACED}")
    known: dict[str, str] = {}
    for phrase, spoken in replace.items():
        if not phrase.strip() or len(phrase) > _LONGEST_PHRASE:
            raise ValueError(
                f"a phrase of replace has 1 to {_LONGEST_PHRASE} characters; {phrase!r} has not"
            )
        if not all(char.isalnum() or char.isspace() or char in "'\u2019" for char in phrase):
            raise ValueError(
                f"a phrase of replace has letters, digits, apostrophes and spaces only, "
                f"unlike {phrase!r}"
            )
        if len(spoken) > _LONGEST_REPLACEMENT:
            raise ValueError(
                f"what replace says for {phrase!r} has {len(spoken)} characters; xAI takes "
                f"{_LONGEST_REPLACEMENT}"
            )
        same = " ".join(phrase.casefold().split())
        if same in known:
            raise ValueError(f"{known[same]!r} and {phrase!r} in replace are the same phrase")
        known[same] = phrase
