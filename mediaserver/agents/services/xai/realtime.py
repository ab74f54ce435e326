"""Speech to speech by xAI's voice agent, which speaks OpenAI's Realtime protocol with differences.

https://docs.x.ai/developers/model-capabilities/audio/speech-to-speech. A call's audio is
passed through as it is: the API takes mu-law and A-law, and PCM of 8 and of 16 kHz. Needs the
``openai`` package: ``pip install '.[xai]'``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Unpack

from audiocodecs import AudioFormat
from mediaserver.agents.services.language_model import ToolSpec
from mediaserver.agents.services.openai.client import SessionConnection
from mediaserver.agents.services.openai.realtime import OpenAIRealtime
from mediaserver.agents.services.openai.realtime_session import OpenAIRealtimeSession
from mediaserver.agents.services.xai.realtime_messages import xai_session_settings
from mediaserver.agents.services.xai.realtime_session import XAIRealtimeSession


XAI_URL: Final = "https://api.x.ai/v1"


class XAIRealtime(OpenAIRealtime):
    """xAI's voice agent.

    Args:
        model: the model's name.
        voice: the voice: ``eve``, ``ara``, ``rex``, ``sal``, ``leo``, …
        language: the language that the caller is likely to speak (``en``, ``es-MX``), for the
            transcription.
        keyterms: up to 100 names and terms of at most 50 characters, for the transcription.
        speed: how fast the model speaks, from 0.7 to 1.5.
        turn_detection: None lets the agent take the turns. Settings of the API, such as
            ``{"type": "server_vad", "silence_duration_ms": 500}``, let the API take them.
        session: further settings of the session in the API's form, laid over all others:
            ``{"reasoning": {"effort": "none"}}``.
        first_timeout: seconds until a response begins.
        stall_timeout: seconds for which a response may pause. After that, or if it does not begin,
            the connection counts as lost.
        connection: see `OpenAIClient`. The key is in ``XAI_API_KEY``.

    Raises:
        ValueError: a setting is outside what the API takes.

    """

    service: ClassVar = "xai_realtime"
    session_class: ClassVar[type[OpenAIRealtimeSession]] = XAIRealtimeSession

    def __init__(
        self,
        *,
        model: str = "grok-voice-latest",
        voice: str = "eve",
        language: str | None = None,
        keyterms: Sequence[str] = (),
        speed: float | None = None,
        turn_detection: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        first_timeout: float = 8.0,
        stall_timeout: float = 5.0,
        **connection: Unpack[SessionConnection],
    ) -> None:
        if isinstance(keyterms, str):
            raise ValueError(f"keyterms are a list of texts, not the text {keyterms!r}")
        if len(keyterms) > 100 or any(not 0 < len(term) <= 50 for term in keyterms):
            raise ValueError("keyterms are up to 100 texts of 1 to 50 characters")
        if speed is not None and not 0.7 <= speed <= 1.5:
            raise ValueError(f"speed must be from 0.7 to 1.5, not {speed!r}")
        if connection.get("base_url") is None:
            # Otherwise OPENAI_BASE_URL would be taken.
            connection["base_url"] = XAI_URL
        connection.setdefault("api_key_variable", "XAI_API_KEY")
        super().__init__(
            model=model,
            voice=voice,
            language=language,
            turn_detection=turn_detection,
            session=session,
            first_timeout=first_timeout,
            stall_timeout=stall_timeout,
            **connection,
        )
        self.keyterms = tuple(keyterms)
        self.speed = speed

    async def check(self) -> None:
        """Find out whether the server accepts the key: see `Checked`.

        The list of models is asked for, which costs nothing. The model is not looked up in it,
        because xAI does not say that it has the voice models.

        Raises:
            MisconfiguredServiceError: there is no key, or the server refuses it.
            ServiceError: the server cannot be reached, or is not able to answer.

        """
        await self._client.check_key()

    def settings(
        self, prompt: str, tools: Sequence[ToolSpec], format: AudioFormat
    ) -> dict[str, Any]:
        """Return the settings of a session, in the API's form."""
        return xai_session_settings(
            prompt,
            tools,
            format,
            voice=self.voice,
            language=self.language,
            keyterms=self.keyterms,
            speed=self.speed,
            turn_detection=self.turn_detection,
            further=self.session,
        )
