"""Outbound calls: placing them, and following each to its end.

    dialler = Dialler(client, Reminder)
    runtime = Runtime(settings, Routes(Route(dialler, OUTBOUND_PATH)))
    dialler.attach(runtime)
    …
    report = await dialler.dial("+14155550199", "+14155550100")

Every call has its own key in the URLs that Plivo gets for it. So webhooks can be matched to calls
even before, or without, the response to the request that placed the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

import structlog

from mediaserver.checks import check_handler, try_out
from mediaserver.containment import Containment, only_ended
from mediaserver.handler import Handler, Served, StreamHandler
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
from mediaserver.server.elsewhere import PROCESS_PARAMETER
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
"""Path for the streams of outbound calls."""

CALLS_PER_SECOND: Final = 2.0
"""Calls per second that an account may place, unless Plivo has raised its limit."""

END_UNKNOWN: Final = "end unknown: Plivo could not be asked"
"""The cause in a report if the end of the call was neither reported nor found out."""

RING_SECONDS: Final = 120
"""Seconds for which Plivo lets a call ring by default."""

_UNKNOWN_CHECKS: Final = 5
"""Number of failed queries in a row after which a call is no longer followed."""

GIVE_UP_SECONDS: Final = 20.0
"""Seconds for which the server tries to stop a call that was given up."""

_PARAMETER: Final = "dial"

Machine: TypeAlias = Literal["ignore", "detect", "hangup"]


class DialError(RuntimeError):
    """The call could not be placed; the message says why."""


@dataclass(slots=True, eq=False)
class _Dialled:
    """An outbound call and what is known of it."""

    key: str
    """The key in the URLs that Plivo has for it."""
    request: CallRequest
    handler: StreamHandler | type[Handler]
    settings: Mapping[str, Any]
    begun: float
    placed: bool = False
    """Plivo was asked to place it and has not refused, so somebody may answer."""
    creating: asyncio.Task[CallCreated] | None = None
    """The request that places it."""
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
    """Set by the first webhook, which shows that the call exists."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id_at_plivo(self) -> str | None:
        """The CallUUID from a webhook, or else the request's, which should be the same."""
        return self.call_id or self.request_uuid


class Dialler:
    """Places calls, follows each to its end, and runs a handler on answered ones.

    It is the handler of the route at `OUTBOUND_PATH` and listens to the server's webhooks. The URLs
    of a call name the process that dials, so that other processes of its machine bring the webhooks
    and the stream to it; where they do not know it, they must reach it by themselves.

    Args:
        client: A client of Plivo's REST API.
        handler: The handler for answered calls, unless `dial` names another.
        settings: Keyword arguments for that handler.
        calls_per_second: The account's limit for placing calls.
        patience: Seconds that a call may wait until the account and this server have room for it.
        check_seconds: Seconds without a webhook after which Plivo is asked about a call.

    """

    def __init__(
        self,
        client: PlivoClient,
        handler: StreamHandler | type[Handler] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        calls_per_second: float = CALLS_PER_SECOND,
        patience: float = 60.0,
        check_seconds: float = 30.0,
    ) -> None:
        if not calls_per_second > 0:
            raise ValueError(f"calls_per_second must be above 0, not {calls_per_second}")
        if handler is not None:
            check_handler(handler, settings or {})
        self._client = client
        self._handler = handler
        self._settings = dict(settings or {})
        self._pace = _Pace(1 / calls_per_second)
        self._patience = patience
        self._check_seconds = check_seconds
        self._calls: dict[str, _Dialled] = {}
        self._runtime: Runtime | None = None
        # The handler's lifespan is that of this route; see `Routes.lifespan`.
        lifespan: Callable[[], Any] | None = getattr(handler, "lifespan", None)
        if lifespan is not None:
            self.lifespan = lifespan

    @asynccontextmanager
    async def serving(self, settings: Mapping[str, Any]) -> AsyncIterator[Mapping[str, str] | None]:
        """Prepare a worker for calls of the dialler's handler: see `Handler.serving`.

        Raises:
            HandlerError: No instance of the handler can be made.

        """
        handler: object = self._handler
        if not isinstance(handler, Served):
            yield None
            return
        settings = {**self._settings, **settings}
        async with handler.serving(settings) as unready:
            try_out(handler, settings)
            yield unready

    def attach(self, runtime: Runtime) -> None:
        """Join a server before it takes calls.

        Raises:
            DialError: The server has no public URL, or no route to this dialler.

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
        settings: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> DialReport:
        """Call a number, and return when the call has ended.

        Cancelling gives the call up: it stops ringing, or is hung up.

        Args:
            to: A number with its country code, or a SIP address.
            from_: A number of the account.
            handler: The handler to run when the call is answered; by default the dialler's.
            machine: Whether to detect answering machines: ``ignore`` does not; ``detect`` runs the
                handler anyway, and the report has the result; ``hangup`` ends such calls.
            ring_seconds: Seconds to let it ring.
            longest_seconds: Longest duration of the call in seconds.
            settings: Keyword arguments for the handler in this call, such as an agent's
                ``greeting``. Those of the dialler hold besides, if its handler runs.
            **parameters: Further fields of `CallRequest`, such as `caller_name`.

        Raises:
            ValidationError: Plivo does not take a parameter or its value.
            HandlerError: `handler` is not a handler, or does not take the settings.
            DialError: This server had no room for longer than `patience`.
            PlivoError: Plivo refused the call, or could not be reached. If the request may have
                arrived, no webhook of the call came within `check_seconds`.
            AuthenticationError: The token was refused, when placing the call or later.

        """
        given = {} if handler else self._settings
        if settings:
            given = {**given, **settings}
        runtime, handler = self._ready(handler, given)
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
        call = _Dialled(key, request, handler, given, begun=asyncio.get_running_loop().time())
        self._calls[key] = call
        try:
            await self._place(call, runtime)
            await self._follow(call)
            if call.handling is not None:
                # The server cancels handlers that outlive their call for longer than its grace.
                await asyncio.wait({call.handling}, timeout=2 * runtime.settings.grace)
        except BaseException:
            # In its own task, so that a second cancellation does not leave a phone ringing.
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
        """Run the handler of an outbound call."""
        call = next((each for each in self._calls.values() if each.call_id == stream.call_id), None)
        if call is None:
            log.warning("stream of an unknown or abandoned call", call=stream.call_id)
            return
        call.handled, call.handling = True, asyncio.current_task()
        assert self._runtime is not None, "it was dialled"
        try:
            with Containment():
                route = Route(call.handler, settings=call.settings)
                await self._runtime.prepared.take(stream.call_id, route)(stream)
        except Exception as error:
            if not only_ended(error, ended=stream.ended):
                call.handler_error = f"{type(error).__name__}: {error}"
            raise
        finally:
            call.handling = None

    def told(self, callback: Callback) -> None:
        """Take a webhook."""
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
        """Tell whether a call may be streamed: outbound calls only while they are followed."""
        if route.handler is not self:
            return True
        call = self._find(request)
        return call is not None and not call.given_up

    def route_of(self, request: AnswerRequest) -> Route | None:
        """Return the route of an outbound call's handler."""
        call = self._find(request)
        return None if call is None else Route(call.handler, settings=call.settings)

    def _find(
        self, callback: AnswerRequest | RingRequest | MachineDetection | HangupRequest
    ) -> _Dialled | None:
        call = self._calls.get(callback.fields.get(_PARAMETER, ""))
        if call is None:
            call = next((each for each in self._calls.values() if _is_of(callback, each)), None)
        return call

    def _ready(
        self, handler: StreamHandler | type[Handler] | None, settings: Mapping[str, Any]
    ) -> tuple[Runtime, StreamHandler | type[Handler]]:
        handler = handler or self._handler
        if handler is None:
            raise DialError("which handler? Name one for this call, or for the dialler")
        check_handler(handler, settings)
        if settings:
            try_out(handler, settings)
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
        own = f"{_PARAMETER}={key}&{PROCESS_PARAMETER}={runtime.process}"
        urls = {
            "answer_url": f"{base}/answer?path={quote(path, safe='/')}&{own}",
            "fallback_url": f"{base}/fallback?path={quote(path, safe='/')}&{own}",
            "hangup_url": f"{base}/hangup?{own}",
            "ring_url": f"{base}/status?{own}",
        }
        if machine not in ("ignore", "detect", "hangup"):
            raise ValueError(f"machine must be 'ignore', 'detect' or 'hangup', not {machine!r}")
        if machine != "ignore":
            # With a URL, detection runs during the call; without one, whoever answers hears silence
            # until it has finished.
            urls["machine_detection_url"] = urls["ring_url"]
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
                # No call was placed, so it may be tried again.
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
        # Not cancelled with this task: the call can be given up only by the id in the response.
        call.request_uuid = (await asyncio.shield(call.creating)).call_uuid

    def _has_room(self, runtime: Runtime) -> bool:
        """Tell whether one more call could be answered."""
        ringing = sum(call.placed and call.answered is None for call in self._calls.values())
        return runtime.admission.free > ringing

    async def _follow(self, call: _Dialled) -> None:
        """Wait for the end of a call, and ask Plivo about it if no webhook comes."""
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
                # While the call may ring, a webhook may still come.
                rings = call.answered is None and time() < call.begun + _ring_seconds(call)
                if unknown >= _UNKNOWN_CHECKS and not rings:
                    log.error("end of call is not known", call=call.id_at_plivo)
                    call.end = End(cause=END_UNKNOWN)
                    await _finish(asyncio.create_task(self._give_up(call)))
                    return
            else:
                missed += 1
                # A queued call is not live yet, and its record may come late.
                waits = not call.seen.is_set() and time() < call.begun + self._patience
                if call.end is not None or (missed > 1 and not waits):
                    log.warning("end of call was not told", call=call.id_at_plivo)
                    return

    async def _hears_the_end(self, call: _Dialled) -> bool:
        """Wait `check_seconds` for the end of a call; tell whether it was reported."""
        try:
            async with asyncio.timeout(self._check_seconds):
                await call.ended.wait()
        except TimeoutError:
            return False
        return True

    async def _goes_on(self, call: _Dialled) -> bool | None:
        """Ask Plivo whether a call is live; None if there is no answer."""
        call_id = call.id_at_plivo
        if call_id is None:
            return None
        try:
            await self._client.calls.live(call_id)
        except NotFoundError:
            with contextlib.suppress(PlivoError):
                recorded = End.recorded(await self._client.calls.get(call_id))
                # A webhook that came meanwhile says more.
                call.end = call.end or recorded
            return False
        except AuthenticationError:
            # Later queries would fail as well.
            raise
        except PlivoError as error:
            log.warning("cannot ask about a call", call=call_id, error=str(error))
            return None
        return True

    async def _give_up(self, call: _Dialled) -> None:
        """Stop a call that is no longer wanted, and let it have no stream."""
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
        return "this server has reached its limit of calls"


class _Pace:
    """Turns at equal intervals, given to waiting tasks in their order."""

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
        """Give no turn for `seconds`."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)


async def _finish(task: asyncio.Task[None]) -> None:
    """Wait for a task that has its own time limit, delaying cancellation until it is done."""
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
