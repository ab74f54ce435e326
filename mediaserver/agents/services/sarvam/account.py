"""How Sarvam is reached.

The header with the key is described at https://docs.sarvam.ai/api-reference/text-to-speech/stream.
The ``sarvamai`` package is not needed: the protocols are small, and it knows neither our errors nor
our time limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypedDict

from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.service_socket import ServiceKey, ServiceSocket
from mediaserver.agents.services.setting_values import require_url


SARVAM: Final = "sarvam"
_URL: Final = "wss://api.sarvam.ai"


class SarvamConnection(TypedDict, total=False):
    """How to reach Sarvam: keyword arguments of every service here."""

    base_url: str
    api_key: str | None
    connect_timeout: float


class SarvamAccount:
    """The key and the address with which Sarvam is used.

    Args:
        base_url: the server's address, ``wss://…`` or ``ws://…``, without the path.
        api_key: the key; None takes it from ``SARVAM_API_KEY``.
        connect_timeout: seconds to open a connection.

    Raises:
        ValueError: the address or the time limit cannot be right.

    """

    def __init__(
        self, *, base_url: str = _URL, api_key: str | None = None, connect_timeout: float = 5.0
    ) -> None:
        require_seconds(connect_timeout=connect_timeout)
        require_url(base_url, like=_URL, schemes=("ws", "wss"))
        self.connect_timeout = connect_timeout
        self._base_url = base_url.rstrip("/")
        self._key = ServiceKey(SARVAM, api_key, "SARVAM_API_KEY")

    async def connect(self, path: str, query: Mapping[str, str | list[str]]) -> ServiceSocket:
        """Open a WebSocket.

        Raises:
            MisconfiguredServiceError: there is no key, or Sarvam refuses it.
            ServiceError: Sarvam cannot be reached, or refuses the connection.

        """
        key = self._key.get()
        return await ServiceSocket.connect(
            SARVAM,
            self._base_url + path,
            query=query,
            headers={"api-subscription-key": key},
            within=self.connect_timeout,
            secret=key,
        )


def require_indian_language(language: str, *, odia: str) -> str:
    """Return a language's code as an endpoint of Sarvam's takes it.

    Args:
        language: the code, such as ``hi-IN``. Odia is ``od-IN`` or ``or-IN``.
        odia: which of these two the endpoint takes.

    Raises:
        ValueError: it is no such code.

    """
    if not isinstance(language, str) or not re.fullmatch("[a-z]{2,3}-IN", language):
        raise ValueError(f"language must be like 'hi-IN' or 'en-IN', not {language!r}")
    return odia if language in ("od-IN", "or-IN") else language
