"""Voices of ElevenLabs over its multi-context WebSocket."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal, Unpack, get_args
from urllib.parse import quote

from audiocodecs import AudioFormat, Encoding
from mediaserver.agents.services.context_voice import (
    ContextConnection,
    ContextRequest,
    ContextVoice,
)
from mediaserver.agents.services.elevenlabs.messages import ELEVENLABS, ElevenLabsMessages
from mediaserver.agents.services.setting_values import require_name, require_within


_ENCODINGS: Final[dict[Encoding, str]] = {"mulaw": "ulaw", "alaw": "alaw", "l16": "pcm"}
_RATES: Final = (8000, 16000, 22050, 24000, 44100)
_Normalization = Literal["auto", "on", "off"]


class ElevenLabsVoice(ContextVoice):
    """Speaks with a voice of ElevenLabs: one connection for each call, a context for each text.

    Audio comes in the stream's format. The times of characters tell what a caller has heard.

    Args:
        voice_id: the voice.
        model: the model; ``eleven_flash_v2_5`` is the fastest. ``eleven_v3`` cannot be used here.
        language: ISO 639-1, such as ``en``, for models that take it; None leaves it to the model.
        stability: from 0 to 1; None leaves this and the next three to the voice's own settings.
        similarity_boost: from 0 to 1.
        style: from 0 to 1.
        use_speaker_boost: whether to be closer to the original speaker, which takes longer.
        speed: from 0.7 to 1.2.
        chunk_length_schedule: characters, from 50 to 500 each, after which the first, the second …
            piece is spoken without a flush.
        auto_mode: whether every piece of text is spoken at once; for whole sentences.
        text_normalization: whether numbers and the like are read as words.
        seed: the same seed, text and settings give nearly the same speech.
        logging: whether ElevenLabs may keep the text and the speech.
        inactivity_timeout: seconds, up to 180, after which ElevenLabs closes a context of a client
            that has gone. A message in every third of it keeps those of a call.
        connection: see `ContextVoice`. Other addresses keep data in the EU
            (``wss://api.eu.residency.elevenlabs.io``) and in India.

    Raises:
        ValueError: a setting cannot be right.

    """

    def __init__(
        self,
        voice_id: str,
        *,
        model: str = "eleven_flash_v2_5",
        language: str | None = None,
        stability: float | None = None,
        similarity_boost: float | None = None,
        style: float | None = None,
        use_speaker_boost: bool | None = None,
        speed: float | None = None,
        chunk_length_schedule: Sequence[float] = (),
        auto_mode: bool = False,
        text_normalization: _Normalization = "auto",
        seed: int | None = None,
        logging: bool = True,
        inactivity_timeout: int = 180,
        **connection: Unpack[ContextConnection],
    ) -> None:
        super().__init__(ELEVENLABS, "ELEVENLABS_API_KEY", "wss://api.elevenlabs.io", **connection)
        require_name(voice_id=voice_id, model=model)
        if model.startswith("eleven_v3"):
            raise ValueError("eleven_v3 has no multi-context WebSocket; use eleven_flash_v2_5")
        if language is not None and not re.fullmatch("[a-z]{2}", language):
            raise ValueError(f"language must be of ISO 639-1, such as 'en', not {language!r}")
        require_within(0, 1, stability=stability, similarity_boost=similarity_boost, style=style)
        require_within(0.7, 1.2, speed=speed)
        require_within(1, 180, inactivity_timeout=inactivity_timeout)
        require_within(0, 2**32 - 1, seed=seed)
        for length in chunk_length_schedule:
            require_within(50, 500, chunk_length_schedule=length)
        if text_normalization not in get_args(_Normalization):
            raise ValueError(
                f"text_normalization must be 'auto', 'on' or 'off', not {text_normalization!r}"
            )
        self._voice_id = voice_id
        settings = {
            "stability": stability,
            "similarity_boost": similarity_boost,
            "style": style,
            "use_speaker_boost": use_speaker_boost,
            "speed": speed,
        }
        chosen = {name: value for name, value in settings.items() if value is not None}
        first: dict[str, Any] = {"voice_settings": chosen} if chosen else {}
        if chunk_length_schedule:
            first["generation_config"] = {"chunk_length_schedule": list(chunk_length_schedule)}
        self._messages = ElevenLabsMessages(first, inactivity_timeout / 3)
        self._query = {
            "model_id": model,
            "sync_alignment": "true",
            "inactivity_timeout": str(int(inactivity_timeout)),
            "apply_text_normalization": text_normalization,
            **({"language_code": language} if language else {}),
            **({"auto_mode": "true"} if auto_mode else {}),
            **({"enable_logging": "false"} if not logging else {}),
            **({"seed": str(seed)} if seed is not None else {}),
        }

    def request(self, format: AudioFormat, key: str) -> ContextRequest:
        """Return how to open a session; audio at a rate that ElevenLabs lacks comes at 24 kHz."""
        wire = format if format.rate in _RATES else AudioFormat("l16", 24000)
        output_format = f"{_ENCODINGS[wire.encoding]}_{wire.rate}"
        return ContextRequest(
            f"/v1/text-to-speech/{quote(self._voice_id, safe='')}/multi-stream-input",
            {**self._query, "output_format": output_format},
            {"xi-api-key": key},
            self._messages,
            wire,
        )
