"""HTTP connections to models that answer with server-sent events."""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from typing import Any, ClassVar, Final, TypedDict, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx
import msgspec
import structlog

from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.errors import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.event_stream import EventStream
from mediaserver.agents.services.service_socket import ServiceKey, without_secret
from mediaserver.agents.services.setting_values import require_url


T = TypeVar("T")

# Shared, because reading the system's certificates takes longer than a caller should wait.
_TLS: Final = httpx.create_ssl_context()

_KEEP_IDLE: Final = 60.0  # seconds: callers talk longer than httpx's five
_CHECK_WITHIN: Final = 5.0
_RETRY_AFTER: Final = 0.25
_LONGEST_WAIT: Final = 1.0
"""Seconds for which a caller waits if a server says when to ask again."""
_LONGEST_READ: Final = 4096
_EXCERPT: Final = 300

_log = structlog.get_logger("mediaserver.agents")


class ServerConnection(TypedDict, total=False):
    """How to reach a server: keyword arguments of every service that uses an `EventClient`."""

    base_url: str
    api_key: str | None
    connect_timeout: float


class EventConnection(ServerConnection, total=False):
    """The same of services that answer requests."""

    max_retries: int


class EventClient(ABC):
    """Makes one HTTP client for each event loop, when it is first used.

    Before that it looks for no key and opens no connection, so it can be made at import. Subclasses
    say where the service is, and how it words things.

    Args:
        service: the service's name, for errors.
        base_url: the server's URL, without the API's version; None is the service's own.
        api_key: the key; None takes it from the environment.
        connect_timeout: seconds to open a connection.
        max_retries: the number of times that a request is sent again after a lost connection, or
            after a status that may pass at once.

    Raises:
        ValueError: a setting cannot be right.

    """

    provider_name: ClassVar[str]
    """Who runs the server at the service's own URL."""
    address: ClassVar[str]
    """The service's own URL."""
    variable: ClassVar[str]
    """The environment variable with the key."""
    version: ClassVar[str]
    """The path of the API's version."""
    passing: ClassVar[frozenset[int]]
    """HTTP statuses after which the same request may succeed at once."""

    def __init__(
        self,
        service: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        connect_timeout: float = 3.0,
        max_retries: int = 1,
    ) -> None:
        base_url = self.address if base_url is None else base_url
        require_seconds(connect_timeout=connect_timeout)
        if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
            raise ValueError(f"max_retries must be a whole number, 0 or more, not {max_retries!r}")
        require_url(base_url, like=self.address, schemes=("http", "https"))
        self.service = service
        self.base_url = base_url.rstrip("/")
        self.connect_timeout = connect_timeout
        self._key = ServiceKey(service, api_key, self.variable)
        self._max_retries = max_retries
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = (
            WeakKeyDictionary()
        )

    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """Return the headers of every request, with the key.

        Raises:
            MisconfiguredServiceError: there is no key.

        """

    @abstractmethod
    def refusal(self, status: int, content: bytes) -> ServiceError:
        """Return the error for a request that was answered with a status other than 200."""

    @property
    def provider(self) -> str:
        """Who runs the server: the provider, or the host's name."""
        host = urlsplit(self.base_url).hostname or ""
        return self.provider_name if self.base_url == self.address else host

    def key(self) -> str:
        """Return the key.

        Raises:
            MisconfiguredServiceError: there is none.

        """
        return self._key.get()

    async def events(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Post a request, and yield the data of each server-sent event of the answer.

        Args:
            path: where to, after the API's version.
            body: JSON.
            headers: further headers.

        Raises:
            ServiceError: the service cannot be reached, refuses the request, or broke off.

        """
        sent = {**self.headers(), **(headers or {}), "content-type": "application/json"}
        left = self._max_retries
        while True:
            begun = False
            wait: float | None = _RETRY_AFTER
            try:
                async with self._client().stream(
                    "POST", self._url(path), content=body, headers=sent
                ) as response:
                    wait = self._wait(response)
                    await self._require_events(response)
                    stream = EventStream()
                    async for received in response.aiter_raw():
                        for data in stream.feed(received):
                            begun = True
                            yield data
                    for data in stream.end():
                        yield data
                return
            except ServiceError:
                if not left or wait is None:
                    raise
            except (httpx.HTTPError, ssl.SSLError, OSError) as error:
                if begun or not left:
                    what = "the answer broke off" if begun else f"cannot reach {self.base_url}"
                    raise self.failure(f"{what}: {str(error) or type(error).__name__}") from error
                wait = _RETRY_AFTER
            left -= 1
            await asyncio.sleep(wait)

    async def prewarm(self) -> None:
        """Open a connection for the first request. A failure is only logged."""
        try:
            self.key()
            async with asyncio.timeout(self.connect_timeout):
                await self._client().head(self.base_url)
        except (ServiceError, httpx.HTTPError, ssl.SSLError, OSError) as error:
            _log.warning(
                "not prewarmed",
                service=self.service,
                error=self.without_key(str(error) or repr(error)),
            )

    async def look_up(self, path: str, kind: type[T]) -> T | None:
        """Return what the server says of something, without cost.

        Args:
            path: where it is, after the API's version.
            kind: what it is.

        Returns:
            None if the server cannot say, such as when it is too busy.

        Raises:
            MisconfiguredServiceError: there is no key, the server refuses it, or has no such thing.
            ServiceError: the server cannot be reached.

        """
        headers = self.headers()
        try:
            async with asyncio.timeout(_CHECK_WITHIN):
                response = await self._client().get(self._url(path), headers=headers)
        except TimeoutError:
            reason = f"{self.base_url} did not answer within {_CHECK_WITHIN:g} s"
            raise self.failure(reason) from None
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            reason = f"cannot reach {self.base_url}: {str(error) or type(error).__name__}"
            raise self.failure(reason) from error
        if response.status_code != 200:
            refused = self.refusal(response.status_code, response.content)
            if isinstance(refused, MisconfiguredServiceError):
                raise refused
            return None
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    async def close(self) -> None:
        """Close the connections of the running event loop. The next request opens new ones."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def failure(self, reason: str, *, status: int | None = None) -> ServiceError:
        """Return an error of this service, without the key in its text."""
        return ServiceError(self.service, self.without_key(reason), status=status)

    def without_key(self, text: str) -> str:
        """Return a text for logs and errors."""
        try:
            return without_secret(text, self.key())
        except MisconfiguredServiceError:
            return text

    def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = httpx.AsyncClient(
                verify=_TLS,
                # `within` limits how long an answer takes; httpx would count from each byte.
                timeout=httpx.Timeout(None, connect=self.connect_timeout),
                limits=httpx.Limits(
                    max_connections=1000,
                    max_keepalive_connections=200,
                    keepalive_expiry=_KEEP_IDLE,
                ),
                headers={"accept-encoding": "identity", "user-agent": "mediaserver"},
            )
        return client

    def _url(self, path: str) -> str:
        return f"{self.base_url}/{self.version}/{path}"

    def _wait(self, response: httpx.Response) -> float | None:
        """Return the seconds after which to send a refused request again; None: not at all."""
        said = retry_after(response.headers)
        if said is not None:
            return said if said <= _LONGEST_WAIT else None
        return _RETRY_AFTER if response.status_code in self.passing else None

    async def _require_events(self, response: httpx.Response) -> None:
        kind = response.headers.get("content-type", "").partition(";")[0]
        if response.status_code == 200 and kind == "text/event-stream":
            return
        content = bytearray()
        async for received in response.aiter_raw():
            content += received
            if len(content) >= _LONGEST_READ:
                break
        if response.status_code != 200:
            refused = self.refusal(response.status_code, bytes(content))
            said = retry_after(response.headers)
            if said is not None:
                reason = f"{refused.reason}; ask again after {said:g} s"
                refused = type(refused)(refused.service, reason, status=refused.status)
            raise refused
        reason = f"{self.base_url} answered with {kind or 'no content type'} instead of events"
        raise self.failure(reason, status=200)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds after which a server wants to be asked again; None if it does not say."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 else None


def short_reason(message: str) -> str:
    """Return what a server says in one line that is short enough for logs."""
    return " ".join(message.split())[:_EXCERPT] or "no reason was given"


def require_texts(**values: Any) -> None:
    """Check settings that are texts.

    Raises:
        ValueError: one is empty, or no text.

    """
    for name, value in values.items():
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} must be a text, not {value!r}")
