"""Speech to speech by OpenAI's Realtime API, over its WebSocket.

https://platform.openai.com/docs/guides/realtime-websocket. A mu-law or A-law call is passed through
as it is; an L16 call goes as PCM of 24 kHz, the one rate that the API has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

from audiocodecs import AudioFormat
from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.language_model import Message, ToolSpec
from mediaserver.agents.services.openai.client import SessionConnection
from mediaserver.agents.services.openai.realtime_connection import RealtimeConnection
from mediaserver.agents.services.openai.realtime_events import SERVICE_NAME
from mediaserver.agents.services.openai.realtime_messages import session_settings
from mediaserver.agents.services.openai.realtime_service import RealtimeService
from mediaserver.agents.services.openai.realtime_session import OpenAIRealtimeSession


class OpenAIRealtime(RealtimeService):
    """OpenAI's speech-to-speech models.

    Args:
        model: the model's name.
        voice: the voice: ``marin``, ``cedar``, ``alloy``, …
        transcription: the model that transcribes the caller, for the conversation, logs and hooks,
            and so that a short "Stop!" interrupts; None for no transcription.
        language: the caller's language (``en``), for the transcription.
        turn_detection: None lets the agent take the turns: it knows what the caller hears, and a
            cough does not interrupt it. Settings of the API, such as ``{"type": "semantic_vad"}``,
            let the API take them.
        session: further settings of the session in the API's form, laid over all others:
            ``{"reasoning": {"effort": "low"}, "audio": {"output": {"speed": 1.1}}}``.
        first_timeout: seconds until a response begins.
        stall_timeout: seconds for which a response may pause. After that, or if it does not begin,
            the connection counts as lost.
        connection: see `OpenAIClient`. ``connect_timeout`` limits the whole set-up, and is five
            seconds if left out.

    """

    service: ClassVar = SERVICE_NAME
    session_class: ClassVar[type[OpenAIRealtimeSession]] = OpenAIRealtimeSession

    def __init__(
        self,
        *,
        model: str = "gpt-realtime-2.1",
        voice: str = "marin",
        transcription: str | None = "gpt-transcribe",
        language: str | None = None,
        turn_detection: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        first_timeout: float = 8.0,
        stall_timeout: float = 5.0,
        **connection: Unpack[SessionConnection],
    ) -> None:
        require_seconds(first_timeout=first_timeout, stall_timeout=stall_timeout)
        super().__init__(model, connection)
        self.voice = voice
        self.transcription = transcription
        self.language = language
        self.turn_detection = turn_detection
        self.session = session or {}
        self.first_timeout = first_timeout
        self.stall_timeout = stall_timeout

    async def connect(
        self,
        *,
        prompt: str,
        tools: Sequence[ToolSpec],
        format: AudioFormat,
        conversation: Sequence[Message] = (),
    ) -> OpenAIRealtimeSession:
        """Open a session: see `RealtimeModel`."""
        async with RealtimeConnection.opened(
            self._client, self.model, {"model": self.model}, within=self.connect_timeout
        ) as connection:
            session = self.session_class(
                self._client,
                connection,
                self.settings,
                prompt=prompt,
                format=format,
                takes_turns=self.turn_detection is not None,
                transcribes=self.transcription is not None,
                first_timeout=self.first_timeout,
                stall_timeout=self.stall_timeout,
            )
            await session.configure(tools, conversation)
        return session

    def settings(
        self, prompt: str, tools: Sequence[ToolSpec], format: AudioFormat
    ) -> dict[str, Any]:
        """Return the settings of a session, in the API's form."""
        return session_settings(
            prompt,
            tools,
            format,
            voice=self.voice,
            transcription_model=self.transcription,
            language=self.language,
            turn_detection=self.turn_detection,
            further=self.session,
        )
