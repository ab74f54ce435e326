"""The address of a service that has WebSockets and HTTP endpoints on one host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx

from mediaserver.agents.services.errors import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.setting_values import require_url


_CHECK_WITHIN: Final = 5.0


class ServiceAddress:
    """A host, reached with TLS or without.

    Args:
        base_url: ``wss://host``, ``ws://host``, ``https://host`` or ``http://host``; no path.
        like: the service's own address, for the error.

    Attributes:
        host: the host, and the port if it is named.

    Raises:
        ValueError: `base_url` is not such an address.

    """

    def __init__(self, base_url: str, like: str) -> None:
        schemes = ("ws", "wss", "http", "https")
        parts = require_url(base_url, like=like, schemes=schemes, has_path=False)
        self._secure = "s" if parts.scheme in ("wss", "https") else ""
        self.host = parts.netloc

    def socket(self, path: str) -> str:
        """Return the address of a WebSocket."""
        return f"ws{self._secure}://{self.host}{path}"

    async def check_key(
        self,
        service: str,
        path: str,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
    ) -> None:
        """Have the service judge a key, by a GET request that costs nothing.

        Raises:
            MisconfiguredServiceError: the service refuses the key.
            ServiceError: the service cannot be reached, or fails.

        """
        url = f"http{self._secure}://{self.host}{path}"
        try:
            async with httpx.AsyncClient(timeout=_CHECK_WITHIN) as client:
                status = (await client.get(url, headers=headers, params=query)).status_code
        except httpx.HTTPError as error:
            reason = f"cannot reach {self.host}: {str(error) or type(error).__name__}"
            raise ServiceError(service, reason) from error
        if status in (401, 403):
            reason = f"{self.host} refused the key with {status}"
            raise MisconfiguredServiceError(service, reason, status=status)
        if status >= 400:
            reason = f"{self.host} answered the check of the key with {status}"
            raise ServiceError(service, reason, status=status)
