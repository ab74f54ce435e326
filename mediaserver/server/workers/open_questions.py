"""What workers were asked and have not replied to yet."""

from __future__ import annotations

import asyncio
import secrets

from mediaserver.server.workers.crew import WorkerGoneError
from mediaserver.server.workers.employed import Employed
from mediaserver.server.workers.messages import Ask, Replied


class OpenQuestions:
    """The questions to workers that are open, on the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Who was asked, and what waits for the reply.
        self._asked: dict[int, tuple[Employed, asyncio.Future[bytes]]] = {}

    async def ask(self, worker: Employed, body: bytes, *, within: float) -> bytes:
        """Ask a worker something, and return its reply.

        Raises:
            WorkerGoneError: It cannot be reached, it ends, or it does not reply within these
                seconds.

        """
        number = secrets.randbits(48)
        if not worker.channel.send(Ask(number, body)):
            raise WorkerGoneError(f"there is no worker {worker.name}")
        reply: asyncio.Future[bytes] = self._loop.create_future()
        self._asked[number] = worker, reply
        try:
            async with asyncio.timeout(within):
                return await reply
        except TimeoutError:
            raise WorkerGoneError(
                f"worker {worker.name} did not reply within {within:g} s"
            ) from None
        finally:
            del self._asked[number]

    def replied(self, message: Replied) -> None:
        """Pass a reply on, if it is still waited for."""
        _, reply = self._asked.get(message.number, (None, None))
        if reply is not None and not reply.done():
            reply.set_result(message.body)

    def ended(self, worker: Employed) -> None:
        """Tell those who wait for the replies of a worker that it has ended."""
        for asked, reply in self._asked.values():
            if asked is worker and not reply.done():
                reply.set_exception(WorkerGoneError(f"worker {worker.name} has ended"))
