"""What voices with contexts on a WebSocket share besides the session: address, key and limits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypedDict

from audiocodecs import AudioFormat
from mediaserver.agents.services.checked import Checked
from mediaserver.agents.services.context_session import ContextProtocol, ContextSession
from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.service_socket import ServiceKey, ServiceSocket
from mediaserver.agents.services.setting_values import require_url
from mediaserver.agents.services.voice import Voice


_CHECKED_WITH: Final = AudioFormat("mulaw", 8000)


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """How to open a session.

    Attributes:
        path: the path of the address.
        query: the parameters of the address.
        headers: the headers of the request.
        protocol: the messages.
        format: the format of the audio that is asked for.

    """

    path: str
    query: Mapping[str, str | list[str]]
    headers: Mapping[str, str]
    protocol: ContextProtocol
    format: AudioFormat


class ContextConnection(TypedDict, total=False):
    """How to reach a service: keyword arguments of every voice here."""

    api_key: str | None
    base_url: str
    connect_timeout: float
    first_timeout: float
    stall_timeout: float


class ContextVoice(Voice, Checked):
    """A voice whose sessions are `ContextSession`s. Subclasses say how to open one.

    Args:
        service: the service's name, for errors.
        variable: the environment variable with the key.
        address: the service's own address.
        api_key: the key; None takes it from the environment when the first session is opened.
        base_url: another address, ``wss://…`` or ``ws://…``, without the path.
        connect_timeout: seconds to open a connection.
        first_timeout: seconds from the end of a text, or from a flush, until its first audio.
        stall_timeout: seconds from one piece of audio to the next when the text has ended.

    Raises:
        ValueError: a setting cannot be right.

    """

    def __init__(
        self,
        service: str,
        variable: str,
        address: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        connect_timeout: float = 5.0,
        first_timeout: float = 5.0,
        stall_timeout: float = 5.0,
    ) -> None:
        require_seconds(
            connect_timeout=connect_timeout,
            first_timeout=first_timeout,
            stall_timeout=stall_timeout,
        )
        base_url = address if base_url is None else base_url
        require_url(base_url, like=address, schemes=("ws", "wss"))
        self.name = service
        self._key = ServiceKey(service, api_key, variable)
        self._base_url = base_url.rstrip("/")
        self._connect_timeout = connect_timeout
        self._first_timeout = first_timeout
        self._stall_timeout = stall_timeout

    @abstractmethod
    def request(self, format: AudioFormat, key: str) -> ContextRequest:
        """Return how to open a session for a stream in this format."""

    async def connect(self, format: AudioFormat) -> ContextSession:
        """Open a session for a call.

        Raises:
            MisconfiguredServiceError: there is no key, or the service refuses it.
            ServiceError: the service cannot be reached, or refuses the session.

        """
        key = self._key.get()
        request = self.request(format, key)
        socket = await ServiceSocket.connect(
            self.name,
            self._base_url + request.path,
            query=request.query,
            headers=request.headers,
            within=self._connect_timeout,
            secret=key,
        )
        return ContextSession(
            socket,
            request.protocol,
            request.format,
            first_timeout=self._first_timeout,
            stall_timeout=self._stall_timeout,
        )

    async def check(self) -> None:
        """Open a session and close it: nothing is spoken, so nothing is charged.

        Raises:
            MisconfiguredServiceError: there is no key, or the service refuses it.
            ServiceError: the service cannot be reached.

        """
        session = await self.connect(_CHECKED_WITH)
        await session.close()

    async def close(self) -> None:
        """Do nothing: each session has its own connection."""
