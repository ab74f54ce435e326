"""A member of the fleet: one process that serves calls."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Final

import msgspec
import structlog
from websockets.frames import CloseCode

from mediaserver.plivo.callbacks import CallbackError
from mediaserver.server.admin.commands import CallFilter, Delivery
from mediaserver.server.admin.directory import Directory
from mediaserver.server.fleet.background import doing
from mediaserver.server.fleet.breaker import Breaker
from mediaserver.server.fleet.keys import FleetKeys
from mediaserver.server.fleet.mail import (
    DrainRequest,
    LastStreamRequest,
    Mail,
    MailRequest,
    NotAskedError,
    NotDeliveredError,
    PassedWebhook,
)
from mediaserver.server.fleet.members import AboutMember, about_member, known_members
from mediaserver.server.fleet.notes import LostMember
from mediaserver.server.fleet.register import Register
from mediaserver.server.fleet.store import FleetStore, FleetUnavailableError
from mediaserver.server.kept_streams import KeptStream
from mediaserver.server.membership import MemberCall
from mediaserver.server.neighbours import Neighbours, ToldWebhook, kind_and_fields, told_webhook
from mediaserver.server.resumption import lost_here
from mediaserver.server.runtime import Runtime


log = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 2.0
"""Seconds between two beats."""
_TRIAL_SECONDS: Final = 0.5
"""Seconds between two attempts while Redis does not answer."""
_KEEP_SECONDS: Final = 1.0
"""Seconds between two looks at what calls have said."""
_CLAIM_SECONDS: Final = 0.3
"""Seconds that `/answer` waits for Redis."""
_LATER: Final = 10_000
"""Requests that may wait for their turn."""
_LEAVE_SECONDS: Final = 1.0
"""Seconds for what still waits when the process leaves."""

_REPLAYED: Final = "a stream was opened with this signature before"


class MemberFigures:
    """What one member counts."""

    def __init__(self, store: FleetStore) -> None:
        self._store = store
        self.members = 0
        """Members that live, as far as is known."""
        self.members_lost = 0
        self.calls_lost = 0
        self.refused: Counter[str] = Counter()
        """Calls turned away, by the limit."""
        self.undelivered = 0
        """Requests and webhooks that did not reach another member."""
        self.dropped = 0
        """Requests to Redis that were dropped because too many waited."""

    @property
    def failures(self) -> int:
        """Requests that Redis did not answer."""
        return self._store.failures

    @property
    def openings(self) -> int:
        """How often the breaker has opened."""
        return self._store.breaker.openings

    @property
    def answers(self) -> bool:
        """Whether Redis answers."""
        return self._store.breaker.state == "closed"


class Fleet:
    """The fleet, as one member sees it: its `Membership`, and its `Neighbours`.

    Args:
        runtime: The state of the process.
        others: The other processes of the same machine.
        machine: The part of the names that those share; by default, the whole name of this one.
        store: What is shared; by default, as the settings say.

    """

    def __init__(
        self,
        runtime: Runtime,
        others: Neighbours,
        *,
        machine: str | None = None,
        store: FleetStore | None = None,
    ) -> None:
        settings = runtime.settings
        assert settings.redis is not None
        self._runtime = runtime
        self._others = others
        self.keys = FleetKeys(settings.redis_prefix)
        self.store = store or FleetStore(
            settings.redis.get_secret_value(), runtime.process, self.keys, Breaker(runtime.clock)
        )
        self.figures = MemberFigures(self.store)
        self.members: dict[str, AboutMember] = {}
        """All members that live, as this one learned at its last beat."""
        self.own: Directory | None = None
        """What answers requests of other members."""
        self.mail = Mail(self.store, [self.keys.mailbox(runtime.process)], self._work)
        self.machine = machine or runtime.process
        self._host = socket.gethostname()
        self._register = Register()
        # What Redis has of the streams of this member, by call.
        self._kept: dict[str, KeptStream] = {}
        self._later: asyncio.Queue[Callable[[], Awaitable[object]]] = asyncio.Queue(_LATER)

    # Membership

    @contextlib.asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Belong to the fleet within the block. Redis need not answer."""
        try:
            async with doing(
                beats=self._beat_again(),
                mail=self.mail.listen(),
                requests=self._do_later(),
                streams=self._keep_again(),
            ):
                try:
                    yield
                finally:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LEAVE_SECONDS):
                            await self.caught_up()
        finally:
            with contextlib.suppress(FleetUnavailableError):
                await self.store.leave()
            await self.store.close()

    async def claim(self, call_id: str, route: str, route_limit: int | None) -> str | None:
        """Take the places of a call; return ``account`` or ``route`` if that limit is reached."""
        note = self._register.begin(call_id, route)
        account_limit = self._runtime.settings.max_calls_account
        claims = partial(
            self.store.claim,
            call_id,
            note,
            account_limit=account_limit or 0,
            route_limit=route_limit or 0,
            seconds=_CLAIM_SECONDS,
        )
        if account_limit is None and route_limit is None:
            self._do(claims)
            return None
        try:
            reached = await claims()
        except FleetUnavailableError:
            return None
        if not reached:
            return None
        self.figures.refused[reached] += 1
        return reached

    def address_of(self, process: str) -> str | None:
        """Return the URL of the machine of another process, if that is known and lives."""
        about = self.members.get(process)
        return about.address or None if about and about.machine != self.machine else None

    def settle(self, call_id: str) -> None:
        """Say that the call has a place in this process now, or is turned away."""
        self._register.settle(call_id)
        if not self._has(call_id):
            self._release(call_id)

    def entered(self, call: MemberCall) -> None:
        """Close the stream soon if its signature has opened one on another node."""
        if call.accepted.nonce is not None:
            self._do(partial(self._check_nonce, call, call.accepted.nonce))

    def left(self, call: MemberCall) -> None:
        """Give the places of a call back that is over."""
        call_id = call.call_id
        # A stream that has not started has no place, and a flood of them must not cost trips.
        if call_id != "?" and not self._has(call_id):
            self._release(call_id)
        kept = self._kept.pop(call_id, None)
        if kept is not None and self._runtime.lost_streams.previous(call_id) is None:
            ended = KeptStream.last(None, self.store.member).to_bytes()
            self._do(partial(self.store.keep_streams, {call_id: ended}))

    async def last_stream(self, call_id: str, process: str) -> KeptStream | None:
        """Return what is known of the latest stream of a call, which this process does not know.

        The process that had it is asked, and what is kept counts if that is gone. While Redis does
        not answer, a call of another machine is taken for one that has ended as it should: most do,
        and their callers must not come back to a handler that is done with them.
        """
        try:
            return await self._last_stream(call_id, process)
        except (FleetUnavailableError, NotAskedError) as error:
            if process.startswith(f"{self.machine}/"):
                # Its own machine would have brought the request to it if it lived.
                return None
            log.warning(
                "how a call's stream ended is not known",
                reason=str(error),
                hint="the call is not resumed: most end as they should",
                process=process,
                call=call_id,
            )
            return KeptStream.last(None, process)

    async def _last_stream(self, call_id: str, process: str) -> KeptStream | None:
        kept = await self._read(call_id)
        if kept is not None and kept.wanted:
            return kept
        holder = (kept.process if kept is not None else "") or process
        if holder == self.store.member:
            # It has left, and what became of it is on its way to Redis.
            return KeptStream.last(None, holder)
        request = LastStreamRequest(call_id)
        try:
            answer = await self.mail.ask(self.keys.mailbox(holder), request)
        except NotDeliveredError as error:
            if kept is None and isinstance(error, NotAskedError):
                raise
            return kept
        return KeptStream.read(answer) or kept

    async def recall(self, call_id: str) -> KeptStream | None:
        """Return what is kept of the latest stream of a call, if anything is known."""
        try:
            return await self._read(call_id)
        except FleetUnavailableError:
            return None

    async def _read(self, call_id: str) -> KeptStream | None:
        kept = await self.store.kept_stream(call_id)
        return None if kept is None else KeptStream.read(kept)

    # Streams, for calls that are resumed

    async def keep(self) -> None:
        """Keep what the calls of this member have said since the last time."""
        changed: dict[str, KeptStream] = {}
        for call in self._runtime.calls:
            if call.stream is not None and not call.session.ended:
                kept = KeptStream.of(call.stream, self.store.member)
                if self._kept.get(call.call_id) != kept:
                    changed[call.call_id] = kept
        if not changed:
            return
        # First, so that the end of a call that ends meanwhile is kept as well.
        self._kept.update(changed)
        try:
            await self.store.keep_streams(
                {call_id: kept.to_bytes() for call_id, kept in changed.items()}
            )
        except FleetUnavailableError:
            for call_id, unkept in changed.items():
                if self._kept.get(call_id) == unkept:
                    self._kept[call_id] = KeptStream("")

    async def _keep_again(self) -> None:
        while self._runtime.settings.resume_calls:
            await self.keep()
            await asyncio.sleep(_KEEP_SECONDS)

    # Neighbours

    def tell(self, webhook: ToldWebhook) -> None:
        """Bring a webhook to the member that has its call."""
        self._others.tell(webhook)
        if not self._has(webhook.call_id):
            self._do(partial(self._pass_on, webhook))

    def used(self, nonce: str) -> None:
        """Tell the processes of this machine; the others know since the stream has entered."""
        self._others.used(nonce)

    def released(self, nonce: str) -> None:
        """Say that this signature may open a stream again: its stream was lost."""
        self._others.released(nonce)
        self._do(partial(self.store.release_nonce, nonce))

    # Beats

    async def beat(self) -> bool:
        """Say that this member lives, and learn which others do; False if Redis does not answer."""
        register = self._register
        last, calls = (
            register.last,
            register.calls(self._runtime.admission.reserved_routes, self._live()),
        )
        about = msgspec.msgpack.encode(self.about())
        try:
            everybody, lost = await self.store.beat(about, calls, last)
        except FleetUnavailableError:
            return False
        self.members = known_members(everybody)
        self.figures.members = len(everybody)
        for each in lost:
            self._count_lost(each)
        return True

    def about(self) -> AboutMember:
        """Return what this member says of itself."""
        runtime = self._runtime
        ready = runtime.ready and runtime.started.is_set()
        return AboutMember(
            node=runtime.process.partition("/")[0],
            machine=self.machine,
            state="draining" if runtime.draining else "ready" if ready else "starting",
            calls=len(runtime.calls),
            calls_limit=runtime.admission.limit,
            host=self._host,
            address=runtime.settings.node_address or "",
        )

    async def _beat_again(self) -> None:
        while True:
            answered = await self.beat()
            await asyncio.sleep(BEAT_SECONDS if answered else _TRIAL_SECONDS)

    def _count_lost(self, lost: LostMember) -> None:
        self.figures.members_lost += 1
        self.figures.calls_lost += len(lost.calls)
        about = about_member(lost.about)
        log.error(
            "member of the fleet lost",
            member=lost.name,
            host=about.host if about else "?",
            calls=len(lost.calls),
        )

    def _live(self) -> Iterator[tuple[str, str]]:
        # The others have no place yet, or get none.
        for call in self._runtime.calls:
            if call.counts:
                yield call.call_id, call.accepted.route.label

    def _has(self, call_id: str) -> bool:
        runtime = self._runtime
        return runtime.admission.keeps(call_id) or runtime.has_call(call_id)

    # What nobody waits for

    async def caught_up(self) -> None:
        """Wait until Redis has been told everything that nobody waits for."""
        await self._later.join()

    def _do(self, request: Callable[[], Awaitable[object]]) -> None:
        """Do something once Redis has answered what came before."""
        try:
            self._later.put_nowait(request)
        except asyncio.QueueFull:
            self.figures.dropped += 1

    async def _do_later(self) -> None:
        while True:
            request = await self._later.get()
            try:
                await request()
            except FleetUnavailableError:
                # The beats make up for it.
                pass
            except Exception:
                log.exception("a request to the fleet failed")
            finally:
                self._later.task_done()

    def _release(self, call_id: str) -> None:
        self._do(partial(self._release_now, call_id, self._register.last))

    async def _release_now(self, call_id: str, last: int) -> None:
        if not self._has(call_id):
            await self.store.release([call_id], last)

    async def _check_nonce(self, call: MemberCall, nonce: str) -> None:
        if not await self.store.use_nonce(nonce):
            call.close(CloseCode.POLICY_VIOLATION, _REPLAYED)

    async def _pass_on(self, webhook: ToldWebhook) -> None:
        owner = await self.store.owner(webhook.call_id)
        if owner is None or owner == self.store.member or owner.startswith(f"{self.machine}/"):
            return
        request = PassedWebhook(*kind_and_fields(webhook))
        if not await self.mail.post(self.keys.mailbox(owner), request):
            self.undelivered()

    def undelivered(self) -> None:
        """Count a request or a webhook that another member did not get."""
        self.figures.undelivered += 1

    # Mail

    async def _work(self, request: MailRequest) -> bytes | None:
        own = self.own
        if isinstance(request, LastStreamRequest):
            report = await lost_here(self._runtime, request.call)
            return KeptStream.last(report, self.store.member).to_bytes()
        if isinstance(request, PassedWebhook):
            try:
                self._runtime.overhear(told_webhook(request.kind, request.fields))
            except CallbackError as error:
                log.warning("webhook of another node not understood", reason=str(error))
            return None
        if own is None:
            return msgspec.msgpack.encode(Delivery("unable", "this process is not ready"))
        if isinstance(request, CallFilter):
            return msgspec.msgpack.encode(await own.calls(request))
        if isinstance(request, DrainRequest):
            return msgspec.msgpack.encode(await own.drain("self"))
        return msgspec.msgpack.encode(await own.send(request))
