"""What the services behind OpenAI's Realtime API share."""

from __future__ import annotations

from typing import ClassVar

import structlog

from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.openai.client import OpenAIClient, SessionConnection


log = structlog.get_logger("mediaserver.agents.openai")


class RealtimeService:
    """The model of a service, and how it is reached.

    Args:
        model: the model's name at the server.
        connection: see `OpenAIClient`. ``connect_timeout`` limits the whole set-up of a session,
            and is five seconds if left out.

    Raises:
        TypeError: there is ``max_retries``.

    """

    service: ClassVar[str]

    def __init__(self, model: str, connection: SessionConnection) -> None:
        if "max_retries" in connection:
            raise TypeError(
                f"{type(self).__name__} takes no max_retries: an agent opens a lost session again"
            )
        self.model = model
        self.connect_timeout = connection.setdefault("connect_timeout", 5.0)
        self._client = OpenAIClient(self.service, dated=False, **connection)

    @property
    def provider(self) -> str:
        """Who runs the server: see `OpenAIClient.provider`."""
        return self._client.provider

    async def prewarm(self) -> None:
        """Make the client that connects. A missing key is only logged."""
        try:
            self._client.get()
        except ServiceError as error:
            log.warning("not prewarmed", service=self.service, error=str(error))

    async def check(self) -> None:
        """Find out whether the server accepts the key and has the model: see `Checked`."""
        await self._client.check(self.model)

    async def close(self) -> None:
        """Close the client of the running event loop. Its sessions stay open."""
        await self._client.close()
