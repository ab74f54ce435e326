"""The telephone exchange: places the calls of the account, and knows those that are live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from mediaserver.plivo.numbers import phone_key
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.course import Course
from mediaserver.sandbox.calls.hangup import NORMAL, HangupSource
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.calls.recovery import close_what_was_live
from mediaserver.sandbox.calls.services import Services
from mediaserver.sandbox.errors import CallLimitError, UnknownNumberError
from mediaserver.sandbox.people.dialplan import Dialplan
from mediaserver.sandbox.people.person import Person
from mediaserver.sandbox.records.records import CallRecord, HeartbeatRecord
from mediaserver.sandbox.webhooks import Target


DEFAULT_CALLER: Final = "+14155550199"
"""Number of the phone that dials in, unless another is given."""

HEARTBEAT: Final = 2.0
"""Seconds between two heartbeats; after a kill, up to this much of each call is not billed."""


class Exchange:
    """Places the calls of the account.

    Args:
        services: What the calls share. The caller closes store and webhooks, after `aclose`.
        dialplan: Finds the person at a number.

    Attributes:
        calls: Calls that have not ended, by CallUUID.
        records: The records of all calls, live and ended, and of everything else.
        on_call_ended: Called with each call that has ended.

    """

    def __init__(self, services: Services, dialplan: Dialplan) -> None:
        self.services = services
        self.dialplan = dialplan
        self.records = services.records
        self.calls: dict[str, SandboxCall] = {}
        self.on_call_ended: Callable[[SandboxCall], object] | None = None
        self._next_turn = 0.0
        self._heartbeat: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the store, and close calls that were live when the last process ended.

        Their streams are ended, and their status callback and hangup URLs are notified.
        """
        await self.records.load()
        await close_what_was_live(self.services)

    async def aclose(self) -> None:
        """Hang up every call, and wait until all of them have ended."""
        calls = list(self.calls.values())
        for call in calls:
            call.hang_up(NORMAL, HangupSource.PLIVO)
        await asyncio.gather(*(call.wait_ended() for call in calls))
        await self.services.aclose()

    async def call(
        self, to: str, *, caller: str, plan: CallPlan, caller_name: str = "", api_id: str = ""
    ) -> SandboxCall:
        """Place an outbound call, as `POST /Call/` does.

        Raises:
            CallLimitError: The account is at its limit of concurrent calls.

        """
        self._require_room()
        return await self._place(
            "outbound", caller, to, plan, caller_name=caller_name, api_id=api_id
        )

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
            person: The person on it; by default the one at the number `caller`.
            plan: What answers.
            caller_name: Name that the carrier shows.

        Raises:
            UnknownNumberError: No application answers for the number, and `plan` was left out.
            CallLimitError: The account is at its limit of concurrent calls.

        """
        self._require_room()
        plan = plan or self._plan_for(to)
        return await self._place(
            "inbound", caller, to, plan, person=person, caller_name=caller_name
        )

    async def add_leg(
        self, parent: SandboxCall, to: str, *, caller: str, plan: CallPlan, caller_name: str
    ) -> SandboxCall:
        """Place the call that `<Dial>` adds to another one."""
        return await self._place(
            "outbound", caller, to, plan, caller_name=caller_name, parent=parent.uuid
        )

    def _require_room(self) -> None:
        most = self.services.options.concurrency
        if most is not None and len(self.calls) >= most:
            raise CallLimitError(f"the account's limit of {most} concurrent calls is reached")

    def _plan_for(self, number: str) -> CallPlan:
        record = self.records.numbers.get(phone_key(number) or number)
        application = self.records.applications.get(record.app_id or "") if record else None
        if application is None or not application.answer_url:
            raise UnknownNumberError(
                f"no application with an answer URL is set for {number}:"
                " point the number at one, as `mediaserver setup-number` does"
            )
        return CallPlan(
            Target(application.answer_url, application.answer_method),
            fallback=Target.optional(application.fallback_answer_url, application.fallback_method),
            hangup=Target.optional(application.hangup_url, application.hangup_method),
        )

    async def _place(
        self,
        direction: str,
        caller: str,
        to: str,
        plan: CallPlan,
        *,
        person: Person | None = None,
        caller_name: str = "",
        api_id: str = "",
        parent: str | None = None,
    ) -> SandboxCall:
        services, outbound, uuid = self.services, direction == "outbound", str(uuid4())
        record = CallRecord(
            call_uuid=uuid,
            request_uuid=uuid,
            direction=direction,
            from_number=caller,
            to_number=to,
            initiated=services.now(),
            rate=services.rates.call(direction).rate,
            caller_name=caller_name,
            api_id=api_id,
            parent_call_uuid=parent,
            headers=dict(plan.headers),
        )
        hangup = plan.hangup or plan.answer
        if hangup is not None:
            record.hangup_url, record.hangup_method = hangup
        person = person or self.dialplan.person(to if outbound else caller)
        fate = self.dialplan.fate(to) if outbound else None
        call = SandboxCall(services, record, plan, person, self._turn() if outbound else 0.0)
        self.calls[uuid] = call
        try:
            await self.records.remember(record)
        except BaseException:
            del self.calls[uuid], self.records.calls[uuid]
            raise
        call.begin(Course(call, fate, place_leg=self.add_leg, on_end=self._ended).run())
        if self._heartbeat is None or self._heartbeat.done():
            self._heartbeat = services.start_task(self._beat(), "heartbeat")
        call.diary.tell("call_placed", f"{record.direction}, {record.from_number} to {to}")
        return call

    def _turn(self) -> float:
        """Return how many seconds one more outbound call has to wait in the queue."""
        now = asyncio.get_running_loop().time()
        turn = max(self._next_turn, now)
        self._next_turn = turn + 1 / self.services.options.calls_per_second
        return turn - now

    def _ended(self, call: SandboxCall) -> None:
        self.calls.pop(call.uuid, None)
        if self.on_call_ended is not None:
            self.on_call_ended(call)

    async def _beat(self) -> None:
        """While calls are live, save a heartbeat every few seconds."""
        while self.calls:
            await self.records.keep(HeartbeatRecord(time=self.services.now()))
            await asyncio.sleep(HEARTBEAT)
