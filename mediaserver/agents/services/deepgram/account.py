"""How Deepgram is reached.

https://developers.deepgram.com/guides/fundamentals/authenticating. The ``deepgram-sdk`` package is
not needed: the protocols are small, and it knows neither our errors nor our time limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

from audiocodecs import AudioFormat
from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.service_address import ServiceAddress
from mediaserver.agents.services.service_socket import ServiceKey, ServiceSocket
from mediaserver.agents.services.setting_values import require_text_list, require_within


DEEPGRAM_URL: Final = "wss://api.deepgram.com"

_ENCODINGS: Final = {"mulaw": "mulaw", "alaw": "alaw", "l16": "linear16"}


class DeepgramConnection(TypedDict, total=False):
    """How to reach Deepgram: keyword arguments of every service here."""

    base_url: str
    api_key: str | None
    connect_timeout: float


class DeepgramAccount:
    """The key and the address with which Deepgram is used.

    Args:
        service: the service's name, for errors.
        base_url: the server's address, without a path; for the European region or a server of
            one's own.
        api_key: the key; None takes it from ``DEEPGRAM_API_KEY``.
        connect_timeout: seconds to open a connection.

    """

    def __init__(
        self,
        service: str,
        *,
        base_url: str = DEEPGRAM_URL,
        api_key: str | None = None,
        connect_timeout: float = 3.0,
    ) -> None:
        require_seconds(connect_timeout=connect_timeout)
        self._address = ServiceAddress(base_url, DEEPGRAM_URL)
        self.service = service
        self._key = ServiceKey(service, api_key, "DEEPGRAM_API_KEY")
        self._connect_timeout = connect_timeout

    async def connect(
        self, path: str, query: Mapping[str, str | list[str]], format: AudioFormat
    ) -> ServiceSocket:
        """Open a WebSocket for audio of a format.

        Raises:
            ServiceError: it cannot be reached, or refuses the key or a setting.

        """
        key = self._key.get()
        return await ServiceSocket.connect(
            self.service,
            self._address.socket(path),
            query={
                **query,
                "encoding": _ENCODINGS[format.encoding],
                "sample_rate": str(format.rate),
            },
            headers={"authorization": f"Token {key}"},
            within=self._connect_timeout,
            secret=key,
        )

    async def check(self) -> None:
        """Find out whether Deepgram accepts the key, which costs nothing.

        https://developers.deepgram.com/docs/authenticating has the endpoint that tells.

        Raises:
            MisconfiguredServiceError: there is no key, or Deepgram refuses it.
            ServiceError: Deepgram cannot be reached.

        """
        headers = {"authorization": f"Token {self._key.get()}"}
        await self._address.check_key(self.service, "/v1/auth/token", headers=headers)


class DeepgramService:
    """A recogniser or a voice of Deepgram's, before it is connected.

    Args:
        model: the model.
        connection: ``base_url``, ``api_key`` and ``connect_timeout``: see `DeepgramAccount`.

    Raises:
        ValueError: a setting is none that Deepgram takes.

    """

    name = "deepgram"

    def __init__(self, model: str, connection: DeepgramConnection) -> None:
        self._query: dict[str, str | list[str]] = {"model": require_text("model", model)}
        self._account = DeepgramAccount(self.name, **connection)

    async def check(self) -> None:
        """Find out whether Deepgram accepts the key, which costs nothing.

        Raises:
            MisconfiguredServiceError: there is no key, or Deepgram refuses it.
            ServiceError: Deepgram cannot be reached.

        """
        await self._account.check()


def require_text(name: str, value: str) -> str:
    """Return a setting that is a word, such as a model or a language.

    Raises:
        ValueError: it is not.

    """
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][\w.:/-]*", value):
        raise ValueError(f"{name} is a word such as 'nova-3' or 'en-US', not {value!r}")
    return value


def switches(**on: bool) -> dict[str, str]:
    """Return the parameters of settings that are switched on."""
    return {name: "true" for name, is_on in on.items() if is_on}


def text_lists(**lists: Sequence[str]) -> dict[str, list[str]]:
    """Return the parameters that are lists, without those that are empty.

    Raises:
        ValueError: one is a single text, or has an empty one.

    """
    read = {name: require_text_list(name, values) for name, values in lists.items()}
    return {name: values for name, values in read.items() if values}


def require_between(name: str, value: float, least: float, most: float) -> str:
    """Return a setting that is a number, as Deepgram reads it.

    Raises:
        ValueError: it is no number, or too small or too large.

    """
    require_within(least, most, **{name: value})
    return f"{value:g}"
