"""Many calls at once, and what their callers heard."""

from __future__ import annotations

import asyncio
import json
import math
import ssl as tls
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from audiocodecs import MULAW_8K, AudioFormat, Samples, resample
from mediaserver.sandbox.audio.playback import TICK
from mediaserver.sandbox.errors import CallEnded, CallFailed, WaitTimeoutError
from mediaserver.sandbox.phone.phone import Phone
from mediaserver.sandbox.phone.report import CallReport


MAX_CAUSES = 100
"""Number of distinct reasons, warnings and errors that are counted apart: they quote the server."""

PROGRESS_INTERVAL = 1.0

BUSY_LIMIT = 0.8
"""Share of a core from which on this process may be what limits the calls."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How a figure is spread over the calls, or over all that was measured in them."""

    count: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return the spread of `values` by the nearest-rank method, None without values."""
        ordered = sorted(values)
        if not ordered:
            return None
        count = len(ordered)
        p50, p99 = (ordered[math.ceil(share * count) - 1] for share in (0.5, 0.99))
        return cls(count, p50, p99, ordered[-1])


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a load has come.

    Attributes:
        elapsed: Seconds since the first call was dialled.
        calls: Calls to be made in all.
        dialled: Calls dialled so far.
        live: Calls that are up now.
        failed: Calls that were not taken.
        cut: Calls that ended before their time.
        finished: Calls that lasted as long as they should.

    """

    elapsed: float
    calls: int
    dialled: int = 0
    live: int = 0
    failed: int = 0
    cut: int = 0
    finished: int = 0


@dataclass(slots=True)
class LoadReport:
    """The results of many calls for their callers.

    Durations are in seconds, except `gaps`. A spread is None when there was nothing to measure.

    Attributes:
        url: What was called.
        format: Format of the streams.
        calls: Calls that were to be made.
        seconds: How long each was to last.
        ramp: Calls dialled per second.
        elapsed: From the first call dialled to the last call's end.
        made: Calls that were taken.
        most_at_once: Most calls that were up together.
        interrupted: Whether the load was broken off before its end.
        failed: Calls that were not taken, by reason.
        cut: Calls that the server or the network ended before their time, by how they ended.
        connect: Time to open a call's WebSocket.
        audio_played: Audio that callers heard, of all calls together.
        audio_cleared: Audio that was sent and cleared before it was heard.
        gap_count: Short dry spells in the agents' audio: it came too late, or the agent had none.
            The phone cannot tell the two apart.
        gap_seconds: Their sum over all calls.
        gaps: Milliseconds of gaps per minute of a call, however many gaps those are.
        pause_count: Dry spells of `gap_threshold` seconds or more: between two turns as a rule, but
            a dropout can be as long.
        pause_seconds: Their sum over all calls.
        longest_pause: The longest of them in any call; 0 if there was none.
        first_audio: From the start of a stream to the agent's first audio.
        replies: From the end of an utterance of the caller to the agent's reply.
        unanswered: Utterances that no reply followed.
        mute: Calls in which the agent was never heard to speak.
        interrupts: From a key or the caller's voice, while the agent was heard, to silence that
            lasts.
        uninterrupted: Interruptions after which the agent talked on; they are not in `interrupts`.
        messages_sent: WebSocket messages to the server.
        messages_received: WebSocket messages from the server.
        bytes_sent: Size of the messages sent, without framing.
        bytes_received: Size of the messages received, without framing.
        sender_lateness: The most that a 20 ms tick of each call's own phone came late.
        generator_busy: CPU time of this process over the time it had: 1 is one whole core.
        warnings: What a strict reader would object to in the server's messages, with counts.
        errors: What could not be obeyed, with counts.

    """

    url: str
    format: str
    calls: int
    seconds: float
    ramp: float
    elapsed: float = 0.0
    made: int = 0
    most_at_once: int = 0
    interrupted: bool = False
    failed: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    connect: Spread | None = None
    audio_played: float = 0.0
    audio_cleared: float = 0.0
    gap_count: int = 0
    gap_seconds: float = 0.0
    gaps: Spread | None = None
    pause_count: int = 0
    pause_seconds: float = 0.0
    longest_pause: float = 0.0
    first_audio: Spread | None = None
    replies: Spread | None = None
    unanswered: int = 0
    mute: int = 0
    interrupts: Spread | None = None
    uninterrupted: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    sender_lateness: Spread | None = None
    generator_busy: float = 0.0
    warnings: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every call was taken and lasted as long as it should."""
        return not self.failed and not self.cut

    @property
    def generator_limits(self) -> bool:
        """Whether this process, not the server, may be what the callers suffered from.

        It took most of a core, or in half of the calls a frame left later than the next one's time.
        """
        lateness = self.sender_lateness
        return self.generator_busy > BUSY_LIMIT or (lateness is not None and lateness.p50 > TICK)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain dicts, lists and numbers, rounded to microseconds."""
        document: dict[str, Any] = _rounded(asdict(self))
        return document | {"ok": self.ok, "generator_limits": self.generator_limits}

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)


async def load(
    url: str,
    *,
    calls: int,
    seconds: float,
    ramp: float = 50.0,
    audio: Samples | None = None,
    audio_rate: int | None = None,
    format: AudioFormat = MULAW_8K,
    headers: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
    ssl: tls.SSLContext | None = None,
    gap_threshold: float = 0.5,
    caller: Callable[[Phone], Awaitable[object]] | None = None,
    on_report: Callable[[CallReport], object] | None = None,
    on_progress: Callable[[LoadProgress], object] | None = None,
    until: asyncio.Event | None = None,
) -> LoadReport:
    """Make many calls at once to any server that speaks Plivo's stream protocol.

    Calls are dialled one after the other, `ramp` in a second, at moments spread evenly over the
    20 ms of a frame, so that their frames do not leave in step. Each is hung up `seconds` after its
    start. Cancelling hangs up all of them. Phones keep no audio.

    Args:
        url: Where to call, `ws://` or `wss://`.
        calls: How many.
        seconds: How long each call lasts.
        ramp: Calls dialled per second. All are up together for a while if `calls / ramp` is less
            than `seconds`.
        audio: What every caller says, `int16[n]`, over and over to the end of the call; begin or
            end it with silence to leave the agent its turn. Callers are silent if left out.
        audio_rate: Sample rate of `audio` in Hz; the rate of the stream if left out.
        format: Format of the streams, one of Plivo's four.
        headers: HTTP headers of the WebSocket requests, or what returns them for each: a signature
            is good for one.
        ssl: TLS settings for `wss://`; certificates are verified if left out.
        gap_threshold: Silence of this many seconds or more between the agent's audio is counted
            as a pause, not as a gap.
        caller: What every caller does beside talking: awaited with the phone once its call is
            taken, cancelled when its time is up. Returning early does not end the call.
        on_report: Called with the report of each call that was taken, when it is over.
        on_progress: Called once a second, and once when all is over.
        until: Breaks the load off when it is set: no more calls are dialled, those that are up
            are hung up, and the report says what there was.

    Raises:
        ValueError: An argument that makes no sense, or that Plivo would not take.
        AudioError: The audio is not mono int16, or its rate is unknown.
        ExceptionGroup: `caller` or `on_report` failed; all calls have been hung up.

    """
    if calls < 1:
        raise ValueError(f"there must be at least 1 call, not {calls}")
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be a positive number, not {seconds!r}")
    if not 0 < ramp < math.inf:
        raise ValueError(f"ramp must be a positive number of calls per second, not {ramp!r}")
    if audio is not None and audio_rate not in (None, format.rate):
        audio = resample(audio, audio_rate, format.rate)
    if audio is not None and not len(audio):
        audio = None

    def make_phone() -> Phone:
        return Phone(
            url,
            format=format,
            headers=headers() if callable(headers) else headers,
            ssl=ssl,
            keep_audio=False,
            gap_threshold=gap_threshold,
        )

    make_phone()  # refuses wrong arguments before the first call is made
    tally = _Tally(LoadReport(url, str(format), calls, seconds, ramp), on_report)
    beside: list[asyncio.Task[None]] = []
    if on_progress is not None:
        beside.append(asyncio.create_task(_report_progress(tally, on_progress)))
    try:
        async with asyncio.TaskGroup() as group:
            under_way = [
                group.create_task(_call(make_phone, tally, offset, seconds, audio, caller))
                for offset in _spread(calls, ramp)
            ]
            if until is not None:
                beside.append(asyncio.create_task(_break_off(until, tally, under_way)))
    finally:
        for task in beside:
            task.cancel()
    if on_progress is not None:
        on_progress(tally.progress())
    return tally.report()


def _spread(calls: int, ramp: float) -> list[float]:
    """Return when to dial each call, in seconds, no two at the same point of a 20 ms frame.

    The ramp is kept to within a frame. Neighbours in time are far apart within the frame, so that a
    ramp that is still going on is spread evenly too: hence steps of the golden ratio, turned into
    ranks so that all of them together are exactly even.
    """
    golden = (math.sqrt(5) - 1) / 2
    ranked = sorted(range(calls), key=lambda call: call * golden % 1)
    phases = [0.0] * calls
    for rank, call in enumerate(ranked):
        phases[call] = rank * TICK / calls
    return [math.floor(call / ramp / TICK) * TICK + phases[call] for call in range(calls)]


async def _call(
    make_phone: Callable[[], Phone],
    tally: _Tally,
    offset: float,
    seconds: float,
    audio: Samples | None,
    caller: Callable[[Phone], Awaitable[object]] | None,
) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(tally.begun + offset - loop.time())
    # Made now and not at the beginning: most of a phone's memory is its own, however silent.
    phone = make_phone()
    tally.dialled += 1
    try:
        await phone.start()
    except CallFailed as failure:
        tally.fail(failure)
        return
    tally.take()
    acting = asyncio.ensure_future(caller(phone)) if caller is not None else None
    try:
        async with asyncio.timeout(seconds):
            while audio is not None:
                phone.say(audio)
                await phone.wait_spoken(within=math.inf)
            await phone.wait_closed(within=math.inf)
    except (TimeoutError, CallEnded):
        pass
    finally:
        if acting is not None:
            acting.cancel()
        await phone.hang_up()
        tally.end(phone.report())
    if acting is not None:
        await asyncio.wait([acting])
        if not acting.cancelled():
            error = acting.exception()
            if error is not None and not isinstance(error, CallEnded | WaitTimeoutError):
                raise error


async def _break_off(
    until: asyncio.Event, tally: _Tally, calls: Iterable[asyncio.Task[None]]
) -> None:
    await until.wait()
    tally.interrupted = True
    for call in calls:
        call.cancel()


async def _report_progress(tally: _Tally, on_progress: Callable[[LoadProgress], object]) -> None:
    while True:
        on_progress(tally.progress())
        await asyncio.sleep(PROGRESS_INTERVAL)


class _Tally:
    """Adds up calls as they end, so that no report of a single call is kept."""

    def __init__(
        self, report: LoadReport, on_report: Callable[[CallReport], object] | None
    ) -> None:
        self._report = report
        self._on_report = on_report
        self._loop = asyncio.get_running_loop()
        self._cpu = time.process_time()
        self.begun = self._loop.time()
        self.dialled = 0
        self.interrupted = False
        self._live = 0
        self._finished = 0
        self._failed: Counter[str] = Counter()
        self._cut: Counter[str] = Counter()
        self._warnings: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._connect: list[float] = []
        self._gaps: list[float] = []
        self._first_audio: list[float] = []
        self._replies: list[float] = []
        self._interrupts: list[float] = []
        self._lateness: list[float] = []

    def fail(self, failure: CallFailed) -> None:
        """Count a call that was not taken."""
        _count(self._failed, str(failure))

    def take(self) -> None:
        """Count a call that was taken."""
        self._live += 1
        self._report.made += 1
        self._report.most_at_once = max(self._report.most_at_once, self._live)

    def end(self, call: CallReport) -> None:
        """Add a call that is over."""
        self._live -= 1
        if call.ended_by == "caller":
            self._finished += 1
        else:
            _count(self._cut, _how_it_ended(call))
        self._connect.append(call.connect_seconds)
        self._lateness.append(call.sender_lateness)
        if call.first_audio is not None:
            self._first_audio.append(call.first_audio)
            self._gaps.append(60_000 * call.gap_seconds / call.duration)
        self._replies += [each.seconds for each in call.replies if each.seconds is not None]
        self._interrupts += [
            each.seconds
            for each in call.interrupts
            if each.seconds is not None and not each.talked_on
        ]
        report = self._report
        report.unanswered += call.unanswered
        report.uninterrupted += call.talked_on
        report.mute += call.first_speech is None
        report.audio_played += call.audio_played
        report.audio_cleared += call.audio_cleared
        report.gap_count += len(call.gaps)
        report.gap_seconds += call.gap_seconds
        report.pause_count += len(call.pauses)
        report.pause_seconds += call.pause_seconds
        report.longest_pause = max(report.longest_pause, call.longest_pause)
        report.messages_sent += call.messages_sent
        report.messages_received += call.messages_received
        report.bytes_sent += call.bytes_sent
        report.bytes_received += call.bytes_received
        for text, count in call.warnings.items():
            _count(self._warnings, text, count)
        for text, count in call.errors.items():
            _count(self._errors, text, count)
        if self._on_report is not None:
            self._on_report(call)

    def progress(self) -> LoadProgress:
        """Return how far it has come."""
        return LoadProgress(
            elapsed=self._loop.time() - self.begun,
            calls=self._report.calls,
            dialled=self.dialled,
            live=self._live,
            failed=self._failed.total(),
            cut=self._cut.total(),
            finished=self._finished,
        )

    def report(self) -> LoadReport:
        """Return what all calls were like, now that they are over."""
        report = self._report
        report.elapsed = self._loop.time() - self.begun
        if report.elapsed:
            report.generator_busy = (time.process_time() - self._cpu) / report.elapsed
        report.interrupted = self.interrupted
        report.failed = dict(self._failed)
        report.cut = dict(self._cut)
        report.warnings = dict(self._warnings)
        report.errors = dict(self._errors)
        report.connect = Spread.of(self._connect)
        report.gaps = Spread.of(self._gaps)
        report.first_audio = Spread.of(self._first_audio)
        report.replies = Spread.of(self._replies)
        report.interrupts = Spread.of(self._interrupts)
        report.sender_lateness = Spread.of(self._lateness)
        return report


def _how_it_ended(report: CallReport) -> str:
    """Return why a call ended early, as text."""
    text = f"{report.ended_by}, code {report.close_code}"
    return f"{text}: {report.close_reason}" if report.close_reason else text


def _count(texts: Counter[str], text: str, count: int = 1) -> None:
    if text not in texts and len(texts) >= MAX_CAUSES:
        text = "others"
    texts[text] += count


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value
