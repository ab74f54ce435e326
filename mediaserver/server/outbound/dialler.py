"""Calling people: from the request to the end of the call.

    dialler = Dialler(client, Reminder)
    runtime = Runtime(settings, Routes(Route(dialler, OUTBOUND_PATH)))
    dialler.attach(runtime)
    …
    report = await dialler.dial("+14155550199", "+14155550100")

Every call has an id of its own in the URLs that Plivo is given for it, so that what Plivo tells is
understood even before, or without, the answer to the request that placed the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

import structlog

from mediaserver.call import StreamEndedError
from mediaserver.handler import Handler, StreamHandler, check_handler
from mediaserver.plivo.callbacks import (
    AnswerRequest,
    Callback,
    HangupRequest,
    MachineDetection,
    RingRequest,
    StreamStatusRequest,
)
from mediaserver.plivo.client import PlivoClient
from mediaserver.plivo.errors import (
    AuthenticationError,
    ConcurrencyLimitError,
    NotFoundError,
    PlivoError,
    RateLimitedError,
)
from mediaserver.plivo.models import CallCreated, CallRequest
from mediaserver.routes import Route
from mediaserver.server.outbound.outcome import (
    MACHINE_DETECTED,
    DialReport,
    End,
    Outcome,
    unanswered,
)
from mediaserver.server.runtime import Runtime
from mediaserver.stream import Stream


log = structlog.get_logger("mediaserver.calls")

OUTBOUND_PATH: Final = "/outbound"
"""Path of the streams of calls that were placed here."""

CALLS_PER_SECOND: Final = 2.0
"""How fast an account may place calls unless Plivo has raised its limit."""

END_UNKNOWN: Final = "end unknown: Plivo could not be asked"
"""The cause in the report of a call whose end was neither told nor found out."""

RING_SECONDS: Final = 120
"""How long Plivo lets a call ring by default."""

_UNKNOWN_CHECKS: Final = 5
"""How often in a row Plivo may fail to say whether a call goes on, before nobody waits for it."""

GIVE_UP_SECONDS: Final = 20.0
"""How long it is tried to stop a call that was given up."""

_PARAMETER: Final = "dial"

Machine: TypeAlias = Literal["ignore", "detect", "hangup"]


class DialError(RuntimeError):
    """A call that could not be placed from here; it says why."""


@dataclass(slots=True, eq=False)
class _Dialled:
    """A call on its way."""

    key: str
    """What stands in the URLs that Plivo has for it."""
    request: CallRequest
    handler: StreamHandler | type[Handler]
    begun: float
    placed: bool = False
    """Plivo has been asked for it, and has not refused: somebody may answer."""
    creating: asyncio.Task[CallCreated] | None = None
    """The request for it."""
    given_up: bool = False
    request_uuid: str | None = None
    call_id: str | None = None
    rang: bool = False
    answered: float | None = None
    machine: bool | None = None
    handling: asyncio.Task[Any] | None = None
    handled: bool = False
    handler_error: str | None = None
    end: End | None = None
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    """Plivo has told something of it: it exists."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id_at_plivo(self) -> str | None:
        """Its CallUUID: as it was told, or else the request's, which should be the same."""
        return self.call_id or self.request_uuid


class Dialler:
    """Places calls, follows each to its end, and runs a handler on those that are answered.

    It is the handler of the route at `OUTBOUND_PATH`, and hears what Plivo tells the server: the
    process that dials has to be the one that gets the webhooks and streams of its calls.

    Args:
        client: Plivo's REST API.
        handler: What to run on answered calls, unless `dial` names another.
        calls_per_second: How fast calls may be placed; the account's limit.
        patience: Seconds that a call may wait until the account, or this server, has room for it.
        check_seconds: How often Plivo is asked about a call that it says nothing about.

    """

    def __init__(
        self,
        client: PlivoClient,
        handler: StreamHandler | type[Handler] | None = None,
        *,
        calls_per_second: float = CALLS_PER_SECOND,
        patience: float = 60.0,
        check_seconds: float = 30.0,
    ) -> None:
        if not calls_per_second > 0:
            raise ValueError(f"calls_per_second must be above 0, not {calls_per_second}")
        self._client = client
        self._handler = handler
        self._pace = _Pace(1 / calls_per_second)
        self._patience = patience
        self._check_seconds = check_seconds
        self._calls: dict[str, _Dialled] = {}
        self._runtime: Runtime | None = None
        # What the handler's class shares between calls; see `Routes.lifespan`.
        lifespan: Callable[[], Any] | None = getattr(handler, "lifespan", None)
        if lifespan is not None:
            self.lifespan = lifespan

    def attach(self, runtime: Runtime) -> None:
        """Join a server, before it takes calls.

        Raises:
            DialError: The server does not know by which URL Plivo reaches it, or has no route here.

        """
        if runtime.settings.public_url is None:
            raise DialError("public_url is not set: Plivo has to know where to ask what to say")
        if not any(route.handler is self for route in runtime.routes.routes):
            raise DialError(f"the server has no route to the dialler: Route(…, {OUTBOUND_PATH!r})")
        self._runtime = runtime
        runtime.listeners.append(self.told)
        runtime.screens.append(self.expects)

    async def dial(
        self,
        to: str,
        from_: str,
        handler: StreamHandler | type[Handler] | None = None,
        *,
        machine: Machine = "ignore",
        ring_seconds: int = RING_SECONDS,
        longest_seconds: int | None = None,
        **parameters: Any,
    ) -> DialReport:
        """Call somebody, and return when the call is over.

        Cancelling gives the call up: it stops ringing, or is hung up.

        Args:
            to: A number with its country code, or a SIP address.
            from_: A number of the account.
            handler: What to run when the call is answered, if not the dialler's own.
            machine: What to do when a machine answers: do not ask, ask and let the handler run
                (it comes to know while it runs, and the report says it), or hang up.
            ring_seconds: How long to let it ring.
            longest_seconds: How long the call may last.
            **parameters: Further ones of `CallRequest`, such as `caller_name`.

        Raises:
            ValidationError: A parameter is none that Plivo takes.
            HandlerError: `handler` is none.
            DialError: This server, or the account, had no room for longer than `patience`.
            PlivoError: Plivo refused the call, or could not be reached. If the request may have
                arrived, some seconds were waited for a sign of the call, and there was none.
            AuthenticationError: Also when the token is refused while the call goes on.

        """
        runtime, handler = self._ready(handler)
        key = secrets.token_urlsafe(12)
        request = self._request(
            key,
            runtime,
            machine,
            to=to,
            from_=from_,
            ring_timeout=ring_seconds,
            time_limit=longest_seconds,
            **parameters,
        )
        call = _Dialled(key, request, handler, begun=asyncio.get_running_loop().time())
        self._calls[key] = call
        try:
            await self._place(call, runtime)
            await self._follow(call)
            if call.handling is not None:
                # The server cancels handlers that outlive their call for longer than its grace.
                await asyncio.wait({call.handling}, timeout=2 * runtime.settings.grace)
        except BaseException:
            # A task of its own: a second cancellation must not leave somebody's phone ringing.
            await _finish(asyncio.create_task(self._give_up(call)))
            raise
        finally:
            del self._calls[key]
        report = _report(call)
        log.info(
            "dialled call ended",
            call=report.call_id,
            outcome=report.outcome.value,
            cause=report.cause,
            to=report.to,
        )
        return report

    async def __call__(self, stream: Stream) -> None:
        """Run the handler of a call that was placed here."""
        call = next((each for each in self._calls.values() if each.call_id == stream.call_id), None)
        if call is None:
            log.warning("stream of a call that nobody waits for", call=stream.call_id)
            return
        call.handled, call.handling = True, asyncio.current_task()
        assert self._runtime is not None, "it was dialled"
        try:
            await self._runtime.prepared.take(stream.call_id, Route(call.handler))(stream)
        except Exception as error:
            if not _only_ended(error):
                call.handler_error = f"{type(error).__name__}: {error}"
            raise
        finally:
            call.handling = None

    def told(self, callback: Callback) -> None:
        """Take in what Plivo tells."""
        if isinstance(callback, StreamStatusRequest):
            return
        call = self._find(callback)
        if call is None:
            return
        call.call_id = callback.call_id
        call.seen.set()
        if isinstance(callback, HangupRequest):
            call.end = End.told(callback)
            found = _machine(callback.fields)
            call.machine = call.machine if found is None else found
            call.ended.set()
        elif isinstance(callback, MachineDetection):
            call.machine = callback.is_machine
        elif isinstance(callback, RingRequest):
            call.rang = True
        elif isinstance(callback, AnswerRequest):
            if call.answered is None:
                call.answered = asyncio.get_running_loop().time()
            found = _machine(callback.fields)
            call.machine = call.machine if found is None else found

    def expects(self, route: Route, request: AnswerRequest) -> bool:
        """Tell whether somebody waits for a call, if it is one that was placed here."""
        if route.handler is not self:
            return True
        call = self._find(request)
        return call is not None and not call.given_up

    def route_of(self, request: AnswerRequest) -> Route | None:
        """Return the route of the handler of a call that was placed here."""
        call = self._find(request)
        return None if call is None else Route(call.handler)

    def _find(
        self, callback: AnswerRequest | RingRequest | MachineDetection | HangupRequest
    ) -> _Dialled | None:
        call = self._calls.get(callback.fields.get(_PARAMETER, ""))
        if call is None:
            call = next((each for each in self._calls.values() if _is_of(callback, each)), None)
        return call

    def _ready(
        self, handler: StreamHandler | type[Handler] | None
    ) -> tuple[Runtime, StreamHandler | type[Handler]]:
        handler = handler or self._handler
        if handler is None:
            raise DialError("which handler? Name one for this call, or for the dialler")
        check_handler(handler)
        if self._runtime is None:
            raise DialError("the dialler is not attached to a server: dialler.attach(runtime)")
        if not self._runtime.ready or self._runtime.draining:
            raise DialError("the server takes no calls: it has not started, or is shutting down")
        return self._runtime, handler

    def _request(
        self, key: str, runtime: Runtime, machine: Machine, **parameters: Any
    ) -> CallRequest:
        base = runtime.settings.public_url
        path = next(each.path for each in runtime.routes.routes if each.handler is self)
        urls = {
            "answer_url": f"{base}/answer?path={quote(path, safe='/')}&{_PARAMETER}={key}",
            "fallback_url": f"{base}/fallback?path={quote(path, safe='/')}&{_PARAMETER}={key}",
            "hangup_url": f"{base}/hangup?{_PARAMETER}={key}",
            "ring_url": f"{base}/status?{_PARAMETER}={key}",
        }
        if machine not in ("ignore", "detect", "hangup"):
            raise ValueError(f"machine must be 'ignore', 'detect' or 'hangup', not {machine!r}")
        if machine != "ignore":
            # With a URL detection goes on beside the call; without one, who answers hears nothing
            # for as long as it takes.
            urls["machine_detection_url"] = f"{base}/status?{_PARAMETER}={key}"
            parameters["machine_detection"] = "true" if machine == "detect" else "hangup"
        request = CallRequest(**{**urls, **parameters})
        if len(request.destinations) > 1:
            raise ValueError("one call at a time: dial several numbers with several dial()")
        return request

    async def _place(self, call: _Dialled, runtime: Runtime) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        pause = 1.0
        while True:
            await self._pace.turn()
            try:
                if not self._has_room(runtime):
                    raise _NoRoomError
                call.placed = True
                await self._create(call)
            except (RateLimitedError, ConcurrencyLimitError, _NoRoomError) as error:
                # Nothing was placed, so it may be tried again.
                call.placed = False
                wait = getattr(error, "retry_after", None) or pause
                if loop.time() + wait > deadline:
                    if isinstance(error, _NoRoomError):
                        raise DialError(
                            f"this server had no room for the call for {self._patience:g} s:"
                            f" max_calls is {runtime.settings.max_calls}"
                        ) from None
                    raise
                log.info("call has to wait", to=call.request.to, seconds=wait, reason=str(error))
                if isinstance(error, RateLimitedError):
                    self._pace.hold(wait)
                await asyncio.sleep(wait)
                pause = min(pause * 2, 8.0)
            except PlivoError as error:
                if not error.may_have_arrived:
                    raise
                log.warning("was the call placed?", to=call.request.to, error=str(error))
                try:
                    async with asyncio.timeout(self._check_seconds):
                        await call.seen.wait()
                except TimeoutError:
                    raise error from None
                return
            else:
                return

    async def _create(self, call: _Dialled) -> None:
        call.creating = asyncio.create_task(self._client.calls.create(call.request))
        # It goes on when this is cancelled: only the id of the call lets it be given up.
        call.request_uuid = (await asyncio.shield(call.creating)).call_uuid

    def _has_room(self, runtime: Runtime) -> bool:
        """Tell whether there is a place for one more of those who may answer."""
        ringing = sum(call.placed and call.answered is None for call in self._calls.values())
        return runtime.admission.free > ringing

    async def _follow(self, call: _Dialled) -> None:
        """Wait for the end of a call, and ask for it when nothing is told."""
        time = asyncio.get_running_loop().time
        missed = unknown = 0
        while not await self._hears_the_end(call):
            goes_on = call.handling is not None or await self._goes_on(call)
            if call.ended.is_set():
                return
            if goes_on:
                missed = unknown = 0
            elif goes_on is None:
                unknown += 1
                # While it may ring, a webhook may still come.
                rings = call.answered is None and time() < call.begun + _ring_seconds(call)
                if unknown >= _UNKNOWN_CHECKS and not rings:
                    log.error("end of call is not known", call=call.id_at_plivo)
                    call.end = End(cause=END_UNKNOWN)
                    await _finish(asyncio.create_task(self._give_up(call)))
                    return
            else:
                missed += 1
                # One that Plivo has queued is not live yet, and a record may come late.
                waits = not call.seen.is_set() and time() < call.begun + self._patience
                if call.end is not None or (missed > 1 and not waits):
                    log.warning("end of call was not told", call=call.id_at_plivo)
                    return

    async def _hears_the_end(self, call: _Dialled) -> bool:
        """Wait for the end of a call to be told, for as long as Plivo is not asked about it."""
        try:
            async with asyncio.timeout(self._check_seconds):
                await call.ended.wait()
        except TimeoutError:
            return False
        return True

    async def _goes_on(self, call: _Dialled) -> bool | None:
        """Ask Plivo whether a call goes on; None if it cannot be asked."""
        call_id = call.id_at_plivo
        if call_id is None:
            return None
        try:
            await self._client.calls.live(call_id)
        except NotFoundError:
            with contextlib.suppress(PlivoError):
                recorded = End.recorded(await self._client.calls.get(call_id))
                # What was told meanwhile says more.
                call.end = call.end or recorded
            return False
        except AuthenticationError:
            # Not even later will it say anything.
            raise
        except PlivoError as error:
            log.warning("cannot ask about a call", call=call_id, error=str(error))
            return None
        return True

    async def _give_up(self, call: _Dialled) -> None:
        """Stop a call that nobody waits for any more, and stream it no more."""
        call.given_up = True
        if call.ended.is_set():
            return
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await self._stop(call)
        except (PlivoError, ValueError, TimeoutError) as error:
            why = str(error) or f"no answer within {GIVE_UP_SECONDS:g} s"
            log.error("a call may go on that was given up", to=call.request.to, error=why)

    async def _stop(self, call: _Dialled) -> None:
        if call.request_uuid is None and call.creating is not None:
            with contextlib.suppress(PlivoError):
                call.request_uuid = (await call.creating).call_uuid
        gone = False
        if call.request_uuid is not None and call.answered is None:
            gone = await self._client.calls.cancel(call.request_uuid)
        if not gone and call.id_at_plivo is not None:
            await self._client.calls.hang_up(call.id_at_plivo)


class _NoRoomError(Exception):
    def __str__(self) -> str:
        return "this server has all the calls it may have"


class _Pace:
    """Turns at equal distances, to those who wait in the order they came."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = 0.0
        self._waiting = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for the next turn."""
        time = asyncio.get_running_loop().time
        async with self._waiting:
            now = time()
            while now < self._next:
                await asyncio.sleep(self._next - now)
                # `hold` may have put the turn off meanwhile.
                now = time()
            self._next = now + self._interval

    def hold(self, seconds: float) -> None:
        """Give no turn for a while."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)


async def _finish(task: asyncio.Task[None]) -> None:
    """Wait for a task that bounds itself, and be cancelled only after it."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


def _ring_seconds(call: _Dialled) -> float:
    return call.request.ring_timeout or RING_SECONDS


def _machine(fields: Any) -> bool | None:
    text = str(fields.get("Machine", "")).lower()
    return {"true": True, "false": False}.get(text)


def _is_of(
    callback: AnswerRequest | RingRequest | MachineDetection | HangupRequest, call: _Dialled
) -> bool:
    ids = {callback.call_id, callback.request_id, callback.a_leg_request_id} - {None}
    return bool(ids & ({call.call_id, call.request_uuid} - {None}))


def _only_ended(error: Exception) -> bool:
    """Tell whether an exception says no more than that the call has ended."""
    if isinstance(error, ExceptionGroup):
        return error.split(StreamEndedError)[1] is None
    return isinstance(error, StreamEndedError)


def _report(call: _Dialled) -> DialReport:
    end = call.end or End()
    cause = end.cause
    if call.machine or end.code == MACHINE_DETECTED:
        outcome = Outcome.MACHINE
    elif call.handled:
        outcome = Outcome.ANSWERED
    elif call.answered is not None:
        outcome = Outcome.FAILED
        cause = f"answered, but no stream came{f': {cause}' if cause else ''}"
    else:
        outcome = unanswered(end)
    return DialReport(
        to=call.request.to,
        from_=call.request.from_,
        call_id=call.id_at_plivo,
        outcome=outcome,
        cause=cause,
        cause_code=end.code,
        source=end.source,
        rang=call.rang,
        machine=True if outcome is Outcome.MACHINE else call.machine,
        handled=call.handled,
        handler_error=call.handler_error,
        seconds_to_answer=None if call.answered is None else round(call.answered - call.begun, 3),
        duration=end.duration,
        bill_duration=end.bill_duration,
        total_cost=end.total_cost,
    )
