"""One call that has not ended: its line, its streams and recordings, and what can be done to it.

`mediaserver.sandbox.calls.course` takes it through its life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.calls.announcements import play_urls
from mediaserver.sandbox.calls.callbacks import call_params
from mediaserver.sandbox.calls.diary import CallDiary, SpeechWatch, without_query
from mediaserver.sandbox.calls.hangup import (
    CANCELED,
    NORMAL,
    SCHEDULED,
    Hangup,
    HangupCause,
    HangupSource,
)
from mediaserver.sandbox.calls.plan import CallPlan, Document
from mediaserver.sandbox.calls.recordings import CallRecording
from mediaserver.sandbox.calls.services import Services
from mediaserver.sandbox.calls.streams import CallStreams
from mediaserver.sandbox.errors import NotInProgressError, TransferLimitError
from mediaserver.sandbox.people.person import Person
from mediaserver.sandbox.records.records import CallRecord
from mediaserver.sandbox.webhooks import Target


if TYPE_CHECKING:
    from audiocodecs import Samples

log = structlog.get_logger(__name__)

MAX_TRANSFERS: Final = 70
"""Times that Plivo lets one call be transferred."""

T = TypeVar("T")


class SandboxCall:
    """A call that has not ended yet. `Exchange` makes them.

    Args:
        services: What the calls of the account share.
        record: The record of the call.
        plan: What was asked for.
        person: The person on the phone.
        wait: Seconds that the call waits in the queue.

    Attributes:
        line: Its audio, once it is answered.
        diary: What has happened in it.
        streams: Its audio streams.
        recordings: Its recordings, except that of the session.
        b_leg: The leg that `<Dial>` has connected it with.
        answered: Set once it is answered.
        rang: Whether it has rung.
        left: Set once it is over, or transferred away from the call that dialled it.
        held_by_stream: Whether its document waits for a stream with `keepCallAlive` to end.
        transfer_due: Set when a transfer's document is to replace the running one.

    """

    def __init__(
        self,
        services: Services,
        record: CallRecord,
        plan: CallPlan,
        person: Person,
        wait: float = 0.0,
    ) -> None:
        self.services = services
        self.record = record
        self.plan = plan
        self.person = person
        self.wait = wait
        self.line: Line | None = None
        self.diary = CallDiary(record.call_uuid, services.now)
        misbehaviour = person.misbehaviour or services.options.misbehaviour
        self.streams = CallStreams(services, record, misbehaviour, self.diary, person.network)
        self.recordings: list[CallRecording] = []
        self.b_leg: SandboxCall | None = None
        self.answered = asyncio.Event()
        self.rang = False
        self.left = asyncio.Event()
        self.held_by_stream = False
        self.transfer_due = asyncio.Event()
        self._over: asyncio.Future[Hangup] = asyncio.get_running_loop().create_future()
        self._course: asyncio.Task[None] | None = None
        self._side_tasks: set[asyncio.Task[Any]] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._last_note: asyncio.Task[None] | None = None
        self._watches: tuple[SpeechWatch, ...] = ()
        self._transfers = 0
        self._transfer: Document | None = None
        self._session_recording: CallRecording | None = None
        self._playing: asyncio.Task[None] | None = None

    @property
    def uuid(self) -> str:
        """Plivo's CallUUID."""
        return self.record.call_uuid

    @property
    def over(self) -> bool:
        """Whether the call has been hung up; its callbacks may still be on their way."""
        return self._over.done()

    def begin(self, course: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine that takes the call from the queue to its end."""
        self._course = asyncio.create_task(course, name=f"call {self.uuid}")

    async def wait_hung_up(self) -> Hangup:
        """Wait until the call is hung up."""
        return await asyncio.shield(self._over)

    async def wait_ended(self) -> Hangup:
        """Wait until the call has ended, and everything but the hangup callback is done."""
        if self._course is not None:
            await asyncio.wait([self._course])
        return await self.wait_hung_up()

    def hang_up(self, cause: HangupCause, source: HangupSource) -> None:
        """End the call. Only the first cause and source count."""
        if not self._over.done():
            self._over.set_result(Hangup(cause, source))
            self.left.set()

    def hang_up_by_api(self) -> None:
        """End the call as `DELETE /Call/{uuid}/` does."""
        cause = CANCELED if self.record.answered is None else NORMAL
        self.hang_up(cause, HangupSource.API_REQUEST)

    def hang_up_after(self, seconds: float, cause: HangupCause, source: HangupSource) -> None:
        """End the call later, if it has not ended by then."""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(seconds, self.hang_up, cause, source))

    def transfer(self, target: Target) -> None:
        """Run another document instead of the running one.

        A stream that keeps the call alive is not cut off: as on Plivo, the document runs when the
        stream ends, unless the options say that a transfer ends it.

        Raises:
            NotInProgressError: The call is over, or was not answered yet.
            TransferLimitError: It was transferred too often.

        """
        self._require_line()
        if self._transfers >= MAX_TRANSFERS:
            raise TransferLimitError(f"a call can be transferred {MAX_TRANSFERS} times")
        self._transfers += 1
        self._transfer = Document(target.url, target.method, "transfer")
        self.left.set()
        if not self.held_by_stream:
            self.diary.tell("transfer", f"to {without_query(target.url)}")
            self.transfer_due.set()
        elif self.services.options.transfers == "at-once":
            self.diary.tell("transfer", f"to {without_query(target.url)}; it ends the stream")
            self.aside(self.streams.stop_all("API request"))
        else:
            self.diary.tell(
                "transfer_waits",
                f"{without_query(target.url)} is requested when the stream with keepCallAlive ends;"
                " stop the stream to transfer at once",
            )

    @property
    def transferred(self) -> bool:
        """Whether it was transferred at least once."""
        return self._transfers > 0

    @property
    def transfer_waits(self) -> bool:
        """Whether another document is to run as soon as the running one has ended."""
        return self._transfer is not None

    def take_transfer(self) -> Document | None:
        """Return and clear the document of a waiting transfer."""
        document, self._transfer = self._transfer, None
        self.transfer_due.clear()
        return document

    def params(self, event: str, **more: str) -> dict[str, str]:
        """Return the parameters that every callback of this call has, and `more`."""
        return call_params(self.record, self.services.account.auth_id, event) | more

    def notify(self, target: Target | None, params: Mapping[str, str]) -> None:
        """Send a callback after the ones before it."""
        if target is not None:
            self.diary.tell("callback", f"{params.get('Event', '')}, {without_query(target.url)}")
            self._last_note = self.services.webhooks.notify(
                target.url, target.method, params, after=self._last_note
            )

    async def become(self, status: str) -> None:
        """Note and save a new status."""
        self.record.status = status
        await self.services.records.keep(self.record)

    async def answer(self) -> None:
        """Connect the person: the line starts, and the script of the person runs."""
        self.record.answered = now = self.services.now()
        self.line = line = Line(epoch=now)
        self.diary.tell("call_answered")
        form = line.handset.format
        self._watches = tuple(
            SpeechWatch(who, form, self.diary, now) for who in ("caller", "agent")
        )
        line.handset.on_words = partial(self.diary.tell, "caller_says")
        line.listen(self)
        await self.become("in-progress")
        line.start()
        self.aside(self._talk(line), name=f"person of {self.uuid}")
        self.hang_up_after(self.plan.time_limit, SCHEDULED, HangupSource.PLIVO)
        if self.plan.send_digits:
            self.press(self.plan.send_digits)
        self.answered.set()

    async def pick_up(self) -> Line:
        """Answer an inbound call that was not answered yet, as most elements do; return the line.

        An outbound call has been answered before.
        """
        if self.line is None:
            await self.answer()
        assert self.line is not None
        return self.line

    async def _talk(self, line: Line) -> None:
        try:
            await self.person.talk(line.handset)
        except Exception as error:
            # The person has hung up without a word, as a dropped phone would.
            log.exception("person failed", call_uuid=self.uuid, error=str(error))

    def press(self, keys: str) -> None:
        """Press keys toward the person: `w` waits 0.5 s, `W` 1 s; all after `@` is ignored.

        Raises:
            NotInProgressError: Nobody is on the line.

        """
        self.aside(_press(self._require_line(), keys.partition("@")[0]))

    def play_urls(self, urls: Sequence[str], *, loop: bool = False) -> None:
        """Play files one after the other, as `POST …/Play/` does, until `stop_playing`.

        Raises:
            NotInProgressError: Nobody is on the line.

        """
        line = self._require_line()
        self.stop_playing()
        self._playing = self.aside(play_urls(self.services, line, urls, self.diary, loop=loop))

    def stop_playing(self) -> None:
        """Stop all that the platform plays to the call, or was going to play."""
        if self._playing is not None:
            self._playing.cancel()
        if self.line is not None:
            self.line.stop_playing()

    def start_recording(self, longest: float, callback: Target | None = None) -> CallRecording:
        """Record the call for at most `longest` seconds, and then notify a callback URL.

        Raises:
            NotInProgressError: Nobody is on the line.

        """
        recording = self._new_recording(longest, callback)
        self.recordings.append(recording)
        return recording

    def record_session(self, longest: float, callback: Target | None) -> CallRecording:
        """Return the recording of the session, begun now unless it is under way."""
        if self._session_recording is None or self._session_recording.stopped.is_set():
            self._session_recording = self._new_recording(longest, callback)
        return self._session_recording

    def _new_recording(self, longest: float, callback: Target | None) -> CallRecording:
        def written(params: Mapping[str, str]) -> None:
            self.notify(callback, self.params("RecordStop", **params))

        return CallRecording(self.services, self._require_line(), longest, written)

    def aside(self, coroutine: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Run a coroutine in a task that is cancelled when the call ends."""
        task = asyncio.create_task(coroutine, name=name)
        self._side_tasks.add(task)
        task.add_done_callback(self._side_tasks.discard)
        return task

    async def release(self) -> None:
        """Stop all that goes on in the call: timers, tasks, streams, the line and recordings."""
        for timer in self._timers:
            timer.cancel()
        tasks = list(self._side_tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.streams.stop_all("Call hangup")
        if self.line is not None:
            self.line.hang_up("platform")
        if self._session_recording is not None:
            await self._session_recording.stop()
        await asyncio.gather(*(each.stop() for each in self.recordings))

    def _require_line(self) -> Line:
        if self.over or self.line is None:
            raise NotInProgressError(f"call {self.uuid} is not in progress")
        return self.line

    # LineListener

    def on_frame(self, tick: int, inbound: Samples, outbound: Samples) -> None:
        """Tell who speaks; streams and recordings listen for themselves."""
        for watch, heard in zip(self._watches, (inbound, outbound), strict=True):
            watch.frame(tick, heard)

    def on_digit(self, digit: str) -> None:
        """Tell it; elements that collect digits listen for themselves."""
        self.diary.tell("key_pressed", digit)

    def on_end(self, ended_by: str) -> None:
        """End the call when the person does."""
        outbound = self.record.direction == "outbound"
        self.hang_up(NORMAL, HangupSource.CALLEE if outbound else HangupSource.CALLER)


async def _press(line: Line, keys: str) -> None:
    for key in keys:
        if key in "wW":
            await asyncio.sleep(1.0 if key == "W" else 0.5)
        else:
            line.send_digits(key.upper())
