"""How AssemblyAI is reached.

https://www.assemblyai.com/docs/streaming/api-spec/streaming-websocket and
https://www.assemblyai.com/docs/streaming/authenticate-with-a-temporary-token. The ``assemblyai``
package is not needed: the protocol is small, and it knows neither our errors nor our time limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypedDict

from websockets.exceptions import ConnectionClosed

from audiocodecs import AudioFormat
from mediaserver.agents.services.assemblyai.messages import (
    AssemblyAIBegin,
    AssemblyAIFailure,
    decode_assemblyai,
)
from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.errors import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.service_address import ServiceAddress
from mediaserver.agents.services.service_socket import ServiceKey, ServiceSocket


ASSEMBLYAI_URL: Final = "wss://streaming.assemblyai.com"
ASSEMBLYAI_VERSION: Final = "2025-05-12"
"""The version of the API that the messages are of."""

_ENCODINGS: Final = {"mulaw": "pcm_mulaw", "l16": "pcm_s16le"}
_STATUSES: Final = {1008: 401, 3006: 400, 3009: 429}
"""The HTTP statuses that say the same as codes with which AssemblyAI closes a connection.
https://www.assemblyai.com/docs/streaming/common-session-errors-and-closures."""


class AssemblyAIConnection(TypedDict, total=False):
    """How to reach AssemblyAI: keyword arguments of the recogniser."""

    base_url: str
    api_key: str | None
    token: Callable[[], Awaitable[str]] | None
    connect_timeout: float


class AssemblyAIAccount:
    """The key and the address with which AssemblyAI is used.

    Args:
        service: the service's name, for errors.
        base_url: the server's address, without a path, such as ``wss://streaming.eu.assemblyai.com``
            for the European Union.
        api_key: the key; None takes it from ``ASSEMBLYAI_API_KEY``.
        token: returns a temporary token for each session, in place of a key.
        connect_timeout: seconds to open a session.

    """

    def __init__(
        self,
        service: str,
        *,
        base_url: str = ASSEMBLYAI_URL,
        api_key: str | None = None,
        token: Callable[[], Awaitable[str]] | None = None,
        connect_timeout: float = 3.0,
    ) -> None:
        require_seconds(connect_timeout=connect_timeout)
        self._address = ServiceAddress(base_url, ASSEMBLYAI_URL)
        if token is not None and (api_key is not None or not callable(token)):
            raise ValueError("token is a function that returns a token, in place of api_key")
        self.service = service
        self._key = ServiceKey(service, api_key, "ASSEMBLYAI_API_KEY")
        self._token = token
        self._connect_timeout = connect_timeout

    async def connect(
        self, query: Mapping[str, str], format: AudioFormat
    ) -> tuple[ServiceSocket, AssemblyAIBegin]:
        """Open a session for audio of a format, and wait until it has begun.

        Raises:
            MisconfiguredServiceError: AssemblyAI refuses the key or a setting.
            ServiceError: it cannot be reached, or takes no more sessions.

        """
        headers = {"assemblyai-version": ASSEMBLYAI_VERSION}
        parameters = {
            **query,
            "encoding": _ENCODINGS[format.encoding],
            "sample_rate": str(format.rate),
        }
        if self._token is None:
            secret = headers["authorization"] = self._key.get()
        else:
            secret = parameters["token"] = await self._temporary_token(self._token)
        until = asyncio.get_running_loop().time() + self._connect_timeout
        socket = await ServiceSocket.connect(
            self.service,
            self._address.socket("/v3/ws"),
            query=parameters,
            headers=headers,
            within=self._connect_timeout,
            secret=secret,
        )
        try:
            async with asyncio.timeout_at(until):
                return socket, await self._begun(socket)
        except BaseException as error:
            await socket.close()
            if isinstance(error, TimeoutError):
                reason = f"{self._address.host} began no session within {self._connect_timeout:g} s"
                raise ServiceError(self.service, reason) from None
            raise

    async def check(self) -> None:
        """Find out whether AssemblyAI accepts the key, which costs nothing.

        It asks for a temporary token. If the recogniser was given `token`, that is called.

        Raises:
            MisconfiguredServiceError: there is no key, or AssemblyAI refuses it.
            ServiceError: AssemblyAI cannot be reached.

        """
        if self._token is not None:
            await self._temporary_token(self._token)
            return
        headers = {"authorization": self._key.get(), "assemblyai-version": ASSEMBLYAI_VERSION}
        await self._address.check_key(
            self.service, "/v3/token", headers=headers, query={"expires_in_seconds": "60"}
        )

    def failure(self, message: AssemblyAIFailure) -> ServiceError:
        """Return the error that a message tells."""
        return self._error(
            f"{message.error} ({message.error_code or 'no code'})", message.error_code
        )

    async def _temporary_token(self, token: Callable[[], Awaitable[str]]) -> str:
        try:
            async with asyncio.timeout(self._connect_timeout):
                given = await token()
        except ServiceError:
            raise
        except Exception as error:
            reason = f"token failed: {str(error) or type(error).__name__}"
            raise ServiceError(self.service, reason) from error
        if not isinstance(given, str) or not given:
            reason = f"token must return a text, not {type(given).__name__}"
            raise MisconfiguredServiceError(self.service, reason, status=401)
        return given

    async def _begun(self, socket: ServiceSocket) -> AssemblyAIBegin:
        while True:
            try:
                received = await socket.receive()
            except ServiceError as lost:
                closed = lost.__cause__
                if isinstance(closed, ConnectionClosed) and closed.rcvd is not None:
                    raise self._error(lost.reason, closed.rcvd.code) from closed
                raise
            with socket.decoding(received):
                message = decode_assemblyai(received)
            if isinstance(message, AssemblyAIBegin):
                return message
            if isinstance(message, AssemblyAIFailure):
                raise self.failure(message)

    def _error(self, reason: str, code: int | None) -> ServiceError:
        status = _STATUSES.get(code or 0)
        kind = MisconfiguredServiceError if status in (400, 401) else ServiceError
        return kind(self.service, reason, status=status)
