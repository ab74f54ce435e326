"""Speech to speech by OpenAI's Realtime API, over its WebSocket.

https://platform.openai.com/docs/guides/realtime-websocket. A mu-law or A-law call is passed through
as it is; an L16 call goes as PCM of 24 kHz, the one rate that the API has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack, cast

import msgspec
import structlog
from websockets.exceptions import InvalidStatus, WebSocketException

from audiocodecs import AudioFormat
from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.language_model import Message, ToolSpec
from mediaserver.agents.services.openai.client import OpenAIClient, SessionConnection
from mediaserver.agents.services.openai.realtime_events import SERVICE_NAME, ErrorEvent
from mediaserver.agents.services.openai.realtime_messages import session_settings
from mediaserver.agents.services.openai.realtime_session import OpenAIRealtimeSession
from mediaserver.agents.services.service_connection import ServiceConnection


try:
    # Otherwise the package imports this at its first use, in a call.
    from openai.resources.realtime.realtime import AsyncRealtimeConnection
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"OpenAI's Realtime API needs a package that is not installed ({error.name}): "
        "pip install '.[openai]'",
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from openai.types.websocket_connection_options import WebSocketConnectionOptions


# The package passes on every option of `websockets.connect`, more than its type names.
_OPTIONS = cast(
    "WebSocketConnectionOptions", {"close_timeout": 1.0, "create_connection": ServiceConnection}
)

log = structlog.get_logger(__name__)


class OpenAIRealtime:
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
        self.model = model
        self.voice = voice
        self.transcription = transcription
        self.language = language
        self.turn_detection = turn_detection
        self.session = session or {}
        self.first_timeout = first_timeout
        self.stall_timeout = stall_timeout
        if "max_retries" in connection:
            raise TypeError(
                f"{type(self).__name__} takes no max_retries: an agent opens a lost session again"
            )
        self.connect_timeout = connection.setdefault("connect_timeout", 5.0)
        self._client = OpenAIClient(self.service, **connection)

    @property
    def provider(self) -> str:
        """Who runs the server: see `OpenAIClient.provider`."""
        return self._client.provider

    async def connect(
        self,
        *,
        prompt: str,
        tools: Sequence[ToolSpec],
        format: AudioFormat,
        conversation: Sequence[Message] = (),
    ) -> OpenAIRealtimeSession:
        """Open a session: see `RealtimeModel`."""
        connection: AsyncRealtimeConnection | None = None
        try:
            async with asyncio.timeout(self.connect_timeout):
                connection = await self._connect()
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
        except BaseException as error:
            if connection is not None:
                await connection.close()
            if isinstance(error, TimeoutError):
                reason = f"no session within {self.connect_timeout:g} s"
                raise self._client.failure(reason) from error
            raise
        return session

    async def _connect(self) -> AsyncRealtimeConnection:
        with self._client.failures(self.model):
            try:
                return await (
                    self._client.get()
                    .realtime.connect(model=self.model, websocket_connection_options=_OPTIONS)
                    .enter()
                )
            except InvalidStatus as error:
                status = error.response.status_code
                reason = f"the connection was refused with {status}: {_refusal(error)}"
                raise self._client.failure(reason, status=status) from error
            except (OSError, WebSocketException) as error:
                reason = f"cannot connect to {self._client.base_url}: {error}"
                raise self._client.failure(reason) from error

    async def prewarm(self) -> None:
        """Make the client that connects. A missing key is only logged."""
        try:
            self._client.get()
        except ServiceError as error:
            log.warning("not prewarmed", service=self.service, error=str(error))

    async def check(self) -> None:
        """Find out whether the server accepts the key and has the model: see `Checked`."""
        await self._client.check(self.model)

    async def close(self) -> None:
        """Close the client of the running event loop. Its sessions stay open."""
        await self._client.close()

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


def _refusal(error: InvalidStatus) -> str:
    body = error.response.body or b""
    try:
        return str(msgspec.json.decode(body, type=ErrorEvent).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:200].decode(errors="replace") or error.response.reason_phrase
