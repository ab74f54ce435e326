"""A WebSocket to a service, whose every failure is a `ServiceError`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlencode, urlsplit

import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from mediaserver.agents.services.errors import (
    MisconfiguredServiceError,
    ServiceError,
    refused_with,
)
from mediaserver.agents.services.service_connection import ServiceConnection, UnreadError


_LARGEST: Final = 16 * 2**20
"""Bytes of a message: some services send a sentence's audio in one."""
_CLOSES_WITHIN: Final = 1.0
_EXCERPT: Final = 200

log = structlog.get_logger("mediaserver.agents")


class ServiceKey:
    """The key with which a service is used, looked up when it is needed.

    Args:
        service: the service's name, for the error.
        value: the key; None takes it from the environment.
        variable: the environment variable with the key, such as ``DEEPGRAM_API_KEY``.

    """

    def __init__(self, service: str, value: str | None, variable: str) -> None:
        self._service = service
        self._value = value
        self._variable = variable

    def get(self) -> str:
        """Return the key, without spaces and line ends around it.

        Raises:
            MisconfiguredServiceError: there is none, or it cannot be one.

        """
        key = (self._value or os.environ.get(self._variable) or "").strip()
        if not (key.isascii() and key.isprintable()):
            reason = "its key has characters that no key has, such as typographic quotation marks"
            raise MisconfiguredServiceError(self._service, reason, status=401)
        if not key:
            reason = f"it has no key: set {self._variable}, or pass api_key"
            raise MisconfiguredServiceError(self._service, reason, status=401)
        return key


class ServiceSocket:
    """A connection of one call to a service.

    Messages that are sent after it was lost are dropped: `receive` raises the loss. A service that
    does not read what is sent to it counts as lost: see `ServiceConnection`.
    """

    def __init__(
        self, service: str, socket: ServiceConnection, host: str, *, secret: str = ""
    ) -> None:
        self._service = service
        self._socket = socket
        self._host = host
        self._secret = secret

    @classmethod
    async def connect(
        cls,
        service: str,
        url: str,
        *,
        query: Mapping[str, str | list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        within: float,
        secret: str = "",
    ) -> ServiceSocket:
        """Open a connection.

        Args:
            service: the service's name, for errors.
            url: the address, ``wss://…`` or ``ws://…``.
            query: the parameters of the address; a list repeats its parameter.
            headers: further headers of the request, such as the one with the key.
            within: seconds that it may take, with DNS and TLS.
            secret: the key, which no error message shows.

        Raises:
            MisconfiguredServiceError: the service refuses the key (401, 403) or has no such address
                or model (404).
            ServiceError: the service cannot be reached, or refuses the connection.

        """
        host = urlsplit(url).netloc.rpartition("@")[2]
        address = f"{url}?{urlencode(query, doseq=True)}" if query else url
        try:
            socket = await connect(
                address,
                additional_headers=headers,
                open_timeout=within,
                close_timeout=_CLOSES_WITHIN,
                max_size=_LARGEST,
                # Audio does not get smaller by it.
                compression=None,
                user_agent_header="mediaserver",
                create_connection=ServiceConnection,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            said = _excerpt(error.response.body, secret) or error.response.reason_phrase
            reason = f"{host} refused the connection with {status}: {said}"
            raise refused_with(service, reason, status) from error
        except TimeoutError:
            raise ServiceError(service, f"no connection to {host} within {within:g} s") from None
        except (OSError, WebSocketException) as error:
            reason = without_secret(str(error) or repr(error), secret)
            raise ServiceError(service, f"cannot connect to {host}: {reason}") from error
        assert isinstance(socket, ServiceConnection)
        return cls(service, socket, host, secret=secret)

    async def send(self, message: bytes | str) -> None:
        """Send a message, as text or as binary, without waiting for the service to read it."""
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            log.debug("not sent", service=self._service, reason="the connection was lost")

    async def receive(self) -> bytes | str:
        """Return the next message.

        Raises:
            ServiceError: the connection was lost or closed.

        """
        try:
            return await self._socket.recv()
        except ConnectionClosed as error:
            raise ServiceError(self._service, self._loss(error)) from error

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        await self._socket.close()

    @contextmanager
    def decoding(self, message: bytes | str) -> Iterator[None]:
        """Turn an error in a message into a `ServiceError`, which does not quote the message.

        Raises:
            ServiceError: the block raised a ValueError, as decoders do.

        """
        try:
            yield
        except ValueError as error:
            raise ServiceError(
                self._service, f"a message of {len(message)} bytes cannot be read: {error}"
            ) from error

    def _loss(self, error: ConnectionClosed) -> str:
        received = error.rcvd
        if received is None:
            cause = error.__cause__
            why = f": {cause}" if isinstance(cause, UnreadError) else ""
            return f"the connection to {self._host} was lost{why}"
        reason = without_secret(received.reason, self._secret)
        said = f": {reason}" if reason else ""
        return f"{self._host} closed the connection with {received.code}{said}"


def _excerpt(body: bytes | bytearray | None, secret: str) -> str:
    text = without_secret((body or b"").decode(errors="replace"), secret)
    return " ".join(text.split())[:_EXCERPT]


def without_secret(text: str, secret: str) -> str:
    """Return a text for logs: without the key."""
    return text.replace(secret, "***") if secret else text
