"""Speech to speech by Gemini's Live API, over its WebSocket.

https://ai.google.dev/gemini-api/docs/live-api. The caller's speech goes as PCM of 16 kHz, the
model's comes as PCM of 24 kHz: the API has no telephone formats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Unpack

from audiocodecs import AudioFormat
from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.errors import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.event_client import ServerConnection, require_texts
from mediaserver.agents.services.gemini.client import (
    API_VERSION,
    KEY_HEADER,
    GeminiClient,
)
from mediaserver.agents.services.gemini.live_events import SERVICE_NAME, decode_live_message
from mediaserver.agents.services.gemini.live_exchange import SessionState
from mediaserver.agents.services.gemini.live_messages import live_setup, turns_message
from mediaserver.agents.services.gemini.live_session import GeminiLiveSession
from mediaserver.agents.services.language_model import Message, ToolSpec
from mediaserver.agents.services.service_socket import ServiceSocket


_PATH: Final = (
    f"ws/google.ai.generativelanguage.{API_VERSION}.GenerativeService.BidiGenerateContent"
)
_OWN: Final = frozenset({"model", "systemInstruction", "tools", "sessionResumption"})


class GeminiLive:
    """A `RealtimeModel` of Gemini's speech-to-speech models.

    Args:
        model: the model's name. Models with background reasoning, which use tools asynchronously
            only, do not fit.
        voice: the voice: ``Puck``, ``Kore``, ``Charon``, ``Aoede``, …
        transcription: whether the caller is transcribed, for the conversation, logs and hooks.
        language: the language that the caller most likely speaks (``en-US``), for the
            transcription.
        keyterms: words that the transcription should know.
        turn_detection: None lets the agent take the turns: it knows what the caller hears, a cough
            does not interrupt it, and silence is not paid for. Settings of the API, such as
            ``{}`` or ``{"silenceDurationMs": 500}``, let the API take them.
        session: further settings of the session in the API's form, laid over all others:
            ``{"generationConfig": {"temperature": 0.7}}``.
        first_timeout: seconds until a response begins.
        stall_timeout: seconds for which a response may pause. After that, or if it does not begin,
            the connection counts as lost.
        connection: see `EventClient`. ``connect_timeout`` limits the whole set-up, and is five
            seconds if left out.

    Raises:
        ValueError: a setting has no such value, or ``session`` a field that this class sets itself.

    """

    def __init__(
        self,
        *,
        model: str = "gemini-3.8-live",
        voice: str = "Puck",
        transcription: bool = True,
        language: str | None = None,
        keyterms: Sequence[str] = (),
        turn_detection: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        first_timeout: float = 8.0,
        stall_timeout: float = 5.0,
        **connection: Unpack[ServerConnection],
    ) -> None:
        require_seconds(first_timeout=first_timeout, stall_timeout=stall_timeout)
        require_texts(model=model, voice=voice)
        if "max_retries" in connection:
            raise TypeError("GeminiLive takes no max_retries: an agent opens a lost session again")
        if isinstance(keyterms, str):
            raise ValueError(f"keyterms must be several texts, not one: {keyterms!r}")
        if turn_detection is not None and turn_detection.get("disabled"):
            raise ValueError("turn_detection=None lets the agent take the turns, not 'disabled'")
        if taken := sorted(_OWN & (session or {}).keys()):
            raise ValueError(f"session holds fields that GeminiLive sets itself: {taken}")
        self.model = model
        self.voice = voice
        self.turn_detection = turn_detection
        self.session = session or {}
        self.first_timeout = first_timeout
        self.stall_timeout = stall_timeout
        connection.setdefault("connect_timeout", 5.0)
        self._transcription: dict[str, Any] | None = {} if transcription else None
        if self._transcription is not None and language is not None:
            self._transcription["languageCodes"] = [language]
        if self._transcription is not None and keyterms:
            self._transcription["customVocabulary"] = list(keyterms)
        self._client = GeminiClient(SERVICE_NAME, **connection)

    @property
    def provider(self) -> str:
        """Who runs the server: see `EventClient.provider`."""
        return self._client.provider

    async def connect(
        self,
        *,
        prompt: str,
        tools: Sequence[ToolSpec],
        format: AudioFormat,
        conversation: Sequence[Message] = (),
    ) -> GeminiLiveSession:
        """Open a session: see `RealtimeModel`."""
        state = SessionState(prompt, tools, history=[*conversation])
        session = GeminiLiveSession(
            self._open,
            state,
            format=format,
            takes_turns=self.turn_detection is not None,
            transcribes=self._transcription is not None,
            first_timeout=self.first_timeout,
            stall_timeout=self.stall_timeout,
        )
        await session.open()
        return session

    async def _open(self, state: SessionState) -> ServiceSocket:
        """Connect, and wait until the API has agreed to the settings."""
        key = self._client.key()
        seconds = self._client.connect_timeout
        socket: ServiceSocket | None = None
        try:
            async with asyncio.timeout(seconds):
                socket = await ServiceSocket.connect(
                    SERVICE_NAME,
                    f"ws{self._client.base_url.removeprefix('http')}/{_PATH}",
                    headers={KEY_HEADER: key},
                    within=seconds,
                    secret=key,
                )
                await self._set_up(socket, state)
        except BaseException as error:
            if socket is not None:
                await socket.close()
            if isinstance(error, TimeoutError):
                raise ServiceError(SERVICE_NAME, f"no session within {seconds:g} s") from error
            raise
        return socket

    async def _set_up(self, socket: ServiceSocket, state: SessionState) -> None:
        setup = live_setup(
            self.model,
            state.prompt,
            state.tools,
            voice=self.voice,
            transcription=self._transcription,
            turn_detection=self.turn_detection,
            further=self.session,
            handle=state.handle,
            has_history=bool(state.history),
        )
        await socket.send(setup)
        try:
            while True:
                message = decode_live_message(await socket.receive())
                if message is not None and message.setup_complete is not None:
                    break
        except ServiceError as error:
            # The API closes the connection with a reason, and has no code for each.
            if "API key" in error.reason:
                raise MisconfiguredServiceError(SERVICE_NAME, error.reason, status=401) from error
            if "is not found" in error.reason:
                raise MisconfiguredServiceError(SERVICE_NAME, error.reason, status=404) from error
            raise
        if state.history:
            await socket.send(turns_message(state.history))

    async def prewarm(self) -> None:
        """Open an HTTPS connection, which warms up DNS. A failure is only logged."""
        await self._client.prewarm()

    async def check(self) -> None:
        """Find out whether the server accepts the key and has the model: see `Checked`."""
        await self._client.check(self.model, "bidiGenerateContent")

    async def close(self) -> None:
        """Close the HTTP connections of the running event loop. Its sessions stay open."""
        await self._client.close()
