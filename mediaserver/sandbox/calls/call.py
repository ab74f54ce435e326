"""One call, from the number being dialled to the hangup URL.

queued → ringing → in-progress → completed
└──→ busy, no-answer, cancel, failed
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

import structlog

from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.calls.callbacks import call_params, hangup_params
from mediaserver.sandbox.calls.documents import Document, DocumentRunner
from mediaserver.sandbox.calls.hangup import (
    BUSY,
    CANCELED,
    INTERNAL_ERROR,
    MACHINE,
    NO_ANSWER,
    NORMAL,
    OUT_OF_SERVICE,
    REJECTED,
    RING_TIMEOUT,
    SCHEDULED,
    Hangup,
    HangupCause,
    HangupSource,
)
from mediaserver.sandbox.calls.recordings import CallRecording
from mediaserver.sandbox.calls.streams import CallStreams
from mediaserver.sandbox.errors import NotInProgressError, TransferLimitError
from mediaserver.sandbox.people.dialplan import Fate
from mediaserver.sandbox.people.person import Person
from mediaserver.sandbox.records.records import CallRecord
from mediaserver.sandbox.webhooks import Target


if TYPE_CHECKING:
    from audiocodecs import Samples
    from mediaserver.sandbox.calls.exchange import Exchange

log = structlog.get_logger(__name__)

MAX_TRANSFERS: Final = 70
"""Times that Plivo lets one call be transferred."""

_CARRIER_GIVES_UP = 60.0
_MACHINE_HEARD_AFTER = 2.0


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What whoever placed a call, or set up the number that was dialled, asked for.

    Attributes:
        answer: Where its document is. None for the leg that `<Dial>` adds.
        fallback: Where another is, if that fails.
        ring: Who is told that it rings.
        hangup: Who is told that it ended; without it, the answer URL is.
        ring_timeout: Seconds it may ring.
        time_limit: Seconds it may last once answered.
        hangup_on_ring: Seconds after the first ring at which it is ended.
        send_digits: Keys pressed toward the person once answered.
        machine_detection: Whether, and that a machine's call is ended.
        machine_detection_time: Seconds that it may take.
        machine_detection_callback: Who is told. Without it the call waits, and the answer URL is.
        headers: `X-PH-…` parameters of every callback.

    """

    answer: Target | None
    fallback: Target | None = None
    ring: Target | None = None
    hangup: Target | None = None
    ring_timeout: float = 120.0
    time_limit: float = 14_400.0
    hangup_on_ring: float | None = None
    send_digits: str = ""
    machine_detection: Literal["true", "hangup"] | None = None
    machine_detection_time: float = 5.0
    machine_detection_callback: Target | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class SandboxCall:
    """A call that has not ended yet. `Exchange` makes them.

    Attributes:
        record: What is remembered of it.
        plan: What was asked for.
        person: Who is on the phone.
        wait: Seconds that it waits in the queue.
        line: Its audio, once somebody answered.
        streams: Its audio streams.
        recordings: What was recorded by the API.
        b_leg: The leg that `<Dial>` has connected it with.
        answered: Set once somebody answered.
        rang: Whether it has rung.
        left: Set once it is not what it was dialled for any more: transferred, or over.

    """

    def __init__(
        self,
        exchange: Exchange,
        record: CallRecord,
        plan: CallPlan,
        person: Person,
        fate: Fate | None = None,
        wait: float = 0.0,
    ) -> None:
        self.exchange = exchange
        self.record = record
        self.plan = plan
        self.person = person
        self.wait = wait
        self.line: Line | None = None
        self.streams = CallStreams(self)
        self.recordings: list[CallRecording] = []
        self.b_leg: SandboxCall | None = None
        self.answered = asyncio.Event()
        self.left = asyncio.Event()
        self.rang = False
        self._fate = fate or (None if person.answer == "answer" else person.answer)
        self._machine = fate == "machine" or person.machine
        self._over: asyncio.Future[Hangup] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._side_tasks: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._ringing: asyncio.TimerHandle | None = None
        self._last_note: asyncio.Task[None] | None = None
        self._transfers = 0
        self._transfer: Document | None = None
        self._script: asyncio.Task[Document | Hangup] | None = None
        self._playing: asyncio.Task[None] | None = None
        self._runner = DocumentRunner(self)

    @property
    def uuid(self) -> str:
        """Plivo's CallUUID."""
        return self.record.call_uuid

    @property
    def over(self) -> bool:
        """Whether the call has ended, or is about to."""
        return self._over.done()

    def begin(self) -> None:
        """Let the call take its course."""
        self._task = asyncio.create_task(self._run(), name=f"call {self.uuid}")

    async def wait_ended(self) -> Hangup:
        """Wait until everything about the call is done."""
        if self._task is not None:
            await asyncio.wait([self._task])
        return await asyncio.shield(self._over)

    def hang_up(self, cause: HangupCause, source: HangupSource) -> None:
        """End the call; the first to say so is the one that did."""
        if not self._over.done():
            self._over.set_result(Hangup(cause, source))
            self.left.set()

    def hang_up_by_api(self) -> None:
        """End the call as `DELETE /Call/{uuid}/` does."""
        cause = CANCELED if self.record.answered is None else NORMAL
        self.hang_up(cause, HangupSource.API_REQUEST)

    def hang_up_after(
        self, seconds: float, cause: HangupCause, source: HangupSource
    ) -> asyncio.TimerHandle:
        """End the call later, unless what is returned is cancelled."""
        timer = asyncio.get_running_loop().call_later(seconds, self.hang_up, cause, source)
        self._timers.append(timer)
        return timer

    def transfer(self, target: Target) -> None:
        """Run another document instead of the one that is running.

        A stream that keeps the call alive is not broken off: the document runs when the stream's
        server closes it, as on Plivo.

        Raises:
            NotInProgressError: The call is over, or was not answered yet.
            TransferLimitError: It was transferred as often as may be.

        """
        if self.over or self.line is None:
            raise NotInProgressError(f"call {self.uuid} is not in progress")
        if self._transfers >= MAX_TRANSFERS:
            raise TransferLimitError(f"a call can be transferred {MAX_TRANSFERS} times")
        self._transfers += 1
        self._transfer = Document(target.url, target.method, "transfer")
        self.left.set()
        if self._script is not None and not self._runner.held_by_stream:
            self._script.cancel()

    @property
    def transferred(self) -> bool:
        """Whether it was transferred at least once."""
        return self._transfers > 0

    @property
    def transfer_waits(self) -> bool:
        """Whether another document is to run as soon as the running one lets go."""
        return self._transfer is not None

    def params(self, event: str, **more: str) -> dict[str, str]:
        """Return what every callback of this call says, and `more`."""
        auth_id = self.exchange.account.auth_id
        return call_params(self.record, auth_id, event) | more

    def notify(self, target: Target | None, params: Mapping[str, str]) -> None:
        """Send a callback after the ones before it."""
        if target is not None:
            self._last_note = self.exchange.webhooks.notify(
                target.url, target.method, params, after=self._last_note
            )

    async def pick_up(self) -> Line:
        """Answer an inbound call, if that has not happened: what most elements do first."""
        if self.line is None:
            await self._answered()
        assert self.line is not None
        return self.line

    def press(self, keys: str) -> None:
        """Press keys toward the person: `w` waits 0.5 s, `W` 1 s, and what follows `@` is ignored.

        Raises:
            NotInProgressError: Nobody is on the line.

        """
        if self.over or self.line is None:
            raise NotInProgressError(f"call {self.uuid} is not in progress")
        self.aside(asyncio.create_task(_press(self.line, keys.partition("@")[0])))

    def play_urls(self, urls: Sequence[str], *, loop: bool = False) -> None:
        """Play files one after the other, as `POST …/Play/` does, until `stop_playing`."""
        self.stop_playing()
        self._playing = asyncio.create_task(self._runner.play_urls(urls, loop=loop))
        self.aside(self._playing)

    def stop_playing(self) -> None:
        """Play and say no more to the call."""
        if self._playing is not None:
            self._playing.cancel()
        if self.line is not None:
            self.line.stop_playing()

    def aside(self, task: asyncio.Task[None]) -> None:
        """Have a task cancelled when the call ends."""
        self._side_tasks.add(task)
        task.add_done_callback(self._side_tasks.discard)

    # LineListener

    def on_frame(self, tick: int, inbound: Samples, outbound: Samples) -> None:
        """Do nothing: streams and recordings listen for themselves."""

    def on_digit(self, digit: str) -> None:
        """Do nothing: whoever collects digits listens for itself."""

    def on_end(self, ended_by: str) -> None:
        """End the call when the person does."""
        outbound = self.record.direction == "outbound"
        self.hang_up(NORMAL, HangupSource.CALLEE if outbound else HangupSource.CALLER)

    # How it goes.

    async def _run(self) -> None:
        course = asyncio.create_task(self._course())
        try:
            await asyncio.wait([course, self._over], return_when=asyncio.FIRST_COMPLETED)
            if not self._over.done():
                hangup = course.result()
                self.hang_up(hangup.cause, hangup.source)
        except Exception:
            log.exception("call failed", call_uuid=self.uuid)
            self.hang_up(INTERNAL_ERROR, HangupSource.ERROR)
        finally:
            self.hang_up(INTERNAL_ERROR, HangupSource.ERROR)
            for timer in self._timers:
                timer.cancel()
            tasks = [course, *self._side_tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._finish(self._over.result())

    async def _course(self) -> Hangup:
        if self.record.direction == "inbound":
            self._ringing = self.hang_up_after(
                self.plan.ring_timeout, RING_TIMEOUT, HangupSource.PLIVO
            )
            await self._become("ringing")
        else:
            await asyncio.sleep(self.wait)
            refusal = await self._ring()
            if refusal is not None:
                return refusal
            await self._answered()
            if self.plan.machine_detection is not None:
                await self._detect_machine()
        return await self._follow()

    async def _ring(self) -> Hangup | None:
        """Let it ring, and return how it ended unless somebody answers."""
        fate, ring_for = self._fate, self.person.ring
        if fate == "out of service":
            return Hangup(OUT_OF_SERVICE, HangupSource.CARRIER)
        if fate == "busy":
            return Hangup(BUSY, HangupSource.CARRIER)
        self.rang = True
        await self._become("ringing")
        self.notify(self.plan.ring, self.params("Ring"))
        if self.plan.hangup_on_ring is not None:
            self.hang_up_after(self.plan.hangup_on_ring, SCHEDULED, HangupSource.PLIVO)
        if fate == "no answer":
            ring_for = _CARRIER_GIVES_UP
        if ring_for > self.plan.ring_timeout:
            await asyncio.sleep(self.plan.ring_timeout)
            return Hangup(RING_TIMEOUT, HangupSource.PLIVO)
        await asyncio.sleep(ring_for)
        if fate == "no answer":
            return Hangup(NO_ANSWER, HangupSource.CARRIER)
        if fate == "reject":
            return Hangup(REJECTED, HangupSource.CARRIER)
        return None

    async def _answered(self) -> None:
        if self._ringing is not None:
            self._ringing.cancel()
        now = self.exchange.now()
        self.line = line = Line(epoch=now)
        line.listen(self)
        self.record.answered = now
        await self._become("in-progress")
        line.start()
        self.aside(asyncio.create_task(self._talk(line), name=f"person of {self.uuid}"))
        self.hang_up_after(self.plan.time_limit, SCHEDULED, HangupSource.PLIVO)
        if self.plan.send_digits:
            self.press(self.plan.send_digits)
        self.answered.set()

    async def _talk(self, line: Line) -> None:
        try:
            await self.person.talk(line.handset)
        except Exception as error:
            # The person is gone without a word; the line stays, silent, as a dropped phone's would.
            log.exception("person failed", call_uuid=self.uuid, error=str(error))

    async def _detect_machine(self) -> None:
        if self.plan.machine_detection_callback is not None:
            self.aside(
                asyncio.create_task(self._tell_machine(self.plan.machine_detection_callback))
            )
            return
        await asyncio.sleep(min(_MACHINE_HEARD_AFTER, self.plan.machine_detection_time))
        self._heard_machine()

    async def _tell_machine(self, target: Target) -> None:
        await asyncio.sleep(min(_MACHINE_HEARD_AFTER, self.plan.machine_detection_time))
        self.notify(target, self.params("MachineDetection", Machine=self.machine))
        self._heard_machine()

    def _heard_machine(self) -> None:
        if self._machine and self.plan.machine_detection == "hangup":
            self.hang_up(MACHINE, HangupSource.PLIVO)

    @property
    def machine(self) -> str:
        """What `Machine` of a callback says."""
        return "true" if self._machine else "false"

    async def _follow(self) -> Hangup:
        """Run documents until one of them, or the last one's end, ends the call."""
        document: Document | None = None
        if self.plan.answer is not None:
            document = Document(*self.plan.answer, "answer", self.plan.fallback)
            if self.plan.machine_detection and self.plan.machine_detection_callback is None:
                document = replace(document, params={"Machine": self.machine})
        while True:
            self._script = asyncio.create_task(self._runner.run(document))
            try:
                outcome = await self._script
            except asyncio.CancelledError:
                # Was it the script alone that was cancelled, by a transfer, or the whole call?
                task = asyncio.current_task()
                if self._transfer is None or (task is not None and task.cancelling()):
                    self._script.cancel()
                    await asyncio.gather(self._script, return_exceptions=True)
                    raise
                outcome = None
            if self._transfer is not None:
                outcome, self._transfer = self._transfer, None
                self.stop_playing()
            if isinstance(outcome, Hangup):
                return outcome
            assert outcome is not None
            document = outcome

    async def _become(self, status: str) -> None:
        self.record.status = status
        await self.exchange.keep(self.record)

    async def _finish(self, hangup: Hangup) -> None:
        await self.streams.stop_all("Call hangup")
        if self.line is not None:
            self.line.hang_up("platform")
        await self._runner.finish()
        await asyncio.gather(*(each.stop() for each in self.recordings))
        self.exchange.close(self.record, hangup)
        await self.exchange.keep(self.record)
        self.exchange.forget(self)
        if self.plan.answer is not None:
            self.notify(
                self.plan.hangup or self.plan.answer,
                hangup_params(self.record, self.exchange.account.auth_id),
            )
        log.info(
            "call ended",
            call_uuid=self.uuid,
            cause=hangup.cause.name,
            code=hangup.cause.code,
            source=hangup.source.value,
        )


async def _press(line: Line, keys: str) -> None:
    for key in keys:
        if key in "wW":
            await asyncio.sleep(1.0 if key == "W" else 0.5)
        else:
            line.send_digits(key.upper())
