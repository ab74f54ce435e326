"""A process that has no calls and asks those that do: the supervisor of workers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from mediaserver.server.fleet.background import doing
from mediaserver.server.fleet.breaker import Breaker
from mediaserver.server.fleet.keys import FleetKeys
from mediaserver.server.fleet.mail import Mail, MailRequest
from mediaserver.server.fleet.members import AboutMember, known_members
from mediaserver.server.fleet.store import FleetStore, FleetUnavailableError
from mediaserver.settings import Settings


_LOOK_SECONDS: Final = 0.5


class FleetObserver:
    """A `Participant` of the fleet that is not one of its members.

    Args:
        settings: Name the Redis.
        machine: What the names of its workers begin with.

    """

    def __init__(self, settings: Settings, machine: str) -> None:
        assert settings.redis is not None
        self.machine = machine
        self.keys = FleetKeys(settings.redis_prefix)
        name = f"{machine}/supervisor"
        self.store = FleetStore(
            settings.redis.get_secret_value(), name, self.keys, Breaker(time.monotonic)
        )
        self.mail = Mail(self.store, [self.keys.mailbox(name)], _nothing)
        self.members: dict[str, AboutMember] = {}

    @contextlib.asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Follow the fleet within the block. Redis need not answer."""
        try:
            async with doing(mail=self.mail.listen(), members=self._look_again()):
                yield
        finally:
            await self.store.close()

    async def look(self) -> None:
        """Learn which members live."""
        with contextlib.suppress(FleetUnavailableError):
            self.members = known_members(await self.store.everybody())

    def undelivered(self) -> None:
        """Do nothing: the workers count."""

    async def _look_again(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)


async def _nothing(request: MailRequest) -> None:
    """Answer nothing: nobody asks a supervisor."""
