"""What happens in one live call, line by line, for whoever follows it."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from audiocodecs import AudioFormat
from mediaserver.call import Clock, StreamCounters
from mediaserver.call.follower import STREAM_ENDED, decision_json
from mediaserver.protocol import (
    ClearAudio,
    Dtmf,
    Event,
    Media,
    PlayAudio,
    ProtocolError,
    SendDtmf,
    Start,
    decode_command,
    decode_event,
)
from mediaserver.protocol.errors import without_quote
from mediaserver.server.admin.loudness import Loudness


MOST_LINES: Final = 5_000
"""Lines that wait for a reader; of more the oldest are dropped, and the reader is told so."""

MOST_BYTES: Final = 1_000_000
"""The same, in characters."""

_SUMMARY_SECONDS: Final = 1.0
"""Seconds of media that one line sums up."""

_JITTER: Final = 0.1
"""Seconds by which audio of the caller may come early or late."""

_EXACT: Final = 0.002
"""Seconds by which audio that is heard without a gap may seem to have one."""

_LONGEST: Final = 2_000
"""Characters of a text in a line."""

_PERSONAL: Final = frozenset({"words", "digit", "digits", "message", "extra_headers"})
"""The details that only a reader with personal data may see."""

TRACE_ENDED: Final = "trace ended"
"""The last line of a trace that ends before the stream does; its ``reason`` says why."""

HIDDEN_WORDS: Final = "…"
"""What is shown in place of personal data."""

_COUNTED: Final = {
    "underruns": ("underrun", "underrun_seconds"),
    "producer_gaps": ("producer gap", "producer_gap_seconds"),
    "frames_dropped": ("received audio dropped", "audio_dropped"),
    "frames_lost": ("frames lost", None),
}
"""Counters of a stream whose increase is a line: what it says, and the counter of its seconds."""


class TracedPlayout(Protocol):
    """What a trace asks about the audio on its way to the caller, as `Playout` answers it."""

    @property
    def sent(self) -> int:
        """Bytes that were sent."""

    @property
    def round_trip(self) -> float:
        """Seconds that the network takes, there and back."""

    @property
    def unheard(self) -> float:
        """Seconds of audio that the caller has not heard."""

    def heard_at(self, position: int) -> float:
        """Return when the caller hears a byte that was just sent, on the call's clock."""


class TracedStart(Protocol):
    """What of a stream that has started a trace needs, as `Started` has it."""

    @property
    def format(self) -> AudioFormat:
        """The format of the audio."""

    @property
    def playout(self) -> TracedPlayout:
        """What is on its way to the caller."""


class TracedSession(Protocol):
    """What a trace needs of the session that it follows, as `Session` has it."""

    @property
    def counters(self) -> StreamCounters:
        """What the stream counts."""

    @property
    def started(self) -> TracedStart | None:
        """Its parts, once it has started."""


_Audience: TypeAlias = Literal["all", "listeners", "others"]
"""Which readers get a line: those who asked for audio have no need of its loudness."""


class TakenLines(NamedTuple):
    """Lines of a trace for one reader."""

    lines: list[str]
    missed: int
    """How many are not there any more, for whichever reader they were."""
    next: int
    """The number of the line to go on from."""


class CallTrace:
    """The latest lines of one call: a `CallFollower`.

    A reader takes lines by their numbers, so several may follow one call. None of them holds up
    the call: what is not read in time is dropped.

    Args:
        session: the session that it follows.
        clock: the call's clock.
        began: when the stream started, on that clock; the lines' times count from then.
        personal_data: whether lines have what was said, pressed and sent along.
        lag: returns the longest lag of the event loop since a time on that clock, in seconds.

    Attributes:
        ended: whether the stream has ended, so that no line follows.
        changed: called when there is one more line.

    """

    def __init__(
        self,
        session: TracedSession,
        *,
        clock: Clock,
        began: float,
        personal_data: bool = False,
        lag: Callable[[float], float] = lambda since: 0.0,
    ) -> None:
        self._session = session
        self._clock = clock
        self._began = began
        self._personal_data = personal_data
        self._lag = lag
        self._lines: deque[tuple[str, _Audience]] = deque()
        self._first = 0
        self._size = 0
        self._counts = {name: getattr(session.counters, name) for name in _COUNTED}
        self._seconds = self._seconds_now()
        self._frames_in = self._frames_out = 0
        self._summed_up = clock()
        self._loudness: tuple[Loudness, Loudness] | None = None
        self._audio = False
        self.ended = False
        self.changed: list[Callable[[], object]] = []

    @property
    def audio(self) -> bool:
        """Whether each piece of audio has a line, with its payload, for readers who ask for it.

        The others get a line that says how loud the media of a second are.
        """
        return self._audio

    @audio.setter
    def audio(self, audio: bool) -> None:
        if audio != self._audio:
            # Until now that was for all.
            self._note_loudness()
            self._audio = audio

    @property
    def _playout(self) -> TracedPlayout | None:
        started = self._session.started
        return None if started is None else started.playout

    @property
    def next(self) -> int:
        """The number of the next line."""
        return self._first + len(self._lines)

    def take(self, after: int, most: int, *, audio: bool = False) -> TakenLines:
        """Return the lines from a number on.

        Args:
            after: the number of the first line to return.
            most: characters that they may have together; at least one is returned.
            audio: whether the reader asked for audio, and may hear it.

        """
        missed = max(0, self._first - after)
        others: _Audience = "others" if audio else "listeners"
        taken: list[str] = []
        size = 0
        for index in range(max(0, after - self._first), len(self._lines)):
            line, audience = self._lines[index]
            if audience == others:
                continue
            size += len(line)
            if taken and size > most:
                return TakenLines(taken, missed, self._first + index)
            taken.append(line)
        return TakenLines(taken, missed, max(after, self.next))

    # CallFollower

    def received(self, message: str | bytes | bytearray) -> None:
        """Note a message of the carrier's."""
        if self.ended:
            return
        try:
            self._note_event(decode_event(message), len(message))
        except ProtocolError as error:
            self._note("received", event="?", problem=error.reason, bytes=len(message))
        self._look()

    def received_binary(self, message: bytes) -> None:
        """Note a binary message of the carrier's, which is none of the protocol."""
        if not self.ended:
            self._note("received", event="?", problem="binary", bytes=len(message))

    def sent(self, message: bytes) -> None:
        """Note a message to the carrier."""
        if self.ended:
            return
        command = decode_command(message)
        if isinstance(command, PlayAudio):
            self._frames_out += 1
            heard = self._heard_at(command)
            if self._audio:
                payload = base64.b64encode(command.payload).decode()
                self._note("audio sent", "listeners", heard_at=round(heard, 4), payload=payload)
            if (loudness := self._of_sides()) is not None:
                loudness[1].add(bytes(command.payload), heard)
        else:
            details = msgspec.to_builtins(command)
            if isinstance(command, SendDtmf) and not self._personal_data:
                details["digits"] = HIDDEN_WORDS
            self._note("sent", command=type(command).__name__, **details)
        if isinstance(command, ClearAudio):
            self._note_loudness()
            self._note_cut()
        self._look()

    def decided(self, what: str, /, **details: object) -> None:
        """Note a decision."""
        if self.ended:
            # An agent may tell a turn after the end, which is the last line for readers.
            return
        self._look()
        self.ended = what == STREAM_ENDED
        if self.ended:
            self._note_loudness()
        self._note(what, **details)

    # Lines

    def _note_event(self, event: Event, size: int) -> None:
        if isinstance(event, Media):
            self._frames_in += 1
            if self._audio:
                self._note(
                    "audio received",
                    "listeners",
                    track=event.track,
                    timestamp=event.timestamp,
                    chunk=event.chunk,
                    payload=base64.b64encode(event.payload).decode(),
                )
            if event.track != "outbound" and (loudness := self._of_sides()) is not None:
                loudness[0].add(event.payload, self._now() - loudness[0].seconds(event.payload))
            return
        details: dict[str, object] = {}
        if isinstance(event, Start):
            details = {
                "call": event.call_id,
                "stream": event.stream_id,
                "format": str(event.media_format),
                "extra_headers": event.extra_headers,
            }
        elif isinstance(event, Dtmf):
            details = {"digit": event.digit}
        else:
            details = {
                name: value
                for name in ("name", "reason", "event")
                if (value := getattr(event, name, None)) is not None
            }
        self._note("received", **{"event": type(event).__name__, **details, "bytes": size})

    def _now(self) -> float:
        """Return the seconds since the stream started."""
        return self._clock() - self._began

    def _heard_at(self, command: PlayAudio) -> float:
        """Return when the caller hears the beginning of audio that was just sent."""
        playout = self._playout
        if playout is None:
            return self._now()
        return playout.heard_at(playout.sent - len(command.payload)) - self._began

    def _of_sides(self) -> tuple[Loudness, Loudness] | None:
        """Return how loud the caller is, and what they hear, if their format is known."""
        started = self._session.started
        if self._loudness is None and started is not None:
            self._loudness = (
                Loudness(started.format, _JITTER),
                Loudness(started.format, _EXACT),
            )
        return self._loudness

    def _note_loudness(self) -> None:
        if self._loudness is not None:
            caller, agent = (side.take() for side in self._loudness)
            if caller or agent:
                to: _Audience = "others" if self._audio else "all"
                self._note("loudness", to, caller=caller, agent=agent)

    def _note_cut(self) -> None:
        """Note from when on the caller hears nothing of what was sent."""
        playout = self._playout
        delay = 0.0 if playout is None else playout.round_trip
        self._note("audio cut", heard_at=round(self._clock() - self._began + delay, 4))

    def _look(self) -> None:
        """Note what the counters of the stream say, and sum up the media."""
        counters = self._session.counters
        for name, (what, seconds) in _COUNTED.items():
            count = getattr(counters, name)
            if count <= self._counts[name]:
                self._counts[name] = count
                continue
            details: dict[str, object] = {"times": count - self._counts[name]}
            self._counts[name] = count
            if seconds is not None:
                total = getattr(counters, seconds)
                details["seconds"] = round(total - self._seconds[seconds], 4)
                self._seconds[seconds] = total
            self._note(what, **details)
        now = self._clock()
        if now - self._summed_up >= _SUMMARY_SECONDS:
            playout = self._playout
            self._note(
                "media",
                received=self._frames_in,
                sent=self._frames_out,
                unheard=0.0 if playout is None else round(playout.unheard, 3),
                loop_lag=round(self._lag(self._summed_up), 4),
            )
            self._note_loudness()
            self._frames_in = self._frames_out = 0
            self._summed_up = now

    def _seconds_now(self) -> dict[str, float]:
        names = [seconds for _, seconds in _COUNTED.values() if seconds is not None]
        return {name: getattr(self._session.counters, name) for name in names}

    def _note(self, what: str, to: _Audience = "all", /, **details: Any) -> None:
        own = {"at": round(self._clock() - self._began, 4), "what": what}
        line: dict[str, Any] = dict(own)
        for name, value in details.items():
            if name in _PERSONAL and not self._personal_data and value:
                value = HIDDEN_WORDS
            elif name == "reason" and not self._personal_data and isinstance(value, str):
                value = without_quote(value)[:_LONGEST]
            elif isinstance(value, str) and name != "payload":
                value = value[:_LONGEST]
            elif isinstance(value, list | tuple):
                value = [each[:_LONGEST] if isinstance(each, str) else each for each in value]
            line[name] = value
        # A handler may call its details as it likes.
        text = decision_json(line | own).decode()
        self._lines.append((text, to))
        self._size += len(text)
        while len(self._lines) > MOST_LINES or self._size > MOST_BYTES:
            self._size -= len(self._lines.popleft()[0])
            self._first += 1
        for tell in self.changed:
            tell()
