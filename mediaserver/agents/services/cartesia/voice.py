"""Voices of Cartesia over its WebSocket."""

from __future__ import annotations

import re
from typing import Any, Final, Unpack

from audiocodecs import AudioFormat, Encoding
from mediaserver.agents.services.cartesia.messages import (
    CARTESIA,
    CARTESIA_VERSION,
    CartesiaMessages,
)
from mediaserver.agents.services.context_voice import (
    ContextConnection,
    ContextRequest,
    ContextVoice,
)
from mediaserver.agents.services.setting_values import require_name, require_within


_ENCODINGS: Final[dict[Encoding, str]] = {
    "mulaw": "pcm_mulaw",
    "alaw": "pcm_alaw",
    "l16": "pcm_s16le",
}
_RATES: Final = (8000, 16000, 22050, 24000, 44100, 48000)


class CartesiaVoice(ContextVoice):
    """Speaks with a voice of Cartesia: one connection for each call, a context for each text.

    Audio comes in the stream's format. The times of words tell what a caller has heard.

    Args:
        voice_id: the voice.
        model: the model, such as ``sonic-3``.
        language: the language of the text, such as ``en``; None leaves it to the voice.
        speed: from 0.6 to 1.5, for ``sonic-3`` and later models, as the next two.
        volume: from 0.5 to 2.
        emotion: a word that guides the voice, such as ``calm``.
        pronunciation_dict_id: a dictionary of pronunciations, for ``sonic-3`` and later models.
        max_buffer_delay_ms: milliseconds, up to 5000, for which the model waits for more text
            before it speaks; None leaves it to Cartesia, which waits for 3000. A flush, or the end
            of a text, ends the wait.
        connection: see `ContextVoice`.

    Raises:
        ValueError: a setting cannot be right.

    """

    def __init__(
        self,
        voice_id: str,
        *,
        model: str = "sonic-3",
        language: str | None = None,
        speed: float | None = None,
        volume: float | None = None,
        emotion: str | None = None,
        pronunciation_dict_id: str | None = None,
        max_buffer_delay_ms: int | None = None,
        **connection: Unpack[ContextConnection],
    ) -> None:
        super().__init__(CARTESIA, "CARTESIA_API_KEY", "wss://api.cartesia.ai", **connection)
        require_name(
            voice_id=voice_id,
            model=model,
            emotion=emotion,
            pronunciation_dict_id=pronunciation_dict_id,
        )
        if language is not None and not re.fullmatch("[a-z]{2,3}(-[A-Z]{2})?", language):
            raise ValueError(f"language must be like 'en' or 'en-GB', not {language!r}")
        require_within(0.6, 1.5, speed=speed)
        require_within(0.5, 2, volume=volume)
        require_within(0, 5000, max_buffer_delay_ms=max_buffer_delay_ms)
        generation = {"speed": speed, "volume": volume, "emotion": emotion}
        fields: dict[str, Any] = {
            "language": language,
            "pronunciation_dict_id": pronunciation_dict_id,
            "max_buffer_delay_ms": max_buffer_delay_ms,
            "generation_config": {
                name: value for name, value in generation.items() if value is not None
            }
            or None,
        }
        self._every = {
            "model_id": model,
            "voice": {"mode": "id", "id": voice_id},
            "add_timestamps": True,
            **{name: value for name, value in fields.items() if value is not None},
        }

    def request(self, format: AudioFormat, key: str) -> ContextRequest:
        """Return how to open a session; audio at a rate that Cartesia lacks comes at 24 kHz."""
        wire = format if format.rate in _RATES else AudioFormat("l16", 24000)
        output_format = {
            "container": "raw",
            "encoding": _ENCODINGS[wire.encoding],
            "sample_rate": wire.rate,
        }
        return ContextRequest(
            "/tts/websocket",
            {},
            {"authorization": f"Bearer {key}", "cartesia-version": CARTESIA_VERSION},
            CartesiaMessages({**self._every, "output_format": output_format}),
            wire,
        )
