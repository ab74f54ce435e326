"""What services share that answer requests over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from mediaserver.agents.services.deadlines import require_seconds, within


T = TypeVar("T")


class HttpServiceClient(Protocol):
    """The connections of a service, such as an `EventClient`."""

    service: str
    """The service's name, for errors."""

    @property
    def provider(self) -> str:
        """Who runs the server."""
        ...

    async def prewarm(self) -> None:
        """Open a connection for the first request. A failure is only logged."""

    async def close(self) -> None:
        """Close the connections of the running event loop."""


C = TypeVar("C", bound=HttpServiceClient)


class HttpService(Generic[C]):
    """A model at a server: its name, its connections, time limits and further fields.

    Args:
        client: the connections.
        model: the model's name at the server.
        extra: further fields of each request.
        first_timeout: seconds until an answer begins, including retries.
        stall_timeout: seconds for which an answer may pause.

    Raises:
        ValueError: ``extra`` holds a field that the service sets itself, or a time is not one.

    """

    _own: ClassVar[frozenset[str]]
    """The fields of a request that the service sets itself."""

    def __init__(
        self,
        client: C,
        model: str,
        extra: Mapping[str, Any] | None,
        first_timeout: float,
        stall_timeout: float,
    ) -> None:
        require_seconds(first_timeout=first_timeout, stall_timeout=stall_timeout)
        self._extra = dict(extra or {})
        if taken := sorted(self._own & self._extra.keys()):
            name = type(self).__name__
            raise ValueError(f"extra holds fields that {name} sets itself: {taken}")
        self._client = client
        self._model = model
        self._first_timeout = first_timeout
        self._stall_timeout = stall_timeout

    @property
    def model(self) -> str:
        """The model's name at the server."""
        return self._model

    @property
    def provider(self) -> str:
        """Who runs the server: the provider, or the host's name."""
        return self._client.provider

    async def prewarm(self) -> None:
        """Open a connection. A failure is only logged."""
        await self._client.prewarm()

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._client.close()

    def _in_time(self, pieces: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        return within(
            pieces,
            first=self._first_timeout,
            next=self._stall_timeout,
            service=self._client.service,
        )
