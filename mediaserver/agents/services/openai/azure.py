"""OpenAI's models at Azure: where a resource is, and what it takes as a key.

https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle and
https://learn.microsoft.com/azure/foundry/openai/how-to/realtime-audio-websockets.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from mediaserver.agents.services.errors import MisconfiguredServiceError, ServiceError


EntraTokenProvider: TypeAlias = Callable[[], str | Awaitable[str]]
"""Returns a token of Microsoft Entra. It may wait for one: it is called in a thread, unless it is a
coroutine function. ``get_bearer_token_provider`` of ``azure.identity`` makes one."""

_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_V1: Final = "v1"


class AzureAccess(NamedTuple):
    """How a client reaches a resource.

    Attributes:
        base_url: the URL below which the API is.
        api_version: the dated version; None is the v1 API.
        api_key: the key; None if there are tokens.
        token: returns a token, if there is no key. Its every failure is a `ServiceError`.

    """

    base_url: str
    api_version: str | None
    api_key: str | None
    token: Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class AzureResource:
    """An Azure OpenAI or Foundry resource. One object serves all services that use it.

    The names are those of the package's ``AzureOpenAI``. What is left out is taken from the
    environment when it is needed. The model of a service is the name of its deployment.

    Args:
        azure_endpoint: ``https://NAME.openai.azure.com``; None is ``AZURE_OPENAI_ENDPOINT``.
        api_key: the resource's key. If neither it nor a token is given, the token in
            ``AZURE_OPENAI_AD_TOKEN`` is taken, or else the key in ``AZURE_OPENAI_API_KEY``.
        azure_ad_token: a token of Microsoft Entra, which expires in an hour or so.
        azure_ad_token_provider: returns one for each request and connection.
        api_version: a dated version of the API, such as ``2024-10-21``; None is
            ``OPENAI_API_VERSION``, or else the v1 API, which has no dates. ``v1`` is the v1 API
            whatever the environment says. The Realtime API is only in the v1 API.

    Raises:
        ValueError: a value cannot be one, or there are two credentials.

    """

    azure_endpoint: str | None = None
    api_key: str | None = field(default=None, repr=False)
    azure_ad_token: str | None = field(default=None, repr=False)
    azure_ad_token_provider: EntraTokenProvider | None = field(default=None, repr=False)
    api_version: str | None = None

    def __post_init__(self) -> None:
        if self.azure_endpoint is not None:
            _check_endpoint(self.azure_endpoint)
        if self.api_version is not None:
            _check_version(self.api_version)
        given = (self.api_key, self.azure_ad_token, self.azure_ad_token_provider)
        if sum(each is not None for each in given) > 1:
            raise ValueError(
                "give one of api_key, azure_ad_token and azure_ad_token_provider, not several"
            )

    def base_url(self, service: str, *, dated: bool) -> str:
        """Return the URL below which the API is.

        Args:
            service: the service's name, for errors.
            dated: whether the dated versions have this part of the API.

        Raises:
            MisconfiguredServiceError: there is no endpoint, or the environment has a value that
                cannot be one.

        """
        endpoint = self.azure_endpoint or os.environ.get("AZURE_OPENAI_ENDPOINT")
        if not endpoint:
            reason = "no Azure endpoint: set AZURE_OPENAI_ENDPOINT, or pass azure_endpoint"
            raise MisconfiguredServiceError(service, reason)
        try:
            _check_endpoint(endpoint)
            version = self._version(dated=dated)
        except ValueError as error:
            raise MisconfiguredServiceError(service, str(error)) from None
        return f"{endpoint.rstrip('/')}/openai" + ("" if version else "/v1")

    def access(self, service: str, *, dated: bool) -> AzureAccess:
        """Return what a client needs: see `base_url`.

        Raises:
            MisconfiguredServiceError: something is missing.

        """
        base_url = self.base_url(service, dated=dated)
        key, token = self._credentials()
        if not (key or token or self.azure_ad_token_provider):
            reason = (
                f"no key for {base_url}: set AZURE_OPENAI_API_KEY, or pass azure_ad_token_provider"
            )
            raise MisconfiguredServiceError(service, reason, status=401)

        async def provided() -> str:
            return token if token is not None else await self._provided(service)

        return AzureAccess(base_url, self._version(dated=dated), key, provided)

    def secret(self) -> str | None:
        """Return the key or the token, which no error shows; None if there is neither."""
        key, token = self._credentials()
        return key or token

    def _credentials(self) -> tuple[str | None, str | None]:
        """Return the key and the token: one of them, or neither if a provider returns tokens."""
        if self.api_key or self.azure_ad_token or self.azure_ad_token_provider:
            return self.api_key, self.azure_ad_token
        token = os.environ.get("AZURE_OPENAI_AD_TOKEN") or None
        return (None, token) if token else (os.environ.get("AZURE_OPENAI_API_KEY") or None, None)

    def _version(self, *, dated: bool) -> str | None:
        """Return the dated version, or None for the v1 API."""
        version = self.api_version or os.environ.get("OPENAI_API_VERSION") or _V1
        if not dated or version == _V1:
            return None
        _check_version(version)
        return version

    async def _provided(self, service: str) -> str:
        provider = self.azure_ad_token_provider
        assert provider is not None, "there is a key, a token or a provider"
        try:
            if inspect.iscoroutinefunction(provider):
                token = await provider()
            else:
                token = await asyncio.to_thread(provider)
                if inspect.isawaitable(token):
                    token = await token
        except Exception as error:
            reason = f"azure_ad_token_provider failed: {type(error).__name__}: {error}"
            raise ServiceError(service, reason) from error
        if not isinstance(token, str) or not token:
            kind = type(token).__name__ if token != "" else "an empty text"
            raise ServiceError(service, f"azure_ad_token_provider returned no token, but {kind}")
        return token


def _check_endpoint(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shape = "'https://my-resource.openai.azure.com'"
        raise ValueError(f"an Azure endpoint looks like {shape}, not {endpoint!r}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"an Azure endpoint has no path: leave out {parts.path!r}")


def _check_version(version: str) -> None:
    if version != _V1 and not _VERSION.fullmatch(version):
        raise ValueError(
            f"an API version is 'v1' or looks like '2024-10-21' or '2025-04-01-preview', "
            f"not {version!r}"
        )
