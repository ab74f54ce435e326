"""What is recorded of a call, as lines of a journal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec


class CallBegan(msgspec.Struct, kw_only=True, omit_defaults=True, tag="began"):
    """A stream has begun. Times are seconds since the epoch."""

    id: str
    """Names the record. A call that has several streams has a record for each."""
    call_id: str | None = None
    """Plivo's CallUUID."""
    stream_id: str | None = None
    """Plivo's id of the stream; None if no start event came."""
    account_id: str | None = None
    direction: str | None = None
    """``inbound`` or ``outbound``, if the answer webhook said it."""
    caller: str | None = None
    """The caller's number, as the setting ``records_numbers`` has it written."""
    called: str | None = None
    caller_key: str | None = None
    """By which the number is found."""
    called_key: str | None = None
    handler: str
    route: str
    """The route's path, and its number if it has one."""
    path: str
    """The path of the stream's URL."""
    process: str
    """The node and the worker."""
    format: str | None = None
    tracks: str | None = None
    started_at: float


class TurnTaken(msgspec.Struct, kw_only=True, omit_defaults=True, tag="turn"):
    """An agent has reported a turn: see `mediaserver.call.Turn`, whose times these are."""

    id: str
    """Of the call's record."""
    position: int
    """0, 1, 2… among the reports of this call."""
    at: float
    """The time from which its times count, in seconds since the epoch."""
    number: int
    interrupted: bool = False
    error: str | None = None
    end_of_turn: float | None = None
    transcript: float | None = None
    first_token: float | None = None
    audio_sent: float | None = None
    audio_heard: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    characters: int = 0
    speech_seconds: float = 0.0
    caller_words: int = 0
    """Number of words that were understood."""
    heard_words: int = 0
    """Number of words of the answer that the caller heard."""
    caller: str | None = None
    """The transcript, if the setting ``records_transcripts`` is on."""
    agent: str | None = None
    cost: float | None = None
    """In the currency of the call; None without prices for all that was used."""


class CallOver(CallBegan, kw_only=True, omit_defaults=True, tag="over"):
    """A stream is over: all of its record."""

    ended_at: float
    seconds: float
    """How long the stream lasted; 0 if no start event came."""
    cause: str
    """The kind of the reason, as the metrics count it."""
    reason: str
    error: str | None = None
    """The class of the exception that the handler raised."""
    counts: dict[str, float] = msgspec.field(default_factory=dict)
    """The stream's counters that are not 0, by name."""
    loop_lag: float = 0.0
    """The longest delay of the event loop during the stream, in seconds."""
    first_audio: float | None = None
    """Seconds from the start of the stream until the first audio was sent."""
    slowest_answer: float | None = None
    """Seconds from the caller's last word to the answer, in the slowest turn."""
    turns: int = 0
    turns_interrupted: int = 0
    turns_failed: int = 0
    barge_ins: int = 0
    false_barge_ins: int = 0
    usage: dict[str, float] = msgspec.field(default_factory=dict)
    """Sums of `mediaserver.call.Usage` that are not 0, by unit."""
    recording: str | None = None
    """The file of the recording."""
    transcript: str | None = None
    """The file of the transcript."""
    cost: float | None = None
    """Of all turns; None if that of one is not known, or if there was none."""
    currency: str | None = None


RecordEvent: TypeAlias = CallBegan | TurnTaken | CallOver
"""What a line of a journal has."""

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(CallBegan | TurnTaken | CallOver)


def encode_events(events: Iterable[RecordEvent]) -> bytes:
    """Return events as lines."""
    return b"".join(_ENCODER.encode(event) + b"\n" for event in events)


def decode_events(lines: bytes) -> tuple[list[RecordEvent], int]:
    """Return the events of lines, and the number of lines that cannot be read."""
    events: list[RecordEvent] = []
    unreadable = 0
    for line in lines.split(b"\n"):
        if not line:
            continue
        try:
            events.append(_DECODER.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            unreadable += 1
    return events, unreadable
