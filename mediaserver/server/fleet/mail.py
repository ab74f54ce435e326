"""Requests and replies between the members of a fleet, by Redis' channels.

A request that nobody listens for comes back at once. One that was taken is answered in a moment, if
only by the word that it is being worked on: then the result may take its time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import msgspec
import structlog
from redis.exceptions import RedisError

from mediaserver.server.admin.commands import CallCommand, CallFilter
from mediaserver.server.fleet.store import REQUEST_SECONDS, FleetStore, FleetUnavailableError


log = structlog.get_logger(__name__)

TAKEN_SECONDS: Final = 0.8
"""Seconds within which a request must be taken."""
_RESULT_SECONDS: Final = 30.0
"""Seconds within which the result must come of a request that was taken."""
_WORD_AFTER: Final = 0.2
"""Seconds after which the other side is told that its request is being worked on."""
_PING_SECONDS: Final = 2.0
"""Seconds without a message after which it is tried whether the connection still lives."""
_AGAIN_SECONDS: Final = 0.5
"""Seconds before a new attempt to listen."""
_MOST_AT_ONCE: Final = 200
"""Requests that are worked on at a time; further ones are not taken."""


class NotDeliveredError(Exception):
    """A request was not answered; the message says why."""


class NotAskedError(NotDeliveredError):
    """Redis has not passed a request on, so nothing is known of the process that it was for."""


class DrainRequest(msgspec.Struct, frozen=True, tag=True):
    """Asks a node to take no new calls."""


class LastStreamRequest(msgspec.Struct, frozen=True, tag=True):
    """Asks what became of the stream of a call, with which Plivo has gone on elsewhere."""

    call: str


class PassedWebhook(msgspec.Struct, frozen=True, tag=True):
    """Brings a webhook to the member that has its call. Nothing is replied."""

    kind: str
    fields: dict[str, str]


MailRequest: TypeAlias = CallFilter | CallCommand | DrainRequest | LastStreamRequest | PassedWebhook


class MailLetter(msgspec.Struct, frozen=True, tag=True):
    """A request on its way."""

    sender: str
    """The channel for the reply."""
    number: int
    request: MailRequest


class MailReply(msgspec.Struct, frozen=True, tag=True):
    """The reply to a letter."""

    number: int
    """That of the letter."""
    result: bytes | None
    """None if it is being worked on."""


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(MailLetter | MailReply)


class Mail:
    """The mail of one process.

    Args:
        store: Sends it.
        channels: Where to listen. Replies come to the first.
        work: Does what a request asks, and returns the result; None if there is nothing to reply.

    """

    def __init__(
        self,
        store: FleetStore,
        channels: Sequence[str],
        work: Callable[[MailRequest], Awaitable[bytes | None]],
    ) -> None:
        self._store = store
        self._channels = channels
        self._work = work
        self.listens = asyncio.Event()
        """Set while messages can come."""
        self._number = 0
        self._asked: dict[int, tuple[asyncio.Timeout, asyncio.Future[bytes]]] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def ask(self, channel: str, request: MailRequest) -> bytes:
        """Send a request and return the result.

        Raises:
            NotAskedError: Redis did not pass it on.
            NotDeliveredError: It was not taken in time, or its result did not come.

        """
        if not self.listens.is_set():
            raise NotAskedError("this process has lost its connection to Redis")
        self._number += 1
        number = self._number
        try:
            async with asyncio.timeout(TAKEN_SECONDS) as limit:
                result: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
                self._asked[number] = limit, result
                letter = MailLetter(self._channels[0], number, request)
                if not await self._store.publish(channel, _encode(letter)):
                    raise NotDeliveredError("it is gone")
                return await result
        except TimeoutError:
            raise NotDeliveredError("it has not answered in time") from None
        except FleetUnavailableError as error:
            raise NotAskedError(str(error)) from None
        finally:
            self._asked.pop(number, None)

    async def post(self, channel: str, request: MailRequest) -> bool:
        """Send a request that has no reply, and tell whether somebody got it.

        Raises:
            FleetUnavailableError: Redis has not answered.

        """
        letter = MailLetter(self._channels[0], 0, request)
        return await self._store.publish(channel, _encode(letter))

    async def listen(self) -> None:
        """Take messages until this is cancelled, over as many connections as it takes."""
        try:
            while True:
                try:
                    await self._listen()
                except (RedisError, OSError) as error:
                    log.debug("mail is interrupted", reason=str(error))
                finally:
                    self.listens.clear()
                await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            for task in self._working:
                task.cancel()

    async def _listen(self) -> None:
        """Take messages as long as the connection lives.

        Raises:
            RedisError: It does not.

        """
        subscription = self._store.subscription()
        try:
            async with asyncio.timeout(2 * REQUEST_SECONDS):
                await subscription.subscribe(*self._channels)
            missing, pinged = len(self._channels), False
            while True:
                message = await subscription.get_message(timeout=_PING_SECONDS)
                if message is None:
                    if pinged or missing:
                        raise TimeoutError("the connection is silent")
                    async with asyncio.timeout(REQUEST_SECONDS):
                        await subscription.ping()
                    pinged = True
                    continue
                pinged = False
                if message["type"] == "subscribe":
                    missing -= 1
                    if not missing:
                        self.listens.set()
                elif message["type"] == "message":
                    self._take(message["data"])
        finally:
            with contextlib.suppress(RedisError, OSError):
                await subscription.aclose()  # type: ignore[no-untyped-call]

    def _take(self, data: bytes) -> None:
        try:
            message = _decoder.decode(data)
        except msgspec.DecodeError as error:
            # It may come from another version.
            log.warning("mail was not understood", reason=str(error))
            return
        if isinstance(message, MailLetter):
            if len(self._working) >= _MOST_AT_ONCE:
                log.warning("mail was left: there is too much of it", at_once=_MOST_AT_ONCE)
                return
            task = asyncio.create_task(self._answer(message), name="mail")
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        elif message.number in self._asked:
            limit, result = self._asked[message.number]
            if message.result is None:
                limit.reschedule(asyncio.get_running_loop().time() + _RESULT_SECONDS)
            elif not result.done():
                result.set_result(message.result)

    async def _answer(self, letter: MailLetter) -> None:
        work = asyncio.ensure_future(self._work(letter.request))
        try:
            if not letter.number:
                await work
                return
            await asyncio.wait([work], timeout=_WORD_AFTER)
            if not work.done():
                await self._reply(letter, None)
            await self._reply(letter, await work)
        except FleetUnavailableError as error:
            log.warning("mail was not answered", reason=str(error))
        except Exception:
            log.exception("mail could not be worked on")
        finally:
            work.cancel()

    async def _reply(self, letter: MailLetter, result: bytes | None) -> None:
        await self._store.publish(letter.sender, _encode(MailReply(letter.number, result)))
