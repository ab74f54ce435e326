"""Audio on its way to the caller: queued, sent, heard.

Positions count bytes of the stream's format since the start of the stream. Three of them matter:

    heard ≤ sent ≤ queued

`queued` moves when the handler plays, `sent` when audio goes out, `heard` with the clock. Audio is
sent while ``sent < heard + lead``. The carrier has no pause and never says how far it has played,
except at checkpoints; so `heard` is reckoned from the time at which audio began to flow, and set
right by every checkpoint that is confirmed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from audiocodecs import AudioFormat
from mediaserver.call.converter import Wire
from mediaserver.call.counters import StreamCounters
from mediaserver.call.inbox import Waiter
from mediaserver.call.settings import CallSettings
from mediaserver.call.tap import Tap
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
"""Less than this is the jitter of a clock, not a gap in the audio."""

_LONGEST_DELAY = 2.0
"""More than this between sending and hearing is a fault, not a delay to reckon with."""

_MAX_PENDING = 1_000
"""Checkpoints that may wait for the carrier's answer; older ones are given up."""

_STALE_SECONDS = 1.0
"""For how long after a clear an answer may be one to a checkpoint that was cleared."""

_REMEMBERED_CUTS = 64
"""Interruptions whose heard position is kept for a late ``heard()``."""

_REMEMBERED_RUNS = 32
"""Times at which audio began to flow that are kept, for who asks late when it was heard."""


_encoder = cache(PlayAudioEncoder)


@dataclass(frozen=True, slots=True)
class Heard:
    """What the caller heard of one playback."""

    seconds: float
    """How much of it was heard."""
    interrupted: bool
    """Whether it was cut off: by an interruption, or by the end of the call."""
    confirmed: bool
    """Whether Plivo said so, rather than the clock."""


@dataclass(slots=True)
class _Checkpoint:
    position: int
    name: str
    own: bool
    # When its answer was to be expected, as far as was known when it was sent.
    due: float = 0.0
    sent_at: float = 0.0


class Playout:
    """The one sender of one call.

    Args:
        clock: monotonic seconds.
        send: takes an encoded message for the carrier.
        format: what the carrier plays.
        stream_id: the stream that commands name.
        report: told the name of each of the handler's checkpoints, and whether it was played.
        notice: told once, in a sentence, when the carrier does not behave as it should.

    """

    __slots__ = (
        "_bps",
        "_checkpoint_count",
        "_clock",
        "_confirmed",
        "_counters",
        "_cuts",
        "_delay",
        "_delays",
        "_encode",
        "_ever_confirmed",
        "_flowing",
        "_format",
        "_frame",
        "_high",
        "_keep",
        "_lead",
        "_low",
        "_marks",
        "_message",
        "_next_own_checkpoint",
        "_notice",
        "_noticed",
        "_pending",
        "_playable",
        "_queue",
        "_report",
        "_retained",
        "_retained_bytes",
        "_room_waiters",
        "_run_position",
        "_run_start",
        "_runs",
        "_send",
        "_settings",
        "_stale",
        "_stale_until",
        "_stream_id",
        "_tap_offset",
        "_waiting_since",
        "_watches",
        "blocked",
        "ended",
        "epoch",
        "generation",
        "need_ticks",
        "paused",
        "queued",
        "round_trip",
        "sent",
        "speaking",
        "tap",
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
        self._report = report
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
        self._keep = self._lead + self._aligned(settings.gap_limit)

        # Audio that was queued and not sent, cut at [sent, queued).
        self._queue: deque[memoryview] = deque()
        self.queued = 0
        self.sent = 0
        # Since when the queue has not been empty.
        self._waiting_since = 0.0
        # Audio that was sent, newest last.
        self._retained: deque[Wire] = deque()
        self._retained_bytes = 0

        # At _run_start the carrier began to play without a break from _run_position.
        self._run_start = 0.0
        self._run_position = 0
        # The position and the time of the last few such beginnings.
        self._runs: list[tuple[int, float]] = []
        # Whether audio is flowing, so that running dry is a gap and not a pause that was meant.
        self._flowing = False
        # How long audio takes to be heard, beyond the network's own time: the shortest of what the
        # last few confirmations say, for a confirmation can be read late and never early.
        self._delay = 0.0
        self._delays: deque[float] = deque(maxlen=3)
        # The network's own time, there and back, as the shell measures it.
        self.round_trip = 0.0

        # Checkpoints to be sent once `sent` has reached them, and those not yet answered.
        self._marks: list[_Checkpoint] = []
        self._pending: list[_Checkpoint] = []
        self._checkpoint_count = 0
        self._next_own_checkpoint = 0.0
        self._confirmed = 0
        self._ever_confirmed = False
        self._noticed = False

        # Bumped by interrupt(): playbacks of an older generation are over.
        self.generation = 0
        # Bumped by each clearAudio, so that no name of a checkpoint of ours comes twice.
        self.epoch = 0
        self._cuts: dict[int, tuple[int, int]] = {}
        # Names of cleared checkpoints whose answer may still be on its way.
        self._stale: set[str] = set()
        self._stale_until = 0.0

        self._watches: list[tuple[int, int, Waiter]] = []
        self._room_waiters: list[Waiter] = []

        # Set by pause() and resume().
        self.paused = False
        # Set by the shell while the socket takes no more.
        self.blocked = False
        self.ended = False
        # Whether anything was played that an interruption could stop.
        self._playable = False
        # How many open-ended utterances are being played: running dry then is a producer's gap,
        # however long.
        self.speaking = 0
        # Who listens in, and what is added to the time of sending to have that of hearing: the same
        # for a whole run, so that what is heard without a break is told so.
        self.tap: Tap | None = None
        self._tap_offset = 0.0
        # Called when tick() has something to do from now on.
        self.need_ticks: Callable[[], object] | None = None

    # What the handler does.

    def play(self, audio: Wire) -> int:
        """Queue audio in the stream's format and send what the lead has room for.

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
            if (
                size <= MAX_PLAY_BYTES
                and not (self.paused or self.blocked or self._marks)
                and size <= self._room(now)
            ):
                self._send_audio(audio, size)
                return start
        self._queue.append(memoryview(audio))
        self._pump(now, self._message)
        if self._queue:
            self._want_ticks()
        return start

    def interrupt(self) -> float | None:
        """Stop at once: drop the queue and take back what the carrier holds. It ends a pause too.

        ``clearAudio`` is sent even when all was sent long ago: the carrier may still be playing it,
        and the estimate that it is not is only an estimate.

        Returns:
            Seconds of audio that will not be heard; None if nothing was played since the last
            interruption, so that there is nothing to stop.

        """
        if self.ended:
            return None
        now = self._clock()
        if not self._playable:
            self._cut(self._heard_position(now))
            self.paused = False
            self._send_marks(now)
            self._wake(now)
            return None
        heard = self._heard_position(now)
        unheard = (self.queued - heard) / self._bps
        self._tell_cut(heard)
        self._cut(heard)
        self._clear(now)
        self._settle_checkpoints(heard)
        self._drop_audio()
        self.paused = False
        self._playable = False
        self._counters.interrupts += 1
        self._wake(now)
        return unheard

    def pause(self) -> None:
        """Fall silent, keeping what was not heard for `resume`."""
        if self.paused or self.ended:
            return
        now = self._clock()
        heard = self._heard_position(now)
        self._tell_cut(heard)
        self._clear(now)
        self._take_back(heard)
        self.paused = True
        answered, self._pending = self._pending, []
        self._report_all(answered, heard)

    def resume(self) -> None:
        """Go on from where the caller stopped hearing."""
        if not self.paused or self.ended:
            return
        self.paused = False
        now = self._clock()
        self._waiting_since = now
        self._send_marks(now)
        self._pump(now, self._message)
        self._want_ticks()

    def checkpoint(self, name: str) -> None:
        """Have the carrier say when everything queued so far has been played.

        Raises:
            ProtocolError: if the name is empty or too long.

        """
        if self.ended:
            self._report(name, False)
            return
        encode_command(SetCheckpoint(self._stream_id, name))  # refuses a bad name at once
        self._mark(_Checkpoint(self.queued, name, own=False))

    def outcome(self, start: int, end: int, generation: int) -> Heard | None:
        """Tell what was heard of the audio in [start, end), or None while that is open."""
        now = self._clock()
        if generation != self.generation:
            heard, confirmed = self._cuts.get(generation, (start, start))
            return self._heard_between(start, end, heard, confirmed)
        if self.ended:
            return self._heard_between(start, end, self._heard_position(now), self._confirmed)
        if self._confirmed >= end:
            return Heard((end - start) / self._bps, interrupted=False, confirmed=True)
        if self._overdue(end, now):
            return Heard((end - start) / self._bps, interrupted=False, confirmed=False)
        return None

    def heard_seconds(self, start: int, end: int, generation: int) -> float:
        """Return how much of the audio in [start, end) was heard up to now, in seconds."""
        if generation != self.generation:
            heard = self._cuts.get(generation, (start, start))[0]
        else:
            heard = self._heard_position(self._clock())
        return (min(max(heard, start), end) - start) / self._bps

    def begins_at(self, start: int, generation: int) -> float | None:
        """Return when the caller hears what is at `start`, as far as is known.

        It is the time at which what they say at that moment is received here. None if it was not
        sent yet, or was taken back before it was heard.
        """
        if generation != self.generation:
            if start >= self._cuts.get(generation, (start, start))[0]:
                return None
        elif start >= self.sent:
            return None
        for position, time in reversed(self._runs):
            if position <= start:
                return time + (start - position) / self._bps + self._delay + self.round_trip
        return None

    def watch(self, end: int, waiter: Waiter) -> None:
        """Wake `waiter` when it is known what was heard up to `end`.

        Sends a checkpoint if one can still be put there.
        """
        self._watches.append((end, self.generation, waiter))
        if end >= self.sent and not any(
            mark.position == end for mark in (*self._marks, *self._pending)
        ):
            self._mark(_Checkpoint(end, "", own=True))
        self._want_ticks()

    @property
    def has_room(self) -> bool:
        """Whether the queue is below its high-water mark."""
        return self.queued - self.sent < self._high

    def wait_for_room(self, waiter: Waiter) -> None:
        """Wake `waiter` when the queue is below its low-water mark, or was dropped."""
        self._room_waiters.append(waiter)

    @property
    def unheard(self) -> float:
        """Seconds of audio that were queued and, as far as is known, not heard yet."""
        return (self.queued - self._heard_position(self._clock())) / self._bps

    @property
    def backlog(self) -> float:
        """Seconds of audio that were queued and not sent yet."""
        return (self.queued - self.sent) / self._bps

    # What the carrier and the clock do.

    def played(self, name: str) -> None:
        """Take the carrier's word that the checkpoint `name` was reached."""
        now = self._clock()
        index = next((i for i, mark in enumerate(self._pending) if mark.name == name), None)
        if index is None:
            return
        position = self._pending[index].position
        earliest = self._run_start + (position - self._run_position) / self._bps
        if name in self._stale and now < min(self._stale_until, earliest - _FRAME):
            # A carrier may answer what it cleared, and the name has been used again since.
            return
        # Answers come in order: what was asked before has been reached as well.
        answered, self._pending = self._pending[: index + 1], self._pending[index + 1 :]
        self._counters.checkpoints_confirmed += 1
        self._ever_confirmed = True
        self._confirmed = max(self._confirmed, position)
        # One that was sent after its audio had ended says nothing of how late that was heard.
        if position > self._run_position and answered[-1].sent_at <= earliest:
            delay = now - earliest - self.round_trip
            self._delays.append(min(max(delay, 0.0), _LONGEST_DELAY))
            self._delay = min(self._delays)
            self._keep = self._lead + self._aligned(self._settings.gap_limit + self._delay)
        self._report_all(answered, position)
        self._wake(now)

    def tick(self) -> bool:
        """Send what has become due and settle what is overdue.

        Returns:
            Whether another tick is needed.

        """
        now = self._clock()
        # A tick that comes a little early should not be lost: hence half a message.
        self._pump(now, self._message // 2)
        self._wake(now)
        return not self.ended and bool((self._queue and not self.paused) or self._watches)

    def unblock(self) -> None:
        """Go on after the socket took no more (see `blocked`)."""
        self.blocked = False
        if not self.ended:
            self._pump(self._clock(), self._message // 2)
            self._want_ticks()

    def overdue(self) -> float:
        """Return for how many seconds the carrier has owed an answer to a checkpoint.

        0 when it owes none, or has never answered one.
        """
        if not self._pending or not self._ever_confirmed:
            return 0.0
        return max(0.0, self._clock() - self._pending[0].due)

    def end(self) -> None:
        """The call is over: settle everything as it stands."""
        if self.ended:
            return
        now = self._clock()
        heard = self._heard_position(now)
        self._tell_cut(heard)
        self._cut(heard)
        self.ended = True
        self._settle_checkpoints(heard)
        self._drop_audio()
        self._wake(now)

    # Sending.

    def _room(self, now: float) -> int:
        """Return how much may be sent now, beginning a run if the carrier has played it all."""
        playing = self._run_position + int((now - self._run_start) * self._bps)
        if playing >= self.sent:
            self._start_run(now)
            playing = self.sent
        return playing + self._lead - self.sent

    def _pump(self, now: float, quantum: int) -> None:
        if not self._queue or self.paused or self.blocked:
            return
        room = self._room(now)
        # Sending may fill the socket.
        while self._queue and not self.blocked:
            size = self.queued - self.sent
            if size > room:
                if room < quantum:
                    return
                size = room - room % self._frame
                if not size:
                    return
            if self._marks:
                size = min(size, self._marks[0].position - self.sent)
            size = min(size, MAX_PLAY_BYTES)
            self._send_audio(self._take(size), size)
            room -= size
            if self._marks:
                self._send_marks(now)
        if self._room_waiters:
            self._wake_room()

    def _start_run(self, now: float) -> None:
        """The carrier had nothing left to play: reckon from now on from here."""
        if self._flowing:
            ran_dry = self._run_start + (self.sent - self._run_position) / self._bps
            underrun = now - max(ran_dry, self._waiting_since)
            if underrun > _SHORTEST_GAP:
                self._counters.underruns += 1
                self._counters.underrun_seconds += underrun
            gap = self._waiting_since - ran_dry
            if gap > _SHORTEST_GAP and (gap < self._settings.gap_limit or self.speaking):
                self._counters.producer_gaps += 1
                self._counters.producer_gap_seconds += gap
        self._flowing = True
        self._run_start = now
        self._run_position = self.sent
        self._tap_offset = self._delay + self.round_trip
        self._runs.append((self.sent, now))
        if len(self._runs) > _REMEMBERED_RUNS:
            del self._runs[0]

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
            self.tap.sent(piece, self._tapped_at(self.sent))
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

    def _mark(self, mark: _Checkpoint) -> None:
        if self.paused or mark.position > self.sent:
            index = len(self._marks)
            while index and self._marks[index - 1].position > mark.position:
                index -= 1
            self._marks.insert(index, mark)
        else:
            self._send_checkpoint(mark, self._clock())

    def _send_marks(self, now: float) -> None:
        while self._marks and self._marks[0].position <= self.sent:
            self._send_checkpoint(self._marks.pop(0), now)

    def _send_checkpoint(self, mark: _Checkpoint, now: float) -> None:
        if mark.own:
            if now < self._next_own_checkpoint:
                return
            self._next_own_checkpoint = now + self._settings.checkpoint_interval
            self._checkpoint_count += 1
            mark.name = f"heard-{self.epoch}-{self._checkpoint_count}"
        mark.sent_at = now
        ahead = max(0, mark.position - self._run_position) / self._bps
        mark.due = max(now, self._run_start + ahead + self._delay)
        self._pending.append(mark)
        if len(self._pending) > _MAX_PENDING:
            self._report_all([self._pending.pop(0)], 0)
        self._counters.checkpoints_sent += 1
        self._command(SetCheckpoint(self._stream_id, mark.name))

    def _clear(self, now: float) -> None:
        self.epoch += 1
        if now >= self._stale_until:
            self._stale.clear()
        self._stale.update(checkpoint.name for checkpoint in self._pending if not checkpoint.own)
        self._stale_until = now + _STALE_SECONDS
        self._flowing = False
        self._command(ClearAudio(self._stream_id))

    def _command(self, command: SetCheckpoint | ClearAudio) -> None:
        message = encode_command(command)
        self._counters.messages_out += 1
        self._counters.bytes_out += len(message)
        self._send(message)

    # Telling who listens in.

    def _tapped_at(self, position: int) -> float:
        ahead = (position - self._run_position) / self._bps
        return self._run_start + ahead + self._tap_offset

    def _tell_cut(self, heard: int) -> None:
        if self.tap is not None and heard < self.sent:
            self.tap.cut(self._tapped_at(heard))

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
        self._run_position = position
        while self._pending and self._pending[-1].position > position:
            self._marks.insert(0, self._pending.pop())

    def _cut(self, heard: int) -> None:
        """Close the generation, remembering how far it was heard."""
        self._cuts[self.generation] = (heard, self._confirmed)
        self._cuts.pop(self.generation - _REMEMBERED_CUTS, None)
        self.generation += 1

    def _drop_audio(self) -> None:
        self._queue.clear()
        self._retained.clear()
        self._retained_bytes = 0
        self.queued = self._run_position = self.sent
        self._flowing = False

    def _settle_checkpoints(self, heard: int) -> None:
        """Give up waiting for the carrier's answers, and go by what was heard."""
        checkpoints = [*self._pending, *self._marks]
        self._pending, self._marks = [], []
        self._report_all(checkpoints, heard)

    def _report_all(self, checkpoints: list[_Checkpoint], heard: int) -> None:
        for checkpoint in checkpoints:
            if not checkpoint.own:
                self._report(checkpoint.name, checkpoint.position <= heard)

    # Reckoning.

    def _heard_position(self, now: float) -> int:
        """Return the position at the caller's ear, never in the middle of a sample."""
        elapsed = max(0.0, now - self._run_start - self._delay)
        heard = self._run_position + int(elapsed * self._bps)
        heard = max(self._confirmed, min(heard, self.sent))
        return heard - heard % self._format.sample_bytes

    def _heard_between(self, start: int, end: int, heard: int, confirmed: int) -> Heard:
        if confirmed >= end:
            return Heard((end - start) / self._bps, interrupted=False, confirmed=True)
        seconds = (min(max(heard, start), end) - start) / self._bps
        return Heard(seconds, interrupted=heard < end, confirmed=False)

    def _expected_at(self, position: int) -> float | None:
        """Return when `position` should have been heard, or None if it was not sent yet."""
        if position > self.sent or self.paused:
            return None
        played = max(0, position - self._run_position) / self._bps
        return self._run_start + played + self._delay

    def _overdue(self, end: int, now: float) -> bool:
        expected = self._expected_at(end)
        if expected is None:
            return False
        awaited = any(checkpoint.position == end for checkpoint in self._pending)
        return now >= expected + (self._settings.heard_margin if awaited else _FRAME)

    def _wake(self, now: float) -> None:
        """Wake those who wait for `heard` or for room, where it is time."""
        if self._watches:
            waiting = []
            for watch in self._watches:
                end, generation, waiter = watch
                if waiter.done():
                    continue
                if generation != self.generation or self._confirmed >= end:
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
        if self._noticed or self._ever_confirmed or not self._pending:
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
