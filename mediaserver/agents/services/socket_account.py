"""The key and the address with which a service's WebSockets are opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypedDict

from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.service_socket import ServiceKey, ServiceSocket
from mediaserver.agents.services.setting_values import require_url


class SocketAccountOptions(TypedDict, total=False):
    """How to reach a service: keyword arguments of its recognisers and voices."""

    base_url: str | None
    api_key: str | None
    connect_timeout: float


class SocketAccount:
    """How a service is reached over WebSockets.

    Args:
        service: the service's name, for errors.
        variable: the environment variable with the key.
        address: the service's own address.
        headers: returns the headers of a request with a key.
        base_url: another address, ``wss://…`` or ``ws://…``, without the path.
        api_key: the key; None takes it from the environment when the first session is opened.
        connect_timeout: seconds to open a connection.

    Raises:
        ValueError: the address or the time limit cannot be right.

    """

    def __init__(
        self,
        service: str,
        variable: str,
        address: str,
        headers: Callable[[str], Mapping[str, str]],
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        connect_timeout: float = 5.0,
    ) -> None:
        base_url = address if base_url is None else base_url
        require_seconds(connect_timeout=connect_timeout)
        require_url(base_url, like=address, schemes=("ws", "wss"))
        self.connect_timeout = connect_timeout
        self._service = service
        self._headers = headers
        self._base_url = base_url.rstrip("/")
        self._key = ServiceKey(service, api_key, variable)

    async def connect(self, path: str, query: Mapping[str, str | list[str]]) -> ServiceSocket:
        """Open a WebSocket.

        Raises:
            MisconfiguredServiceError: there is no key, or the service refuses it.
            ServiceError: the service cannot be reached, or refuses the connection.

        """
        key = self._key.get()
        return await ServiceSocket.connect(
            self._service,
            self._base_url + path,
            query=query,
            headers=self._headers(key),
            within=self.connect_timeout,
            secret=key,
        )

    async def begin(
        self,
        path: str,
        query: Mapping[str, str | list[str]],
        has_begun: Callable[[ServiceSocket, bytes | str], bool],
    ) -> ServiceSocket:
        """Open a WebSocket, and wait until the service says that the session has begun.

        Args:
            path: the path.
            query: the parameters of the address.
            has_begun: whether a message says so; it may raise a ServiceError.

        Raises:
            ServiceError: as of `connect`; or the session was refused, or did not begin in time.

        """
        socket = await self.connect(path, query)
        try:
            async with asyncio.timeout(self.connect_timeout):
                while not has_begun(socket, await socket.receive()):
                    pass
        except TimeoutError:
            await socket.close()
            reason = f"the session did not begin within {self.connect_timeout:g} s"
            raise ServiceError(self._service, reason) from None
        except BaseException:
            await socket.close()
            raise
        return socket
