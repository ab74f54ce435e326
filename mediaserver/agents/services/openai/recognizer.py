"""Speech recognition while it is spoken, by OpenAI's Realtime API.

https://developers.openai.com/api/docs/guides/realtime-transcription and
https://developers.openai.com/api/docs/guides/realtime-vad. A mu-law or A-law call is passed through
as it is; an L16 call goes as PCM of 24 kHz, the one rate that the API has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Unpack, get_args

from audiocodecs import AudioFormat
from mediaserver.agents.services.laid_over import laid_over
from mediaserver.agents.services.openai.client import SessionConnection
from mediaserver.agents.services.openai.realtime_connection import RealtimeConnection
from mediaserver.agents.services.openai.realtime_messages import transcription_settings
from mediaserver.agents.services.openai.realtime_service import RealtimeService
from mediaserver.agents.services.openai.recognizer_session import OpenAIRecognizerSession
from mediaserver.agents.services.setting_values import require_name, require_text_list


TranscriptionDelay = Literal["minimal", "low", "medium", "high", "xhigh"]
NoiseReduction = Literal["near_field", "far_field"]

_STREAMING: Final = ("gpt-live-transcribe", "gpt-realtime-whisper")
"""Models that transcribe as the audio comes, and take no turns."""

_KEYTERMS: Final = ("gpt-live-transcribe", "gpt-transcribe")
"""Models that know ``keywords`` and ``languages``."""

_KNOWN: Final = frozenset(
    {
        *_STREAMING,
        *_KEYTERMS,
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "whisper-1",
    }
)
"""Of other names, such as those of deployments, the API says what they can do."""


class OpenAIRecognizer(RealtimeService):
    """Recognises speech with OpenAI's transcription models. One object serves all calls.

    Args:
        model: ``gpt-live-transcribe`` and ``gpt-realtime-whisper`` tell words while the caller
            speaks; ``gpt-transcribe`` and ``gpt-4o-transcribe`` when a turn is over.
        language: the caller's language in ISO 639-1, such as ``en``; None lets the model detect it.
        languages: languages that callers are likely to speak.
        keyterms: names and terms that callers are likely to say.
        prompt: what the calls are about, in words.
        delay: how long the model waits before it tells words: from ``minimal`` to ``xhigh``, which
            understands best. None is the model's own.
        noise_reduction: ``near_field`` for a handset, ``far_field`` for a loudspeaker; None for
            none.
        turn_detection: None lets the agent take the turns: the API is given only what the caller
            says, and silence costs nothing. Settings of the API, such as
            ``{"type": "semantic_vad"}``, let the API take them: it is given everything. Not with
            models that tell words while the caller speaks.
        session: further settings of the session in the API's form, laid over all others.
        connection: see `OpenAIClient`. ``connect_timeout`` limits the whole set-up, and is five
            seconds if left out.

    Raises:
        ValueError: a setting is none that the API or the model takes.

    """

    service: ClassVar = "openai_recognizer"
    name: ClassVar = service

    def __init__(
        self,
        model: str = "gpt-live-transcribe",
        *,
        language: str | None = None,
        languages: Sequence[str] = (),
        keyterms: Sequence[str] = (),
        prompt: str | None = None,
        delay: TranscriptionDelay | None = None,
        noise_reduction: NoiseReduction | None = None,
        turn_detection: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        **connection: Unpack[SessionConnection],
    ) -> None:
        require_name(model=model, language=language)
        _require_one(TranscriptionDelay, delay=delay)
        _require_one(NoiseReduction, noise_reduction=noise_reduction)
        settings: dict[str, Any] = {
            "model": model,
            "language": language,
            "languages": require_text_list("languages", languages),
            "keywords": require_text_list("keyterms", keyterms),
            "prompt": prompt,
            "delay": delay,
        }
        self._transcription = {name: value for name, value in settings.items() if value}
        if model in _KNOWN:
            _check_model(model, self._transcription, turn_detection)
        super().__init__(model, connection)
        self._turn_detection = turn_detection
        self._noise_reduction = noise_reduction
        self._session = session or {}

    async def listen(self, format: AudioFormat) -> OpenAIRecognizerSession:
        """Open a session for a call.

        Raises:
            ServiceError: the API cannot be reached, or refuses the key or a setting.

        """
        settings = transcription_settings(
            format,
            self._transcription,
            turn_detection=self._turn_detection,
            noise_reduction=self._noise_reduction,
        )
        # With a model in the address, it would be a session of a conversation.
        async with RealtimeConnection.opened(
            self._client, self.model, {"intent": "transcription"}, within=self.connect_timeout
        ) as connection:
            session = OpenAIRecognizerSession(
                self._client,
                connection,
                format=format,
                takes_turns=self._turn_detection is not None,
            )
            await session.configure(laid_over(settings, self._session))
        return session


def _require_one(allowed: Any, **setting: str | None) -> None:
    for name, value in setting.items():
        if value is not None and value not in get_args(allowed):
            values = ", ".join(get_args(allowed))
            raise ValueError(f"{name} must be one of {values}, not {value!r}")


def _check_model(
    model: str, transcription: Mapping[str, Any], turn_detection: Mapping[str, Any] | None
) -> None:
    if turn_detection is not None and model in _STREAMING:
        raise ValueError(
            f"{model} takes no turns: leave out turn_detection, or use another model, such as "
            "gpt-transcribe"
        )
    for name, setting, models in (
        ("keywords", "keyterms", _KEYTERMS),
        ("languages", "languages", _KEYTERMS),
        ("delay", "delay", _STREAMING),
    ):
        if name in transcription and model not in models:
            raise ValueError(f"{setting} is for {' and '.join(models)}, not for {model!r}")
    if "prompt" in transcription and model == "gpt-realtime-whisper":
        raise ValueError("prompt is for other models, not for 'gpt-realtime-whisper'")
