"""The report of one call: what its caller heard, in numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeAlias

import numpy as np

from audiocodecs import Samples
from mediaserver.sandbox.audio.keys import Key, Stretch
from mediaserver.sandbox.audio.playback import PlaybackBuffer
from mediaserver.sandbox.wire.ledger import CallLedger, CheckpointReport, TimelineEntry


EndedBy: TypeAlias = Literal["caller", "server", "lost", "protocol"]
"""Who ended a call: `lost` means TCP closed without a close frame, `protocol` broken WebSocket."""

LASTING_SILENCE = 0.3
"""Seconds without speech after which an agent is silent, and does not merely pause."""

TALKED_ON = 1.0
"""Seconds for which an agent may still be heard after an interruption that clears nothing."""

# The agent spoke on to the end of the call if its last sound is this close to it (seconds).
_LAST_MOMENT = 0.03


@dataclass(frozen=True, slots=True)
class Gap:
    """A silence between the agent's audio for want of audio, at the caller's ear."""

    start: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ReplyReport:
    """How long after the end of an utterance of the caller the agent was heard.

    Attributes:
        utterance_end: Seconds after the start of the stream.
        seconds: None if the agent did not begin to speak before the caller spoke again.

    """

    utterance_end: float
    seconds: float | None


@dataclass(frozen=True, slots=True)
class InterruptReport:
    """How long the agent was still heard after the caller cut in.

    Attributes:
        time: Seconds after the start of the stream.
        by: What cut in: `"key 3"` or `"speech"`.
        seconds: Until the agent fell silent: it cleared what was queued, or was not heard for
            `LASTING_SILENCE`. None if it spoke on to the end of the call.
        cleared: Seconds of the agent's audio that were dropped by `clearAudio` for it.

    """

    time: float
    by: str
    seconds: float | None
    cleared: float = 0.0

    @property
    def talked_on(self) -> bool:
        """Whether nothing shows that the agent noticed: it cleared nothing and was heard on.

        An agent that clears nothing and falls silent within `TALKED_ON` may have come to its end.
        """
        return self.seconds is None or (not self.cleared and self.seconds > TALKED_ON)


@dataclass(slots=True)
class CallReport:
    """What one call was like for its caller.

    Times are seconds after the start of the stream: the moment `start` was sent, on a connection
    that had just been opened. Only sound counts as speech: silence that is sent as audio does not.

    Attributes:
        url: The URL that was called.
        call_id: Id of the call.
        stream_id: Id of the stream.
        format: Format of the stream, such as `audio/x-mulaw;rate=8000`.
        misbehaviour: Deviations that the phone was asked for; empty for a well-behaved call.
        connect_seconds: Time to open the WebSocket.
        duration: Length of the call.
        ended_by: Who ended it.
        close_code: WebSocket close code, 1006 if there was no close frame.
        close_reason: Reason in the close frame.
        first_audio: When the first of the agent's audio was played.
        first_speech: When the agent was first heard to speak.
        audio_received: Seconds of audio the agent sent.
        audio_played: Seconds of it that were played.
        audio_cleared: Seconds of it dropped by `clearAudio`.
        audio_overflowed: Seconds of it dropped because the playback queue was full.
        audio_unplayed: Seconds of it still queued when the call ended.
        gaps: Short dry spells in the agent's audio. The phone cannot tell an underrun (audio came
            too late) from a producer gap (the agent had nothing to say): who knows what the agent
            meant to play can.
        gap_seconds: Their sum.
        pauses: Dry spells from half a second on, or whatever the phone's `gap_threshold` is. Most
            are between two turns; one in the middle of speech is a dropout.
        pause_seconds: Their sum.
        longest_pause: The longest of them; 0 if there was none.
        agent_speech: Stretches in which the agent was heard to speak.
        caller_speech: Stretches in which the caller spoke.
        replies: From the end of each utterance of the caller to the agent's reply.
        interrupts: From each key press, or start of speech, while the agent was heard, to silence
            that lasts. `talked_on` in the JSON says which of them changed nothing.
        checkpoints: Every checkpoint the agent asked for.
        keys_pressed: Digits the caller pressed.
        dtmf_received: Digits the agent sent.
        frames_sent: 20 ms frames sent, counting each track.
        messages_sent: WebSocket messages to the server.
        messages_received: WebSocket messages from the server.
        bytes_sent: Size of those messages, without WebSocket framing.
        bytes_received: Size of those messages, without WebSocket framing.
        sender_lateness: The longest that one of the phone's own 20 ms ticks came late. When it is
            large the phone, not the server, was short of processor time.
        warnings: What a strict reader would object to in the server's messages, with counts.
        errors: What could not be obeyed, with counts.
        timeline: Everything that happened, in order.
        recording: `int16[n, 2]` at the rate of the stream: caller left, agent right as heard at
            the phone. None if the phone kept no audio. Not part of the JSON.

    """

    url: str
    call_id: str
    stream_id: str
    format: str
    misbehaviour: str
    connect_seconds: float
    duration: float
    ended_by: EndedBy | None
    close_code: int | None
    close_reason: str
    first_audio: float | None
    first_speech: float | None
    audio_received: float
    audio_played: float
    audio_cleared: float
    audio_overflowed: float
    audio_unplayed: float
    gaps: list[Gap]
    gap_seconds: float
    pauses: list[Gap]
    pause_seconds: float
    longest_pause: float
    agent_speech: list[Stretch]
    caller_speech: list[Stretch]
    replies: list[ReplyReport]
    interrupts: list[InterruptReport]
    checkpoints: list[CheckpointReport]
    keys_pressed: list[Key]
    dtmf_received: list[Key]
    frames_sent: int
    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    sender_lateness: float
    warnings: dict[str, int]
    errors: dict[str, int]
    timeline: list[TimelineEntry]
    recording: Samples | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        ledger: CallLedger,
        buffer: PlaybackBuffer,
        *,
        caller_speech: list[Stretch],
        duration: float,
        **call: Any,
    ) -> CallReport:
        """Return the report of a call, from what was written down and played in it.

        Args:
            ledger: What was written down.
            buffer: What was played.
            caller_speech: Stretches in which the caller spoke.
            duration: Length of the call.
            call: The attributes that follow from neither.

        """
        agent = buffer.spells
        pauses = [seconds for _, seconds in buffer.pauses]
        cut_ins = [(key.time, f"key {key.digit}") for key in ledger.keys_pressed]
        cut_ins += [(start, "speech") for start, _ in caller_speech]
        return cls(
            duration=duration,
            first_audio=buffer.first_audio,
            first_speech=agent[0][0] if agent else None,
            audio_received=buffer.received + buffer.overflowed,
            audio_played=buffer.played,
            audio_cleared=buffer.cleared,
            audio_overflowed=buffer.overflowed,
            audio_unplayed=buffer.queued,
            gaps=[Gap(start, seconds) for start, seconds in buffer.gaps],
            gap_seconds=math.fsum(seconds for _, seconds in buffer.gaps),
            pauses=[Gap(start, seconds) for start, seconds in buffer.pauses],
            pause_seconds=math.fsum(pauses),
            longest_pause=max(pauses, default=0.0),
            agent_speech=agent,
            caller_speech=caller_speech,
            replies=replies(caller_speech, agent),
            interrupts=interrupts(cut_ins, agent, ledger.clears, duration),
            checkpoints=list(ledger.checkpoints),
            keys_pressed=list(ledger.keys_pressed),
            dtmf_received=list(ledger.dtmf_received),
            frames_sent=ledger.frames_sent,
            messages_sent=ledger.messages_sent,
            messages_received=ledger.messages_received,
            bytes_sent=ledger.bytes_sent,
            bytes_received=ledger.bytes_received,
            sender_lateness=ledger.lateness,
            warnings=dict(ledger.warnings),
            errors=dict(ledger.errors),
            **call,
        )

    @property
    def unanswered(self) -> int:
        """Number of the caller's utterances that no reply followed."""
        return sum(reply.seconds is None for reply in self.replies)

    @property
    def talked_on(self) -> int:
        """Number of interruptions after which the agent talked on."""
        return sum(interrupt.talked_on for interrupt in self.interrupts)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the recording as plain lists, dicts and numbers.

        Times are rounded to microseconds.
        """
        document = {
            item.name: _plain(getattr(self, item.name))
            for item in fields(self)
            if item.name != "recording"
        }
        for plain, each in zip(document["interrupts"], self.interrupts, strict=True):
            plain["talked_on"] = each.talked_on
        return document | {"unanswered": self.unanswered, "talked_on": self.talked_on}

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    return value


def timeline(
    entries: Iterable[TimelineEntry],
    caller: Sequence[Stretch],
    agent: Sequence[Stretch],
    now: float,
) -> list[TimelineEntry]:
    """Return everything that has happened by `now`, in order.

    Args:
        entries: What was written down.
        caller: When the caller spoke.
        agent: When the agent spoke.
        now: Seconds after the start of the stream.

    """
    happened = list(entries)
    for who, spells in (("caller", caller), ("agent", agent)):
        for start, end in spells:
            happened.append(TimelineEntry(start, f"{who}_speaks"))
            if end <= now:
                happened.append(TimelineEntry(end, f"{who}_silent"))
    return sorted(happened, key=lambda entry: (entry.time, entry.kind == "stream_ended"))


def replies(caller: Sequence[Stretch], agent: Sequence[Stretch]) -> list[ReplyReport]:
    """Return for each utterance of the caller how soon afterwards the agent began to speak."""
    result: list[ReplyReport] = []
    for index, (_, end) in enumerate(caller):
        until = caller[index + 1][0] if index + 1 < len(caller) else float("inf")
        began = next((start for start, _ in agent if end <= start < until), None)
        result.append(ReplyReport(end, None if began is None else began - end))
    return result


def interrupts(
    cut_ins: Sequence[tuple[float, str]],
    agent: Sequence[Stretch],
    clears: Sequence[tuple[float, float]],
    duration: float,
) -> list[InterruptReport]:
    """Return for each turn of the agent's speech that was cut into how long it went on.

    Args:
        cut_ins: `(time, by)` of key presses and starts of the caller's speech.
        agent: Spells of the agent's speech.
        clears: `(time, seconds)` of the clears that dropped audio.
        duration: Length of the call.

    """
    result: list[InterruptReport] = []
    ordered = sorted(cut_ins)
    turns = _turns(agent, clears)
    for index, (start, end) in enumerate(turns):
        following = turns[index + 1][0] if index + 1 < len(turns) else duration
        cleared_here = [each for each in clears if start <= each[0] <= following]
        # Cut into between two words, and cleared before the next one came.
        until = end + LASTING_SILENCE if cleared_here else end
        first = next(((time, by) for time, by in ordered if start < time < until), None)
        if first is None:
            continue
        time, by = first
        cleared = math.fsum(seconds for at, seconds in cleared_here if at >= time)
        spoke_on = not cleared and end > duration - _LAST_MOMENT
        seconds = None if spoke_on else max(0.0, end - time)
        result.append(InterruptReport(time, by, seconds, cleared))
    return result


def _turns(agent: Sequence[Stretch], clears: Sequence[tuple[float, float]]) -> list[Stretch]:
    """Join the spells of a turn: they are less than a lasting silence apart, without a clear."""
    turns: list[Stretch] = []
    for start, end in agent:
        if turns and start - turns[-1][1] < LASTING_SILENCE:
            before, paused = turns[-1]
            if not any(paused - _LAST_MOMENT <= at <= start for at, _ in clears):
                turns[-1] = before, end
                continue
        turns.append((start, end))
    return turns


def mix(
    caller: Sequence[tuple[int, Samples]], agent: Sequence[tuple[int, Samples]], length: int
) -> Samples:
    """Lay both voices on one timeline: `int16[length, 2]`, caller left, agent right.

    Args:
        caller: `(first sample, int16[n])` stretches.
        agent: The same for the agent.
        length: Samples of the recording; what lies beyond is cut off.

    """
    stereo = np.zeros((length, 2), np.int16)
    for channel, stretches in enumerate((caller, agent)):
        for start, samples in stretches:
            end = min(start + len(samples), length)
            if start < end:
                stereo[start:end, channel] = samples[: end - start]
    return stereo
