"""HTTP connections to Gemini's API, and what their failures mean.

https://ai.google.dev/api/generate-content. The ``google-genai`` package is not needed: see
docs/decisions.md.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from typing import Any, Final, TypedDict
from urllib.parse import quote, urlsplit
from weakref import WeakKeyDictionary

import httpx
import msgspec
import structlog

from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.errors import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.event_stream import EventStream
from mediaserver.agents.services.service_socket import ServiceKey, without_secret


GEMINI_URL: Final = "https://generativelanguage.googleapis.com"
API_VERSION: Final = "v1beta"
KEY_HEADER: Final = "x-goog-api-key"

# Shared, because reading the system's certificates takes longer than a caller should wait.
_TLS: Final = httpx.create_ssl_context()

_KEEP_IDLE: Final = 60.0  # seconds: callers talk longer than httpx's five
_CHECK_WITHIN: Final = 5.0
_RETRY_AFTER: Final = 0.25
_PASSING: Final = frozenset({500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed at once. 429 is not among them: Gemini's
quotas are counted by the minute."""
_LONGEST_READ: Final = 4096
_EXCERPT: Final = 300

_log = structlog.get_logger("mediaserver.agents.gemini")


class GeminiConnection(TypedDict, total=False):
    """How to reach Gemini: keyword arguments of every service here."""

    base_url: str
    api_key: str | None
    connect_timeout: float
    max_retries: int


class ApiError(msgspec.Struct, gc=False):
    """An error as Google's APIs say it."""

    code: int | None = None
    message: str = ""
    status: str = ""

    def __str__(self) -> str:
        what = " ".join(self.message.split())[:_EXCERPT] or "no reason was given"
        return f"{what} ({self.status})" if self.status else what


class _ErrorBody(msgspec.Struct):
    error: ApiError


class _ModelInfo(msgspec.Struct, rename="camel"):
    supported_generation_methods: list[str] = []


class GeminiClient:
    """Makes one HTTP client for each event loop, when it is first used.

    Before that it looks for no key and opens no connection, so it can be made at import.

    Args:
        service: the service's name, for errors.
        base_url: the server's URL, without the API's version.
        api_key: the key; None takes it from ``GEMINI_API_KEY``.
        connect_timeout: seconds to open a connection.
        max_retries: the number of times that a request is sent again after a lost connection or a
            status of 500, 502, 503 or 504.

    """

    def __init__(
        self,
        service: str,
        *,
        base_url: str = GEMINI_URL,
        api_key: str | None = None,
        connect_timeout: float = 3.0,
        max_retries: int = 1,
    ) -> None:
        require_seconds(connect_timeout=connect_timeout)
        if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
            raise ValueError(f"max_retries must be a whole number, 0 or more, not {max_retries!r}")
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError(f"a base URL looks like {GEMINI_URL!r}, not {base_url!r}")
        self.service = service
        self.base_url = base_url.rstrip("/")
        self.connect_timeout = connect_timeout
        self._key = ServiceKey(service, api_key, "GEMINI_API_KEY")
        self._max_retries = max_retries
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = (
            WeakKeyDictionary()
        )

    @property
    def provider(self) -> str:
        """Who runs the server: ``gemini``, or the host's name."""
        host = urlsplit(self.base_url).hostname or ""
        return "gemini" if self.base_url == GEMINI_URL else host

    def key(self) -> str:
        """Return the key.

        Raises:
            MisconfiguredServiceError: there is none.

        """
        return self._key.get()

    async def events(self, path: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """Post a request, and yield the data of each server-sent event of the answer.

        Raises:
            ServiceError: the service cannot be reached, refuses the request, or broke off.

        """
        headers = {KEY_HEADER: self.key(), "content-type": "application/json"}
        left = self._max_retries
        while True:
            begun = False
            try:
                async with self._client().stream(
                    "POST", self._url(path), content=body, headers=headers
                ) as response:
                    await self._require_events(response)
                    stream = EventStream()
                    async for received in response.aiter_raw():
                        for data in stream.feed(received):
                            begun = True
                            yield data
                    for data in stream.end():
                        yield data
                return
            except ServiceError as error:
                if not left or error.status not in _PASSING:
                    raise
            except (httpx.HTTPError, ssl.SSLError, OSError) as error:
                if begun or not left:
                    what = "the answer broke off" if begun else f"cannot reach {self.base_url}"
                    raise self.failure(f"{what}: {str(error) or type(error).__name__}") from error
            left -= 1
            await asyncio.sleep(_RETRY_AFTER)

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
                error=self._without_key(str(error) or repr(error)),
            )

    async def check(self, model: str, method: str) -> None:
        """Find out whether the server accepts the key, and has the model for what it is used for.

        Args:
            model: the model's name.
            method: the API's method that is used: ``generateContent`` or ``bidiGenerateContent``.

        Raises:
            MisconfiguredServiceError: there is no key, the server refuses it, or it has no such
                model.
            ServiceError: the server cannot be reached.

        """
        headers = {KEY_HEADER: self.key()}
        try:
            async with asyncio.timeout(_CHECK_WITHIN):
                response = await self._client().get(self._url(model_path(model)), headers=headers)
        except TimeoutError:
            reason = f"{self.base_url} did not answer within {_CHECK_WITHIN:g} s"
            raise self.failure(reason) from None
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            reason = f"cannot reach {self.base_url}: {str(error) or type(error).__name__}"
            raise self.failure(reason) from error
        if response.status_code != 200:
            refused = self._refusal(response.status_code, response.content)
            if isinstance(refused, MisconfiguredServiceError):
                raise refused
            return  # too busy to say, for example
        try:
            methods = msgspec.json.decode(response.content, type=_ModelInfo)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        known = methods.supported_generation_methods
        if known and method not in known:
            reason = f"the model {model!r} has no {method}, only {', '.join(known)}"
            raise MisconfiguredServiceError(self.service, reason, status=404)

    async def close(self) -> None:
        """Close the connections of the running event loop. The next request opens new ones."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def failure(self, reason: str, *, status: int | None = None) -> ServiceError:
        """Return an error of this service, without the key in its text."""
        return ServiceError(self.service, self._without_key(reason), status=status)

    def refused(self, error: ApiError, status: int | None) -> ServiceError:
        """Return the error for a request that the service refused."""
        error = msgspec.structs.replace(error, message=self._without_key(error.message))
        reason = f"{status}: {error}"
        if status in (401, 403, 404) or "API key" in error.message:
            return MisconfiguredServiceError(self.service, reason, status=status)
        return self.failure(reason, status=status)

    def _without_key(self, text: str) -> str:
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
        return f"{self.base_url}/{API_VERSION}/{path}"

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
            raise self._refusal(response.status_code, bytes(content))
        reason = f"{self.base_url} answered with {kind or 'no content type'} instead of events"
        raise self.failure(reason, status=200)

    def _refusal(self, status: int, content: bytes) -> ServiceError:
        try:
            error = msgspec.json.decode(content, type=_ErrorBody).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            error = ApiError(message=content.decode(errors="replace"))
        return self.refused(error, status)


def model_path(model: str) -> str:
    """Return a model's resource name: ``models/gemini-3.8-flash``; one with a slash is kept."""
    return quote(model if "/" in model else f"models/{model}")


def require_texts(**values: Any) -> None:
    """Check settings that are texts.

    Raises:
        ValueError: one is empty, or no text.

    """
    for name, value in values.items():
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} must be a text, not {value!r}")
