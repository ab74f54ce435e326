"""Takes one call through its life, from the queue to the hangup callback.

queued → ringing → in-progress → completed
└──→ busy, no-answer, cancel, failed
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.callbacks import hangup_params
from mediaserver.sandbox.calls.documents import DocumentRunner
from mediaserver.sandbox.calls.hangup import (
    BUSY,
    INTERNAL_ERROR,
    MACHINE,
    NO_ANSWER,
    OUT_OF_SERVICE,
    REJECTED,
    RING_TIMEOUT,
    SCHEDULED,
    Hangup,
    HangupSource,
)
from mediaserver.sandbox.calls.legs import PlaceLeg
from mediaserver.sandbox.calls.plan import Document
from mediaserver.sandbox.people.dialplan import Fate
from mediaserver.sandbox.people.person import DecidePickup, Pickup, RingingCall
from mediaserver.sandbox.webhooks import Target


log = structlog.get_logger(__name__)

_CARRIER_GIVES_UP = 60.0
_MACHINE_HEARD_AFTER = 2.0

_UNANSWERED: Mapping[str, Hangup] = {
    "busy": Hangup(BUSY, HangupSource.CARRIER),
    "no answer": Hangup(NO_ANSWER, HangupSource.CARRIER),
    "reject": Hangup(REJECTED, HangupSource.CARRIER),
}


class Course:
    """Queues and rings a call, has it answered, runs its documents, and finishes it.

    Args:
        call: The call.
        fate: What the dialled number does instead of being answered by its person.
        place_leg: Places the calls that `<Dial>` adds.
        on_end: Called when the call is over and its record complete.

    """

    def __init__(
        self,
        call: SandboxCall,
        fate: Fate | None,
        *,
        place_leg: PlaceLeg,
        on_end: Callable[[SandboxCall], object],
    ) -> None:
        person = call.person
        self._call = call
        self._fate = fate or (None if person.answer == "answer" else person.answer)
        self._machine = fate == "machine" or person.machine
        self._runner = DocumentRunner(call, place_leg)
        self._on_end = on_end

    async def run(self) -> None:
        """Take the call through its life; returns when it has ended."""
        call = self._call
        try:
            call.aside(self._go())
            await call.wait_hung_up()
        finally:
            # If this task is cancelled, the call has not been hung up yet.
            call.hang_up(INTERNAL_ERROR, HangupSource.ERROR)
            await call.release()
            await self._finish(await call.wait_hung_up())

    async def _go(self) -> None:
        """Run the call, and hang up at its end."""
        try:
            hangup = await self._live()
            self._call.hang_up(hangup.cause, hangup.source)
        except Exception:
            log.exception("call failed", call_uuid=self._call.uuid)
        finally:
            self._call.hang_up(INTERNAL_ERROR, HangupSource.ERROR)

    async def _live(self) -> Hangup:
        call = self._call
        if call.record.direction == "inbound":
            call.aside(self._ring_out())
            call.diary.tell("call_rings")
            await call.become("ringing")
            return await self._follow()
        await asyncio.sleep(call.wait)
        refusal = await self._ring()
        if refusal is not None:
            return refusal
        await call.answer()
        if call.plan.machine_detection is not None:
            await self._detect_machine()
        return await self._follow()

    async def _ring_out(self) -> None:
        """End an inbound call that no document answers in time."""
        await asyncio.sleep(self._call.plan.ring_timeout)
        if self._call.line is None:
            self._call.hang_up(RING_TIMEOUT, HangupSource.PLIVO)

    async def _ring(self) -> Hangup | None:
        """Let an outbound call ring, and return how it ended if it is not answered."""
        call, fate, ring_for = self._call, self._fate, self._call.person.ring
        if fate == "out of service":
            return Hangup(OUT_OF_SERVICE, HangupSource.CARRIER)
        if fate == "busy":
            return _UNANSWERED[fate]
        call.rang = True
        call.diary.tell("call_rings")
        await call.become("ringing")
        call.notify(call.plan.ring, call.params("Ring"))
        if call.plan.hangup_on_ring is not None:
            call.hang_up_after(call.plan.hangup_on_ring, SCHEDULED, HangupSource.PLIVO)
        if fate is None and call.person.pick_up is not None:
            decision = await self._picked_up(call.person.pick_up)
            if decision is None:
                return Hangup(RING_TIMEOUT, HangupSource.PLIVO)
            return _UNANSWERED.get(decision)
        if fate == "no answer":
            ring_for = _CARRIER_GIVES_UP
        if ring_for > call.plan.ring_timeout:
            await asyncio.sleep(call.plan.ring_timeout)
            return Hangup(RING_TIMEOUT, HangupSource.PLIVO)
        await asyncio.sleep(ring_for)
        return None if fate is None else _UNANSWERED.get(fate)

    async def _picked_up(self, pick_up: DecidePickup) -> Pickup | None:
        """Let the person decide, and return the decision; None if it took too long."""
        record = self._call.record
        ringing = RingingCall(
            record.call_uuid, record.from_number, record.to_number, record.caller_name
        )
        try:
            async with asyncio.timeout(self._call.plan.ring_timeout):
                return await pick_up(ringing)
        except TimeoutError:
            return None

    async def _detect_machine(self) -> None:
        """Detect a machine: beside the call if a callback waits for the result, else before it."""
        callback = self._call.plan.machine_detection_callback
        if callback is not None:
            self._call.aside(self._hear_machine(callback))
        else:
            await self._hear_machine(None)

    async def _hear_machine(self, callback: Target | None) -> None:
        call = self._call
        await asyncio.sleep(min(_MACHINE_HEARD_AFTER, call.plan.machine_detection_time))
        call.notify(callback, call.params("MachineDetection", Machine=self._heard))
        if self._machine and call.plan.machine_detection == "hangup":
            call.hang_up(MACHINE, HangupSource.PLIVO)

    @property
    def _heard(self) -> str:
        """`Machine` of a callback."""
        return "true" if self._machine else "false"

    async def _follow(self) -> Hangup:
        """Run documents until one of them ends the call, or the last has run."""
        plan = self._call.plan
        document: Document | None = None
        if plan.answer is not None:
            document = Document(*plan.answer, "answer", plan.fallback)
            if plan.machine_detection and plan.machine_detection_callback is None:
                document = replace(document, params={"Machine": self._heard})
        while True:
            outcome = await self._run_document(document)
            transfer = self._call.take_transfer()
            if transfer is not None:
                self._call.stop_playing()
                document = transfer
            elif isinstance(outcome, Hangup):
                return outcome
            else:
                document = outcome

    async def _run_document(self, document: Document | None) -> Document | Hangup | None:
        """Run a document; return what follows it, or None if a transfer cuts it off."""
        running = asyncio.create_task(self._runner.run(document))
        transfer = asyncio.create_task(self._call.transfer_due.wait())
        tasks = (running, transfer)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return running.result() if running.done() else None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish(self, hangup: Hangup) -> None:
        call, services = self._call, self._call.services
        services.close(call.record, hangup)
        await services.records.keep(call.record)
        if call.plan.answer is not None:
            params = hangup_params(call.record, services.account.auth_id)
            call.notify(call.plan.hangup or call.plan.answer, params)
        call.diary.tell(
            "call_ended", f"{hangup.cause.name} ({hangup.cause.code}), by {hangup.source.value}"
        )
        self._on_end(call)
