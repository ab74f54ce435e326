"""A connection to OpenAI's Realtime API, whose every failure is a `ServiceError`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pybase64
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from mediaserver.agents.services.errors import refused_with
from mediaserver.agents.services.openai.client import OpenAIClient
from mediaserver.agents.services.openai.realtime_events import (
    ErrorEvent,
    SessionUpdated,
    decode_server_event,
)
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


class RealtimeConnection:
    """A connection of one call to the Realtime API.

    Messages that are sent after it was lost are dropped: `receive` raises the loss.

    Args:
        client: describes failures.
        connection: the package's connection.

    """

    def __init__(self, client: OpenAIClient, connection: AsyncRealtimeConnection) -> None:
        self._client = client
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, client: OpenAIClient, model: str, query: Mapping[str, str], *, within: float
    ) -> AsyncIterator[RealtimeConnection]:
        """Open a connection that the block sets up. It is closed if the block fails.

        Args:
            client: reaches the server.
            model: the model, for errors.
            query: the parameters of the address.
            within: seconds that both may take.

        Raises:
            ServiceError: the server cannot be reached, refuses the connection, or took too long.

        """
        connection: RealtimeConnection | None = None
        try:
            async with asyncio.timeout(within):
                connection = cls(client, await _connect(client, model, query))
                yield connection
        except BaseException as error:
            if connection is not None:
                await connection.close()
            if isinstance(error, TimeoutError):
                raise client.failure(f"no session within {within:g} s") from error
            raise

    async def agreed(self) -> None:
        """Wait until the API has taken the settings of a ``session.update``.

        Raises:
            ServiceError: the API refuses them, or the connection was lost.

        """
        while True:
            event = decode_server_event(await self.receive(), self._client.service)
            if isinstance(event, ErrorEvent):
                raise self._client.failure(str(event.error))
            if isinstance(event, SessionUpdated):
                return

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send an event."""
        await self._send(msgspec.json.encode(event).decode())

    async def append(self, audio: bytes) -> None:
        """Send audio of the caller; nothing if there is none."""
        if audio:
            encoded = pybase64.b64encode(audio).decode()
            await self._send(f'{{"type":"input_audio_buffer.append","audio":"{encoded}"}}')

    async def receive(self) -> bytes:
        """Return the next event, as it came.

        Raises:
            ServiceError: the connection was lost.

        """
        try:
            return await self._connection.recv_bytes()
        except ConnectionClosed as error:
            reason = f"the connection was lost: {error.__cause__ or error}"
            raise self._client.failure(reason) from error

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        await self._connection.close()

    async def _send(self, message: str) -> None:
        try:
            await self._connection.send_raw(message)
        except ConnectionClosed:
            pass


async def _connect(
    client: OpenAIClient, model: str, query: Mapping[str, str]
) -> AsyncRealtimeConnection:
    with client.failures(model):
        try:
            return await (
                client.get()
                .realtime.connect(extra_query=dict(query), websocket_connection_options=_OPTIONS)
                .enter()
            )
        except InvalidStatus as error:
            status = error.response.status_code
            reason = f"the connection was refused with {status}: {_refusal(error)}"
            reason = client.without_secrets(reason)
            raise refused_with(client.service, reason, status) from error
        except (OSError, WebSocketException) as error:
            reason = f"cannot connect to {client.base_url}: {error}"
            raise client.failure(reason) from error


def _refusal(error: InvalidStatus) -> str:
    body = error.response.body or b""
    try:
        return str(msgspec.json.decode(body, type=ErrorEvent).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:200].decode(errors="replace") or error.response.reason_phrase
