"""Audio on its way to the caller: queued, sent, heard.

Positions count bytes of the stream's format since the start of the stream. Three of them matter:

    heard ≤ sent ≤ queued

`queued` moves when the handler plays, `sent` when audio goes out, `heard` with the clock. Audio is
sent while ``sent < heard + lead``. The carrier has no pause and never says how far it has played,
except at checkpoints. So `heard` is estimated from the time at which audio began to flow (`Runs`),
and corrected by every confirmed checkpoint (`Checkpoints`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from audiocodecs import AudioFormat
from mediaserver.call.checkpoints import Checkpoints
from mediaserver.call.converter import Wire
from mediaserver.call.counters import StreamCounters
from mediaserver.call.inbox import Waiter
from mediaserver.call.runs import Runs
from mediaserver.call.settings import CallSettings
from mediaserver.call.tap import Tap
from mediaserver.call.utterances import Utterances
from mediaserver.protocol import (
    MAX_PLAY_BYTES,
    ClearAudio,
    PlayAudioEncoder,
    SetCheckpoint,
    encode_command,
)


Clock = Callable[[], float]
"""Monotonic seconds."""

_FRAME = 0.02
"""The carrier plays in steps of 20 ms."""

_SHORTEST_GAP = 0.001
"""Seconds; a shorter gap is the jitter of a clock, not a gap in the audio."""

_PROBE = "heard-when-lost"
"""Name of the checkpoint that tells whether the carrier has played on."""

_UNNOTICED = 0.5
"""Seconds of heard audio that are kept beside the margin, until `Playout.keep_more` is called."""

_DOUBTFUL = 10.0
"""Seconds of audio that are kept while the carrier is silent: what it may never have received."""

_SHORTEST_PROBED = 0.1
"""Seconds; less that is left is played before an answer could tell anything."""

_REMEMBERED_CUTS = 64
"""Number of interruptions whose heard position is kept for a late ``heard()``."""


_encoder = cache(PlayAudioEncoder)


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Heard:
    """How much of one playback the caller heard."""

    seconds: float
    """Seconds of it that were heard."""
    interrupted: bool
    """Whether an interruption or the end of the call cut it off."""
    confirmed: bool
    """Whether Plivo confirmed it; otherwise it is estimated by the clock."""


class Playout:
    """The one sender of one call.

    Args:
        clock: monotonic seconds.
        send: takes an encoded message for the carrier.
        format: the format that the carrier plays.
        stream_id: Plivo's id of the stream, for commands.
        settings: lead, queue limits and margins.
        counters: count audio, messages, checkpoints and gaps.
        report: takes the name of each of the handler's checkpoints, and whether it was played.
        notice: takes a sentence for the log, once, if the carrier never confirms anything.

    """

    __slots__ = (
        "_bps",
        "_checkpoints",
        "_clock",
        "_counters",
        "_cuts",
        "_encode",
        "_format",
        "_frame",
        "_high",
        "_keep",
        "_lead",
        "_low",
        "_message",
        "_notice",
        "_noticed",
        "_playable",
        "_probe",
        "_queue",
        "_retained",
        "_retained_bytes",
        "_room_waiters",
        "_runs",
        "_send",
        "_settings",
        "_stands_at",
        "_stream_id",
        "_tap_offset",
        "_waiting_since",
        "_watches",
        "blocked",
        "ended",
        "generation",
        "need_ticks",
        "paused",
        "queued",
        "round_trip",
        "sent",
        "speaking",
        "tap",
        "utterances",
    )

    def __init__(
        self,
        *,
        clock: Clock,
        send: Callable[[bytes], object],
        format: AudioFormat,
        stream_id: str,
        settings: CallSettings,
        counters: StreamCounters,
        report: Callable[[str, bool], object],
        notice: Callable[[str], object],
    ) -> None:
        self._clock = clock
        self._send = send
        self._format = format
        self._stream_id = stream_id
        self._settings = settings
        self._counters = counters
        self._notice = notice

        self._encode = _encoder(format)

        bps = format.bytes_per_second
        self._bps = bps
        self._frame = self._aligned(_FRAME)
        self._lead = self._aligned(settings.lead)
        self._high = self._aligned(settings.queue_high)
        self._low = self._aligned(settings.queue_low)
        self._message = min(self._aligned(settings.message_length), self._lead, MAX_PLAY_BYTES)
        # Sent audio is kept for resume(): all that the carrier can hold, and a margin
        # because the heard position is an estimate.
        self._keep = self._lead + self._aligned(settings.gap_limit + _UNNOTICED)

        # Audio that was queued and not sent: positions [sent, queued).
        self._queue: deque[memoryview] = deque()
        self.queued = 0
        self.sent = 0
        # Since when the queue has not been empty.
        self._waiting_since = 0.0
        # Audio that was sent, newest last.
        self._retained: deque[Wire] = deque()
        self._retained_bytes = 0

        self._runs = Runs(bps)
        self._checkpoints = Checkpoints(interval=settings.checkpoint_interval, report=report)
        # The network's own time in seconds, there and back, as the shell measures it.
        self.round_trip = 0.0
        self._noticed = False

        # Bumped by interrupt(): playbacks of an older generation are over.
        self.generation = 0
        self._cuts: dict[int, tuple[int, int]] = {}

        self._watches: list[tuple[int, int, Waiter]] = []
        self._room_waiters: list[Waiter] = []

        # Set by pause() and resume().
        self.paused = False
        # Set by the shell while the socket takes no more.
        self.blocked = False
        self.ended = False
        # Whether audio was played since the last interruption, so that there is some to stop.
        self._playable = False
        # While the stream is lost: the position at which the caller stopped hearing it.
        self._stands_at: int | None = None
        # When the carrier was asked whether it has played on, and how many seconds it had left.
        self._probe: tuple[float, float] | None = None
        # Who may queue audio.
        self.utterances = Utterances()
        # Number of open-ended utterances being played: while there are any, running dry counts as
        # a producer gap, however long.
        self.speaking = 0
        # The tap, and the seconds between playing and hearing in its times: fixed for a whole run,
        # so that audio heard without a break has times without a break.
        self.tap: Tap | None = None
        self._tap_offset = 0.0
        # Called when tick() has work to do from now on.
        self.need_ticks: Callable[[], object] | None = None

    @property
    def first_sent_at(self) -> float | None:
        """When the first audio was sent; None if there was none yet."""
        return self._runs.first

    # What the handler does.

    def play(self, audio: Wire) -> int:
        """Queue audio in the stream's format and send as much as the lead has room for.

        Returns:
            The position at which it starts; it ends at `queued`.

        """
        size = len(audio)
        start = self.queued
        if self.ended or not size:
            return start
        now = self._clock()
        self.queued = start + size
        self._playable = True
        if not self._queue:
            self._waiting_since = now
            if size <= MAX_PLAY_BYTES and not (
                self.paused or self.blocked or self._checkpoints.waiting
            ):
                unplayed = self._runs.unplayed(self.sent, now)
                if size <= self._lead - unplayed:
                    if not unplayed:
                        self._begin_run(now)
                    self._send_audio(audio, size)
                    return start
        self._queue.append(memoryview(audio))
        self._pump(now, self._message)
        if self._queue:
            self._want_ticks()
        return start

    def interrupt(self) -> float | None:
        """Stop at once: drop the queue and clear what the carrier holds. This also ends a pause.

        ``clearAudio`` is sent even if everything should have been heard: that is only an estimate,
        and the carrier may still be playing.

        Returns:
            Seconds of audio that the caller will not hear; None if nothing was played since the
            last interruption.

        """
        if self.ended:
            return None
        now = self._clock()
        self.utterances.drop()
        if not self._playable:
            self._cut(self._heard_position(now))
            self.paused = False
            self._send_checkpoints(now)
            self._wake(now)
            return None
        heard = self._heard_position(now)
        unheard = (self.queued - heard) / self._bps
        self._tell_cut(heard)
        self._cut(heard)
        self._clear(now)
        self._checkpoints.settle(heard)
        self._drop_audio()
        self.paused = False
        self._playable = False
        self._counters.interrupts += 1
        self._wake(now)
        return unheard

    def pause(self) -> None:
        """Fall silent, and keep the unheard audio for `resume`."""
        if self.paused or self.ended:
            return
        now = self._clock()
        if self._probe is not None:
            self._probed(now, plays_on=False)
        heard = self._heard_position(now)
        self._tell_cut(heard)
        self._clear(now)
        self._take_back(heard)
        self.paused = True
        self._checkpoints.take_back(self.sent, heard)

    def resume(self) -> None:
        """Continue from where the caller stopped hearing."""
        if not self.paused or self.ended:
            return
        self.paused = False
        now = self._clock()
        self._waiting_since = now
        self._send_checkpoints(now)
        self._pump(now, self._message)
        self._want_ticks()

    def keep_more(self) -> None:
        """Keep what is sent from now on: the carrier is silent, and may not receive it.

        The next checkpoint that it answers ends this.
        """
        self._keep = self._lead + self._aligned(_DOUBTFUL)

    def suspend(self, since: float | None = None) -> None:
        """Send nothing, and keep what the caller has not heard: the stream is lost.

        Args:
            since: since when nothing that was sent has reached the carrier, at least a second ago,
                so that it has nothing left to play; None for now.

        """
        if self.ended:
            return
        self.blocked = True
        self._probe = None
        if since is not None:
            heard = self._heard_at(since)
            self._tell_cut(heard)
            self._take_back(heard)
            self._checkpoints.take_back(self.sent, heard)
            self._stands_at = self.sent
        elif not self._settings.plays_on_when_lost and self._stands_at is None:
            self._stands_at = self._heard_position(self._clock())

    def reopen(self, stream_id: str) -> None:
        """Continue where the caller stopped hearing: the lost stream was opened again.

        If it is not known whether the carrier has played on, a checkpoint tells: it is answered at
        once if the carrier dropped what it held, and after that has been played if it did not. Else
        ``clearAudio`` comes first, so that nothing is heard twice that the carrier still holds.

        Args:
            stream_id: Plivo's id of the stream from now on.

        """
        now = self._clock()
        self._stream_id = stream_id
        left = self._runs.unplayed(self.sent, now - self._checkpoints.delay) / self._bps
        if self._settings.plays_on_when_lost is None and left >= _SHORTEST_PROBED:
            self._probe = now, left
            self._command(SetCheckpoint(stream_id, _PROBE))
            self._want_ticks()
            return
        self._clear(now)
        self._continue(now, self._heard_position(now))

    def _probed(self, now: float, plays_on: bool) -> None:
        """Continue, knowing whether the carrier has played on what it held."""
        self._probe = None
        self._continue(now, self.sent if plays_on else self._heard_position(now))

    def _continue(self, now: float, heard: int) -> None:
        self._stands_at = None
        self.blocked = False
        self._tell_cut(heard)
        self._take_back(heard)
        self._checkpoints.take_back(self.sent, heard)
        self._waiting_since = now
        if not self.paused:
            self._send_checkpoints(now)
        self._pump(now, self._message)
        self._wake(now)
        self._want_ticks()

    def checkpoint(self, name: str) -> None:
        """Ask the carrier to report when everything queued so far has been played.

        Raises:
            ProtocolError: if the name is empty or too long.

        """
        if self.ended:
            return
        encode_command(SetCheckpoint(self._stream_id, name))  # refuses a bad name at once
        self._add_checkpoint(self.queued, name)

    def outcome(self, start: int, end: int, generation: int) -> Heard | None:
        """Return what was heard of the audio in [start, end), or None if not settled yet."""
        now = self._clock()
        if generation != self.generation:
            heard, confirmed = self._cuts.get(generation, (start, start))
            return self._heard_between(start, end, heard, confirmed)
        if self.ended:
            return self._heard_between(
                start, end, self._heard_position(now), self._checkpoints.confirmed
            )
        if self._checkpoints.confirmed >= end:
            return Heard((end - start) / self._bps, interrupted=False, confirmed=True)
        if self._overdue(end, now):
            return Heard((end - start) / self._bps, interrupted=False, confirmed=False)
        return None

    def heard_seconds(self, start: int, end: int, generation: int) -> float:
        """Return how many seconds of the audio in [start, end) were heard up to now."""
        if generation != self.generation:
            heard = self._cuts.get(generation, (start, start))[0]
        else:
            heard = self._heard_position(self._clock())
        return (min(max(heard, start), end) - start) / self._bps

    def begins_at(self, start: int, generation: int) -> float | None:
        """Return when the caller hears the audio at `start`, by estimate.

        The time includes the network's round trip: what the caller says at the moment of hearing it
        is received at this time. None if the audio was not sent yet, or was taken back unheard.
        """
        if generation != self.generation:
            if start >= self._cuts.get(generation, (start, start))[0]:
                return None
        elif start >= self.sent:
            return None
        played_at = self._runs.played_at(start)
        if played_at is None:
            return None
        return played_at + self._checkpoints.delay + self.round_trip

    def watch(self, end: int, waiter: Waiter) -> None:
        """Wake `waiter` when it is settled whether the audio up to `end` was heard.

        Sets a checkpoint at `end` if that is still possible.
        """
        self._watches.append((end, self.generation, waiter))
        if end >= self.sent and not self._checkpoints.stands_at(end):
            self._add_checkpoint(end)
        self._want_ticks()

    @property
    def has_room(self) -> bool:
        """Whether the queue is below its high-water mark."""
        return self.queued - self.sent < self._high

    def wait_for_room(self, waiter: Waiter) -> None:
        """Wake `waiter` when the queue falls to its low-water mark or is dropped."""
        self._room_waiters.append(waiter)

    @property
    def unheard(self) -> float:
        """Seconds of audio that were queued and not heard yet, by estimate."""
        return (self.queued - self._heard_position(self._clock())) / self._bps

    @property
    def backlog(self) -> float:
        """Seconds of audio that were queued and not sent yet."""
        return (self.queued - self.sent) / self._bps

    # What the carrier and the clock do.

    def played(self, name: str) -> None:
        """Take the carrier's answer that the checkpoint `name` was played."""
        now = self._clock()
        checkpoints = self._checkpoints
        if self._probe is not None and name == _PROBE:
            asked, left = self._probe
            self._probed(now, plays_on=now - asked - self.round_trip > left / 2)
            return
        if checkpoints.confirm(name, now, self._runs, self.round_trip):
            self._counters.checkpoints_confirmed += 1
            margin = self._settings.gap_limit + _UNNOTICED + checkpoints.delay
            self._keep = self._lead + self._aligned(margin)
            self._wake(now)

    def tick(self) -> bool:
        """Send audio that is due and settle watches that are overdue.

        Returns:
            Whether another tick is needed.

        """
        now = self._clock()
        if self._probe is not None:
            asked, left = self._probe
            if now > asked + left + self.round_trip + self._settings.heard_margin:
                self._probed(now, plays_on=False)
            return True
        # Half a message is enough, so that a tick that comes slightly early is not wasted.
        self._pump(now, self._message // 2)
        self._wake(now)
        return not self.ended and bool((self._queue and not self.paused) or self._watches)

    def unblock(self) -> None:
        """Continue sending: the socket takes data again (see `blocked`)."""
        if self._probe is not None:
            return
        self.blocked = False
        if not self.ended:
            self._pump(self._clock(), self._message // 2)
            self._want_ticks()

    def overdue(self) -> float:
        """Return the seconds for which the carrier has owed an answer to a checkpoint.

        0 if it owes no answer, or has never answered.
        """
        return self._checkpoints.overdue(self._clock())

    def end(self) -> None:
        """End the call: settle all watches and checkpoints by what was heard until now."""
        if self.ended:
            return
        now = self._clock()
        heard = self._heard_position(now)
        self._tell_cut(heard)
        self._cut(heard)
        self.ended = True
        self._checkpoints.settle(heard)
        self._drop_audio()
        self.utterances.drop()
        self._wake(now)
        # They refer to the call, and through it to this object.
        self._checkpoints.report = self._send = self._notice = _nothing
        self.need_ticks = None

    # Sending.

    def _pump(self, now: float, quantum: int) -> None:
        if not self._queue or self.paused or self.blocked:
            return
        unplayed = self._runs.unplayed(self.sent, now)
        if not unplayed:
            self._begin_run(now)
        room = self._lead - unplayed
        # Sending may fill the socket.
        while self._queue and not self.blocked:
            size = self.queued - self.sent
            if size > room:
                if room < quantum:
                    return
                size = room - room % self._frame
                if not size:
                    return
            if waiting := self._checkpoints.waiting:
                size = min(size, waiting[0].position - self.sent)
            size = min(size, MAX_PLAY_BYTES)
            self._send_audio(self._take(size), size)
            room -= size
            if waiting:
                self._send_checkpoints(now)
        if self._room_waiters:
            self._wake_room()

    def _begin_run(self, now: float) -> None:
        """Begin a run when the carrier has nothing left to play; count the gap before it."""
        ran_dry = self._runs.begin(self.sent, now)
        self._tap_offset = self._checkpoints.delay + self.round_trip
        if ran_dry is None:
            return
        underrun = now - max(ran_dry, self._waiting_since)
        if underrun > _SHORTEST_GAP:
            self._counters.underruns += 1
            self._counters.underrun_seconds += underrun
        gap = self._waiting_since - ran_dry
        if gap > _SHORTEST_GAP and (gap < self._settings.gap_limit or self.speaking):
            self._counters.producer_gaps += 1
            self._counters.producer_gap_seconds += gap

    def _take(self, size: int) -> Wire:
        """Take `size` bytes out of the queue."""
        queue = self._queue
        head = queue[0]
        if len(head) == size:
            return queue.popleft()
        if len(head) > size:
            queue[0] = head[size:]
            return head[:size]
        pieces = []
        while size:
            head = queue.popleft()
            if len(head) > size:
                queue.appendleft(head[size:])
                head = head[:size]
            pieces.append(head)
            size -= len(head)
        return b"".join(pieces)

    def _send_audio(self, piece: Wire, size: int) -> None:
        if self.tap is not None:
            self.tap.sent(piece, self.heard_at(self.sent))
        self.sent += size
        retained = self._retained
        retained.append(piece)
        self._retained_bytes += size
        while self._retained_bytes - len(retained[0]) > self._keep:
            self._retained_bytes -= len(retained.popleft())
        message = self._encode(piece)
        counters = self._counters
        counters.audio_out += size / self._bps
        counters.messages_out += 1
        counters.bytes_out += len(message)
        self._send(message)

    def _add_checkpoint(self, position: int, name: str | None = None) -> None:
        self._checkpoints.add(position, name)
        if not self.paused:
            self._send_checkpoints(self._clock())

    def _send_checkpoints(self, now: float) -> None:
        while (name := self._checkpoints.take_due(self.sent, now, self._runs)) is not None:
            self._counters.checkpoints_sent += 1
            self._command(SetCheckpoint(self._stream_id, name))

    def _clear(self, now: float) -> None:
        self._checkpoints.clear(now)
        self._command(ClearAudio(self._stream_id))

    def _command(self, command: SetCheckpoint | ClearAudio) -> None:
        message = encode_command(command)
        self._counters.messages_out += 1
        self._counters.bytes_out += len(message)
        self._send(message)

    # The tap.

    def heard_at(self, position: int) -> float:
        """Return when the caller hears a position that is being sent, in the times of a `Tap`."""
        return self._runs.time_of(position) + self._tap_offset

    def heard_in(self, before_end: float) -> float:
        """Return in how many seconds the caller hears a place in what was queued, by estimate.

        In the times of a `Tap`, as `heard_at`, also for what is not sent yet.

        Args:
            before_end: where it is: so many seconds before the end of what was queued.

        """
        if self._runs.flowing:
            return self.heard_at(self.queued) - self._clock() - before_end
        return self.unheard + self._checkpoints.delay + self.round_trip - before_end

    def _tell_cut(self, heard: int) -> None:
        if self.tap is not None and heard < self.sent:
            self.tap.cut(self.heard_at(heard))

    # Taking back.

    def _take_back(self, position: int) -> None:
        """Move what was sent after `position` back to the front of the queue."""
        position = max(position, self.sent - self._retained_bytes)
        missing = self.sent - position
        while missing:
            piece = memoryview(self._retained.pop())
            self._retained_bytes -= len(piece)
            if len(piece) > missing:
                kept = len(piece) - missing
                self._retained.append(piece[:kept])
                self._retained_bytes += kept
                piece = piece[kept:]
            self._queue.appendleft(piece)
            missing -= len(piece)
        self.sent = position
        self._runs.stop(position)

    def _cut(self, heard: int) -> None:
        """Close the generation, keeping the position up to which it was heard."""
        self._cuts[self.generation] = (heard, self._checkpoints.confirmed)
        self._cuts.pop(self.generation - _REMEMBERED_CUTS, None)
        self.generation += 1

    def _drop_audio(self) -> None:
        self._queue.clear()
        self._retained.clear()
        self._retained_bytes = 0
        self.queued = self.sent
        self._runs.stop(self.sent)
        if self._stands_at is not None:
            self._stands_at = self.sent

    # Estimates.

    def _heard_position(self, now: float) -> int:
        """Return the estimated position at the caller's ear, aligned to whole samples."""
        if self._stands_at is not None:
            return self._stands_at
        checkpoints = self._checkpoints
        heard = self._runs.reached(now - checkpoints.delay)
        heard = max(checkpoints.confirmed, min(heard, self.sent))
        return heard - heard % self._format.sample_bytes

    def _heard_at(self, time: float) -> int:
        """Return the position that the caller had heard at a time in the past, if kept since."""
        heard = self._runs.reached_at(time - self._checkpoints.delay)
        if self._settings.plays_on_when_lost:
            heard += self._lead - self._message
        oldest = max(self._checkpoints.confirmed, self.sent - self._retained_bytes)
        heard = max(oldest, min(heard, self.sent))
        return heard - heard % self._format.sample_bytes

    def _heard_between(self, start: int, end: int, heard: int, confirmed: int) -> Heard:
        if confirmed >= end:
            return Heard((end - start) / self._bps, interrupted=False, confirmed=True)
        seconds = (min(max(heard, start), end) - start) / self._bps
        return Heard(seconds, interrupted=heard < end, confirmed=False)

    def _overdue(self, end: int, now: float) -> bool:
        """Tell whether `end` should have been heard, and confirmed if an answer is awaited."""
        if end > self.sent or self.paused or self._stands_at is not None:
            return False
        checkpoints = self._checkpoints
        expected = self._runs.time_of(end) + checkpoints.delay
        if now < expected:
            return False
        return now >= expected + (
            self._settings.heard_margin if checkpoints.awaits(end) else _FRAME
        )

    def _wake(self, now: float) -> None:
        """Wake the waiters whose condition holds."""
        if self._watches:
            waiting = []
            for watch in self._watches:
                end, generation, waiter = watch
                if waiter.done():
                    continue
                if generation != self.generation or self._checkpoints.confirmed >= end:
                    waiter.set_result(None)
                elif self._overdue(end, now):
                    self._say_unconfirmed()
                    waiter.set_result(None)
                else:
                    waiting.append(watch)
            self._watches = waiting
        if self._room_waiters:
            self._wake_room()

    def _wake_room(self) -> None:
        if self.queued - self.sent <= self._low or self.ended:
            while self._room_waiters:
                waiter = self._room_waiters.pop(0)
                if not waiter.done():
                    waiter.set_result(None)

    def _say_unconfirmed(self) -> None:
        if self._noticed or self._checkpoints.ever_confirmed or not self._checkpoints.awaits():
            return
        self._noticed = True
        self._notice(
            "no playedStream came for a checkpoint: the caller may hear nothing. Usual causes: "
            'the stream is not bidirectional="true", or its contentType is not the format that '
            f"start announced ({self._format})"
        )

    def _want_ticks(self) -> None:
        if self.need_ticks is not None and not self.ended:
            self.need_ticks()

    def _aligned(self, seconds: float) -> int:
        """Return the whole samples in `seconds`, as bytes."""
        return round(seconds * self._format.rate) * self._format.sample_bytes
