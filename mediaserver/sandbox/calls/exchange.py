"""The telephone exchange: all calls of the sandbox, how they are placed, and what is remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias
from uuid import uuid4

import structlog

from audiocodecs import Wav
from mediaserver.plivo.callbacks import Scheme
from mediaserver.plivo.numbers import digits
from mediaserver.sandbox.account import Account
from mediaserver.sandbox.calls.call import CallPlan, SandboxCall
from mediaserver.sandbox.calls.hangup import NORMAL, Hangup, HangupSource
from mediaserver.sandbox.calls.recovery import close_what_was_live
from mediaserver.sandbox.errors import CallLimitError, UnknownNumberError
from mediaserver.sandbox.people.dialplan import Dialplan
from mediaserver.sandbox.people.person import Person
from mediaserver.sandbox.records.billing import Rates
from mediaserver.sandbox.records.records import (
    ApplicationRecord,
    CallRecord,
    HeartbeatRecord,
    NumberRecord,
    Record,
    StreamRecord,
)
from mediaserver.sandbox.records.store import Store
from mediaserver.sandbox.webhooks import Target, WebhookClient


log = structlog.get_logger(__name__)

Speak = Callable[[str, str], Awaitable[Wav]]
"""Says a text in a language, such as `en-US`."""


ExtraHeadersStyle: TypeAlias = Literal["live", "documented", "json"]

DEFAULT_CALLER: Final = "+14155550199"
"""Whose phone it is when nothing is said."""

HEARTBEAT: Final = 2.0
"""Seconds between two notes that the process runs; a kill bills up to so many too few."""


@dataclass(frozen=True, slots=True)
class ExchangeOptions:
    """How the exchange behaves where Plivo's pages leave a choice, or accounts differ.

    Attributes:
        callback_scheme: How status callbacks are written: "A" as live ones were seen, "B" as the
            guide has them.
        extra_headers_style: How `extra_headers` arrive on the socket: "live", "documented" or
            "json".
        calls_per_second: Outbound calls that begin in a second; more wait in the queue.
        concurrency: Calls that the account may have at once; no limit if None.
        recordings: Directory of recordings.
        files: Directory whose files a request may have a person play, or follow; none if None.

    """

    callback_scheme: Scheme = "A"
    extra_headers_style: ExtraHeadersStyle = "live"
    calls_per_second: float = 2.0
    concurrency: int | None = None
    recordings: Path = Path("recordings")
    files: Path | None = None

    def __post_init__(self) -> None:
        if not self.calls_per_second > 0:
            raise ValueError(f"calls per second must be more than 0, not {self.calls_per_second:g}")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError(f"concurrency must be 1 or more, not {self.concurrency}")


class Exchange:
    """All calls of the account.

    Args:
        account: Whose calls they are.
        store: Where they are remembered. It is the caller's to close, after `aclose`.
        webhooks: What sends the callbacks; the caller's too.
        dialplan: Who is at which number.
        fetch_audio: Fetches the files of `<Play>`; raises `WebhookError`.
        speak: Says what `<Speak>` is to.
        rates: What everything costs.
        options: How it behaves.
        clock: Unix time. By default that of now, which then goes on with the event loop's clock: it
            never goes back, and runs in virtual time too.

    Attributes:
        calls: Calls that have not ended, by CallUUID.
        past: Calls that have, and those that have not, in the order they were placed.
        streams: All streams, likewise.
        applications: By app id.
        numbers: By digits.
        public_url: Where the sandbox itself is reached: recordings are there.
        tasks: What runs in the background, and is cancelled at the end.
        now: Returns Unix time.

    """

    def __init__(
        self,
        account: Account,
        store: Store,
        webhooks: WebhookClient,
        *,
        dialplan: Dialplan,
        fetch_audio: Callable[[str], Awaitable[bytes]],
        speak: Speak,
        rates: Rates | None = None,
        options: ExchangeOptions | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.account = account
        self.store = store
        self.webhooks = webhooks
        self.dialplan = dialplan
        self.fetch_audio = fetch_audio
        self.speak = speak
        self.rates = rates or Rates()
        self.options = options or ExchangeOptions()
        self.public_url = "http://127.0.0.1"
        self.calls: dict[str, SandboxCall] = {}
        self.past: dict[str, CallRecord] = {}
        self.streams: dict[str, StreamRecord] = {}
        self.applications: dict[str, ApplicationRecord] = {}
        self.numbers: dict[str, NumberRecord] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        epoch = time.time() - self._loop.time()
        self.now = clock or (lambda: epoch + self._loop.time())
        self._next_turn = 0.0
        self._heartbeat: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read what is remembered, and close calls that were live when the last process ended.

        Their streams are ended; status callback and hangup URLs are told.
        """
        calls = await self.store.all(CallRecord)
        self.past = {each.call_uuid: each for each in sorted(calls, key=_initiated)}
        streams = await self.store.all(StreamRecord)
        self.streams = {each.stream_id: each for each in sorted(streams, key=_created)}
        self.applications = {each.app_id: each for each in await self.store.all(ApplicationRecord)}
        self.numbers = {each.number: each for each in await self.store.all(NumberRecord)}
        beats = await self.store.all(HeartbeatRecord)
        await close_what_was_live(self, max((each.time for each in beats), default=None))

    async def aclose(self) -> None:
        """Hang up every call, and wait until all of them are done."""
        calls = list(self.calls.values())
        for call in calls:
            call.hang_up(NORMAL, HangupSource.PLIVO)
        await asyncio.gather(*(call.wait_ended() for call in calls))
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    # Placing calls.

    async def call(
        self, to: str, *, caller: str, plan: CallPlan, caller_name: str = "", api_id: str = ""
    ) -> SandboxCall:
        """Place an outbound call, as `POST /Call/` does.

        Raises:
            CallLimitError: There are as many calls as may be.

        """
        self._require_room()
        uuid = str(uuid4())
        record = CallRecord(
            call_uuid=uuid,
            request_uuid=uuid,
            direction="outbound",
            from_number=caller,
            to_number=to,
            initiated=self.now(),
            rate=self.rates.outbound.rate,
            caller_name=caller_name,
            api_id=api_id,
        )
        return await self._begin(record, plan, self.dialplan.person(to), to)

    async def dial_in(
        self,
        to: str,
        *,
        caller: str = DEFAULT_CALLER,
        person: Person | None = None,
        plan: CallPlan | None = None,
        caller_name: str = "",
    ) -> SandboxCall:
        """Dial a number of the account from a phone.

        Args:
            to: The number; its application says what answers, unless `plan` does.
            caller: Number of the phone.
            person: Who is on it; whoever is at the number `caller` if left out.
            plan: What answers.
            caller_name: Name that the carrier shows.

        Raises:
            UnknownNumberError: No application answers for the number, and there is no plan.
            CallLimitError: There are as many calls as may be.

        """
        self._require_room()
        plan = plan or self._plan_for(to)
        uuid = str(uuid4())
        record = CallRecord(
            call_uuid=uuid,
            request_uuid=uuid,
            direction="inbound",
            from_number=caller,
            to_number=to,
            initiated=self.now(),
            rate=self.rates.inbound.rate,
            caller_name=caller_name,
        )
        return await self._begin(record, plan, person or self.dialplan.person(caller), None)

    async def add_leg(
        self,
        parent: SandboxCall,
        to: str,
        *,
        caller: str,
        caller_name: str,
        ring_timeout: float,
        send_digits: str,
    ) -> SandboxCall:
        """Place the call that `<Dial>` adds to another one."""
        uuid = str(uuid4())
        record = CallRecord(
            call_uuid=uuid,
            request_uuid=uuid,
            direction="outbound",
            from_number=caller,
            to_number=to,
            initiated=self.now(),
            rate=self.rates.outbound.rate,
            caller_name=caller_name,
            parent_call_uuid=parent.uuid,
        )
        plan = CallPlan(None, ring_timeout=ring_timeout, send_digits=send_digits)
        return await self._begin(record, plan, self.dialplan.person(to), to)

    def _require_room(self) -> None:
        most = self.options.concurrency
        if most is not None and len(self.calls) >= most:
            raise CallLimitError(f"the account's limit of {most} concurrent calls is reached")

    def _plan_for(self, number: str) -> CallPlan:
        record = self.numbers.get(digits(number) or number)
        application = self.applications.get(record.app_id or "") if record else None
        if application is None or not application.answer_url:
            raise UnknownNumberError(
                f"no application with an answer URL is set for {number}:"
                " point the number at one, as `mediaserver setup-number` does"
            )
        return CallPlan(
            Target(application.answer_url, application.answer_method),
            fallback=_target(application.fallback_answer_url, application.fallback_method),
            hangup=_target(application.hangup_url, application.hangup_method),
        )

    async def _begin(
        self, record: CallRecord, plan: CallPlan, person: Person, dialled: str | None
    ) -> SandboxCall:
        hangup = plan.hangup or plan.answer
        if hangup is not None:
            record.hangup_url, record.hangup_method = hangup
        fate = None if dialled is None else self.dialplan.fate(dialled)
        wait = self._turn() if record.direction == "outbound" else 0.0
        record.headers = dict(plan.headers)
        call = SandboxCall(self, record, plan, person, fate, wait)
        self.calls[call.uuid] = call
        try:
            await self.remember(record)
        except BaseException:
            del self.calls[call.uuid], self.past[call.uuid]
            raise
        call.begin()
        self._beat()
        log.info(
            "call placed",
            call_uuid=call.uuid,
            direction=record.direction,
            caller=record.from_number,
            called=record.to_number,
        )
        return call

    def _turn(self) -> float:
        """Return how many seconds one more outbound call has to wait in the queue."""
        now = self._loop.time()
        turn = max(self._next_turn, now)
        self._next_turn = turn + 1 / self.options.calls_per_second
        return turn - now

    # Remembering.

    async def remember(self, record: Record) -> None:
        """Add a record to what is known, and save it."""
        if isinstance(record, CallRecord):
            self.past[record.call_uuid] = record
        elif isinstance(record, StreamRecord):
            self.streams[record.stream_id] = record
        elif isinstance(record, ApplicationRecord):
            self.applications[record.app_id] = record
        elif isinstance(record, NumberRecord):
            self.numbers[record.number] = record
        await self.store.save(record)

    async def keep(self, record: Record) -> None:
        """Save a record that goes on without it if it has to: the log says what was lost."""
        try:
            await self.store.save(record)
        except Exception:
            log.exception("record not saved", kind=type(record).__name__)

    def _beat(self) -> None:
        """Have it known that the process runs, as long as there are calls."""
        if self._heartbeat is None or self._heartbeat.done():
            self._heartbeat = asyncio.create_task(self._beat_while_busy(), name="heartbeat")
            self.tasks.add(self._heartbeat)
            self._heartbeat.add_done_callback(self.tasks.discard)

    async def _beat_while_busy(self) -> None:
        while self.calls:
            await self.keep(HeartbeatRecord(time=self.now()))
            await asyncio.sleep(HEARTBEAT)

    async def remove_application(self, record: ApplicationRecord) -> None:
        """Forget an application."""
        self.applications.pop(record.app_id, None)
        await self.store.delete(record)

    def close(self, record: CallRecord, hangup: Hangup, *, at: float | None = None) -> None:
        """Write down how a call ended, when (now if left out), and what it costs."""
        record.ended = self.now() if at is None else at
        cause, unanswered = hangup.cause, record.answered is None
        if unanswered and record.direction == "outbound":
            record.status = cause.unanswered
        else:
            record.status = "completed"
        record.hangup_cause = cause.telephony
        record.hangup_cause_code = cause.code
        record.hangup_cause_name = cause.name
        record.hangup_source = hangup.source.value
        if record.answered is not None:
            bill = self.rates.call(record.direction).bill(record.ended - record.answered)
            record.bill_duration = bill.duration
            record.billed_duration = bill.rounded
            record.total_amount = bill.amount

    def bill_stream(self, record: StreamRecord) -> None:
        """Write down what a stream that has ended costs."""
        if record.started is not None and record.ended is not None:
            bill = self.rates.stream.bill(record.ended - record.started)
            record.bill_duration = bill.duration
            record.rounded_bill_duration = bill.rounded
            record.billed_amount = bill.amount

    def forget(self, call: SandboxCall) -> None:
        """Take a call off the list of the live ones."""
        self.calls.pop(call.uuid, None)

    # Recordings.

    def recording_path(self, recording_id: str) -> Path:
        """Return where the file of a recording is."""
        return self.options.recordings / f"{recording_id}.wav"

    def recording_url(self, recording_id: str) -> str:
        """Return where a recording can be had."""
        return f"{self.public_url}/recordings/{recording_id}.wav"


def _initiated(call: CallRecord) -> float:
    return call.initiated


def _created(stream: StreamRecord) -> float:
    return stream.created


def _target(url: str, method: str) -> Target | None:
    return Target(url, method) if url else None
