"""Connections to OpenAI or to any server that speaks its protocol, and what their failures mean.

Groq, vLLM, Ollama and many others are reached by their `base_url`, Azure by its `AzureResource`.
Needs the ``openai`` package: ``pip install '.[openai]'``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from difflib import get_close_matches
from typing import Any, ClassVar, Final, TypedDict
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import msgspec
import structlog

from audiocodecs import AudioError
from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.errors import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.event_stream import DONE, EventStream
from mediaserver.agents.services.http_service import HttpService
from mediaserver.agents.services.openai.azure import AzureAccess, AzureResource


try:
    import anyio
    import httpx2
    import openai

    # The package imports these when they are first used, which would be in a call.
    from openai.resources import AsyncAudio, AsyncChat  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"OpenAI's services need a package that is not installed ({error.name}): "
        "pip install '.[openai]'",
        name=error.name,
    ) from error


OPENAI_URL: Final = "https://api.openai.com/v1"

KEEP_CONNECTIONS: Final = 60.0
"""Seconds for which an idle connection is kept; callers talk longer than httpx's five."""

CHECK_WITHIN: Final = 5.0
"""Seconds that the server may take to answer `OpenAIClient.check`."""

MAX_RETRY_AFTER: Final = 2.0
"""The longest wait before a retry, in seconds. If a server asks for a longer one, nothing is sent
again, since the caller would hear silence."""

# Shared, because reading the system's certificates takes longer than a caller should wait.
_TLS: Final = httpx2.create_ssl_context()

_DRAIN: Final = 0.1
_EXCERPT: Final = 200
_LONGEST_READ: Final = 4096

_log = structlog.get_logger("mediaserver.agents.openai")

Response = openai.AsyncAPIResponse[Any]


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class SessionConnection(TypedDict, total=False):
    """How to reach a service: keyword arguments of every service here."""

    base_url: str | None
    api_key: str | None
    api_key_variable: str
    connect_timeout: float
    azure: AzureResource | None


class Connection(SessionConnection, total=False):
    """The same of services that answer requests."""

    max_retries: int


class OpenAIClient:
    """Makes one ``AsyncOpenAI`` for each event loop, when it is first used.

    Before that it looks for no key and opens no connection, so it can be made at import.

    Args:
        service: the service's name, for errors.
        base_url: the server's URL. None uses ``OPENAI_BASE_URL`` from the environment, or else
            OpenAI's own.
        api_key: the key. None takes it from the environment; a server on a private network needs
            none.
        api_key_variable: the environment variable with the key, such as ``GROQ_API_KEY``.
        connect_timeout: seconds to open a connection.
        max_retries: the number of times that a request is sent again after a lost connection or a
            status of 408, 409, 429 or 5xx.
        azure: the resource at Azure, in place of a URL and a key. The model is then the name of a
            deployment.
        dated: whether Azure's dated versions have this part of the API.

    """

    def __init__(
        self,
        service: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        api_key_variable: str = "OPENAI_API_KEY",
        connect_timeout: float = 3.0,
        max_retries: int = 1,
        azure: AzureResource | None = None,
        dated: bool = True,
    ) -> None:
        if azure is not None and (base_url is not None or api_key is not None):
            raise ValueError("azure has the URL and the key: leave out base_url and api_key")
        require_seconds(connect_timeout=connect_timeout)
        if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
            raise ValueError(f"max_retries must be a whole number, 0 or more, not {max_retries!r}")
        self.service = service
        self._base_url = _checked_url(base_url) if base_url is not None else None
        self._api_key = api_key
        self._api_key_variable = api_key_variable
        self._connect_timeout = connect_timeout
        self._max_retries = max_retries
        self._azure = azure
        self._dated = dated
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _Clients] = WeakKeyDictionary()

    @property
    def base_url(self) -> str:
        """The URL of the server."""
        if self._azure is not None:
            return self._azure.base_url(self.service, dated=self._dated)
        return self._base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL

    @property
    def provider(self) -> str:
        """Who runs the server: ``openai``, ``azure.ai.openai``, or the host's name."""
        if self._azure is not None:
            return "azure.ai.openai"  # as OpenTelemetry names it
        host = urlsplit(self.base_url).hostname or ""
        return "openai" if host == "api.openai.com" else host

    def get(self) -> openai.AsyncOpenAI:
        """Return the client of the running event loop.

        Raises:
            ServiceError: there is no key.

        """
        return self._of_this_loop().openai

    async def prewarm(self) -> None:
        """Open a connection for the first request. A failure is only logged."""
        try:
            http = self._of_this_loop().http
            async with asyncio.timeout(self._connect_timeout):
                await http.head(self.base_url)
        except (ServiceError, httpx2.HTTPError, ssl.SSLError, OSError, anyio.EndOfStream) as error:
            reason = self.without_secrets(str(error) or repr(error))
            _log.warning("not prewarmed", service=self.service, error=reason)

    async def check(self, model: str) -> None:
        """Find out whether the server accepts the key and has the model.

        An answer that shows neither, such as that of a server without a list of models, passes.
        Azure does not tell which deployments there are: there it is only the key.

        Raises:
            MisconfiguredServiceError: there is no key, or the server refuses the key or the model.
            ServiceError: the server cannot be reached.

        """
        if self._azure is not None:
            await self.check_key()
            return
        try:
            await self._look_up(model)
        except MisconfiguredServiceError:
            raise
        except ServiceError as error:
            # A key may be allowed to use a model, and not to look it up.
            may_not_look = "scope" in str(error)
            if error.status == 401 and not may_not_look:
                raise MisconfiguredServiceError(
                    self.service, error.reason, status=error.status
                ) from error
            if error.status is None:
                raise

    async def check_key(self) -> None:
        """Find out whether the server accepts the key, by asking for the list of models.

        Raises:
            MisconfiguredServiceError: there is no key, or the server refuses it.
            ServiceError: the server cannot be reached, or is not able to answer.

        """
        try:
            with self.failures("any"):
                async with self._answering():
                    await self.get().with_options(max_retries=0).models.list()
        except ServiceError as error:
            if error.status not in (400, 401, 403):
                raise
            raise MisconfiguredServiceError(
                self.service, error.reason, status=error.status
            ) from error

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(CHECK_WITHIN):
                yield
        except TimeoutError:
            reason = f"{self.base_url} did not answer within {CHECK_WITHIN:g} s"
            raise self.failure(reason) from None

    async def _look_up(self, model: str) -> None:
        models = self.get().with_options(max_retries=0).models.with_raw_response
        with self.failures(model):
            async with self._answering():
                try:
                    await models.retrieve(model)
                except openai.NotFoundError:
                    listed = _listed((await models.list()).content)
                    if listed and model not in listed:
                        near = get_close_matches(model, listed, n=1)
                        hint = f"; did you mean {near[0]!r}?" if near else ""
                        reason = f"{self.base_url} has no model {model!r}{hint}"
                        raise MisconfiguredServiceError(
                            self.service, self.without_secrets(reason), status=404
                        ) from None

    async def close(self) -> None:
        """Close the connections of the running event loop. The next request opens new ones."""
        clients = self._clients.pop(asyncio.get_running_loop(), None)
        if clients is not None:
            await clients.openai.close()

    @contextmanager
    def failures(self, model: str) -> Iterator[None]:
        """Turn every failure inside into a `ServiceError` that says what to do about it."""
        try:
            yield
        except openai.OpenAIError as error:
            raise self._failure(error, model) from error
        except (httpx2.HTTPError, ssl.SSLError, OSError, anyio.EndOfStream) as error:
            raise self.failure(f"the connection to {self.base_url} was lost: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.failure(f"an answer that cannot be decoded: {error}") from error
        except AudioError as error:
            raise self.failure(str(error)) from error

    def failure(self, reason: str, *, status: int | None = None) -> ServiceError:
        """Return an error of this service, without secrets in its text."""
        return ServiceError(self.service, self.without_secrets(reason), status=status)

    def without_secrets(self, text: str) -> str:
        """Return `text` for the log: without the key, and the password and the query of the URL."""
        secrets = [self._key()]
        if self._azure is None:
            parts = urlsplit(self.base_url)
            secrets += [parts.password, parts.query]
        for secret in secrets:
            if secret:
                text = text.replace(secret, "***")
        return text

    async def events(self, response: Response) -> AsyncIterator[bytes]:
        """Yield the data of each event of a response, including the ``[DONE]`` at its end.

        The package's own parser makes several objects for each token; this costs a third.

        Raises:
            ServiceError: the response is not an event stream.

        """
        await self.require_content(response, "text/event-stream")
        chunks = response.iter_bytes()
        stream = EventStream()
        async for chunk in chunks:
            for data in stream.feed(chunk):
                yield data
                if data == DONE:
                    await _drain(chunks)
                    return
        for data in stream.end():
            yield data

    async def require_content(self, response: Response, *allowed: str) -> str:
        """Return the media type of a response. A trailing slash in `allowed` matches any subtype.

        Raises:
            ServiceError: the type is not `allowed`. The message says what came instead.

        """
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if any(media_type == a or (a[-1:] == "/" and media_type.startswith(a)) for a in allowed):
            return media_type
        excerpt = _excerpt(await _beginning(response))
        raise self.failure(
            f"{self.base_url} answered with {media_type or 'no content type'} "
            f"instead of {' or '.join(filter(None, allowed))}: {excerpt}",
            status=response.status_code,
        )

    def _of_this_loop(self) -> _Clients:
        loop = asyncio.get_running_loop()
        clients = self._clients.get(loop)
        if clients is None:
            clients = self._clients[loop] = self._connect()
        return clients

    def _connect(self) -> _Clients:
        http = openai.DefaultAsyncHttpx2Client(
            # `within` limits how long an answer takes; httpx would count from each byte.
            verify=_TLS,
            timeout=httpx2.Timeout(None, connect=self._connect_timeout),
            limits=httpx2.Limits(
                max_connections=1000,
                max_keepalive_connections=200,
                keepalive_expiry=KEEP_CONNECTIONS,
            ),
            # A small body could expand to any size.
            headers={"accept-encoding": "identity"},
            event_hooks={"response": [_refuse_encoded, _refuse_long_waits]},
            # Another host must not get Azure's key.
            follow_redirects=self._azure is None,
        )
        if self._azure is not None:
            access = self._azure.access(self.service, dated=self._dated)
            return _Clients(_azure_client(access, http, self._max_retries), http)
        key = self._key()
        if not key:
            if not _is_private(self.base_url):
                # The status that the server would answer.
                raise MisconfiguredServiceError(
                    self.service,
                    f"no key for {self.base_url}: set {self._api_key_variable}",
                    status=401,
                )
            key = "none"
        client = openai.AsyncOpenAI(
            api_key=key, base_url=self.base_url, max_retries=self._max_retries, http_client=http
        )
        return _Clients(client, http)

    def _key(self) -> str | None:
        if self._azure is not None:
            return self._azure.secret()
        return self._api_key or os.environ.get(self._api_key_variable)

    def _failure(self, error: openai.OpenAIError, model: str) -> ServiceError:
        if isinstance(error, openai.APIStatusError):
            return self.failure(self._explained(error, model), status=error.status_code)
        if isinstance(error, openai.APIConnectionError):
            return self.failure(f"cannot reach {self.base_url}: {error.__cause__ or error}")
        return self.failure(str(error) or repr(error))

    def _explained(self, error: openai.APIStatusError, model: str) -> str:
        status = error.status_code
        said = _said(error)
        match status:
            case 401:
                key = "api_key" if self._api_key else self._api_key_variable
                checked = key if self._azure is None else "it, and the endpoint"
                return f"401: {self.base_url} rejects the key; check {checked}: {said}"
            case 404 if self._azure is not None:
                return f"404: {self.base_url} has no deployment {model!r}: {said}"
            case 404:
                return f"404: {self.base_url} has no {model!r}, or is not the base URL: {said}"
            case 429 if error.code == "insufficient_quota":
                return f"429: the account's quota is used up: {said}"
            case 429:
                return f"429: more requests than the account's rate allows: {said}"
            case _:
                return f"{status}: {said}"


class _KeyedClient(openai.AsyncOpenAI):
    """A client whose key is in Azure's header, and not sent as a token."""

    def _validate_headers(self, headers: Any, custom_headers: Any) -> None:
        pass  # otherwise the package wants a token


def _azure_client(
    access: AzureAccess, http: httpx2.AsyncClient, max_retries: int
) -> openai.AsyncOpenAI:
    key, token = access.api_key, access.token
    if access.api_version is not None:
        return openai.AsyncAzureOpenAI(
            base_url=access.base_url,
            api_version=access.api_version,
            api_key=key,
            azure_ad_token_provider=None if key else token,
            max_retries=max_retries,
            http_client=http,
        )
    if key is None:
        return openai.AsyncOpenAI(
            base_url=access.base_url, api_key=token, max_retries=max_retries, http_client=http
        )
    headers: Any = {"api-key": key, "Authorization": openai.Omit()}
    return _KeyedClient(
        base_url=access.base_url,
        api_key=key,
        default_headers=headers,
        max_retries=max_retries,
        http_client=http,
    )


class _Clients:
    """A client, and the HTTP client below it."""

    def __init__(self, client: openai.AsyncOpenAI, http: httpx2.AsyncClient) -> None:
        self.openai = client
        self.http = http


async def _refuse_encoded(response: httpx2.Response) -> None:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        raise httpx2.DecodingError(
            f"the answer is encoded as {encoding:.40}, which nobody asked for",
            request=response.request,
        )


async def _refuse_long_waits(response: httpx2.Response) -> None:
    try:
        seconds = float(response.headers.get("retry-after", 0))
        milliseconds = float(response.headers.get("retry-after-ms", 0))
    except ValueError:
        return  # a date, which the package understands
    if max(seconds, milliseconds / 1000) > MAX_RETRY_AFTER:
        response.headers["x-should-retry"] = "false"


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    # A connection is used again only if its response was read to the end.
    try:
        async with asyncio.timeout(_DRAIN):
            async for _ in chunks:
                pass
    except TimeoutError:
        pass


def _said(error: openai.APIStatusError) -> str:
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return _excerpt(message) if isinstance(message, str) else _excerpt(error.response.content)


async def _beginning(response: Response) -> bytes:
    content = bytearray()
    async for received in response.iter_bytes():
        content += received
        if len(content) >= _LONGEST_READ:
            break
    return bytes(content)


def _listed(content: bytes) -> list[str]:
    """Return the names in a list of models; empty if it is no such list."""
    try:
        return [model.id for model in msgspec.json.decode(content, type=_Models).data]
    except msgspec.DecodeError:
        return []


def _excerpt(content: bytes | str) -> str:
    if isinstance(content, bytes):
        content = content[:_LONGEST_READ].decode("utf-8", "replace")
    text = " ".join(content.split())
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}..."


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"a base URL looks like 'https://api.openai.com/v1', not {url!r}")
    return url


def _is_private(url: str) -> bool:
    """Return whether a URL is on this machine, in a private network or a local container."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))


class OpenAIService(HttpService[OpenAIClient]):
    """A service of OpenAI's: see `HttpService`."""

    _service: ClassVar[str]

    def __init__(
        self,
        model: str,
        extra: Mapping[str, Any] | None,
        first_timeout: float,
        stall_timeout: float,
        connection: Connection,
    ) -> None:
        client = OpenAIClient(self._service, **connection)
        super().__init__(client, model, extra, first_timeout, stall_timeout)

    async def check(self) -> None:
        """Find out whether the server accepts the key and has the model: see `Checked`."""
        await self._client.check(self._model)
