"""The outcome of an outbound call, derived from what Plivo reports."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import msgspec

from mediaserver.plivo.callbacks import HangupRequest
from mediaserver.plivo.models import Call


MACHINE_DETECTED: Final = 9100
"""Plivo's hangup cause code of a call that was ended because a machine answered."""


class Outcome(StrEnum):
    """The outcome of a call."""

    ANSWERED = "answered"
    """The handler ran, and no machine was detected."""
    MACHINE = "machine"
    """A machine answered; `DialReport.handled` tells whether the handler ran."""
    BUSY = "busy"
    """The line was busy, or the call was rejected."""
    NO_ANSWER = "no answer"
    """Nobody answered while it rang."""
    CANCELLED = "cancelled"
    """It was given up before it was answered."""
    FAILED = "failed"
    """Plivo could not place the call, or no stream came; `DialReport.cause` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialReport:
    """The report of an outbound call.

    Attributes:
        to: The number that was called.
        from_: The caller id.
        call_id: Plivo's CallUUID.
        outcome: The outcome in a word.
        cause: Plivo's name for why it ended.
        cause_code: Plivo's code for why it ended; 4000 is a normal end.
        source: Plivo's name for who ended it.
        rang: Whether Plivo reported that it rang.
        machine: Whether a machine answered; None if that was not asked or not detected.
        handled: Whether the handler ran.
        handler_error: The exception of the handler, as text; None if it did not fail.
        seconds_to_answer: Seconds from the request to the answer; None if nobody answered.
        duration: Duration in seconds, by Plivo's count.
        bill_duration: Seconds that Plivo charges for.
        total_cost: Plivo's charge in US dollars.

    """

    to: str
    from_: str
    call_id: str | None
    outcome: Outcome
    cause: str | None = None
    cause_code: int | None = None
    source: str | None = None
    rang: bool = False
    machine: bool | None = None
    handled: bool = False
    handler_error: str | None = None
    seconds_to_answer: float | None = None
    duration: int | None = None
    bill_duration: int | None = None
    total_cost: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the handler ran and did not fail."""
        return self.handled and self.handler_error is None

    def to_json(self) -> str:
        """Return the report as a line of JSON."""
        fields = {name.rstrip("_"): value for name, value in dataclasses.asdict(self).items()}
        return msgspec.json.encode(fields).decode()


@dataclass(frozen=True, slots=True)
class End:
    """The end of a call, as reported by Plivo."""

    cause: str | None = None
    code: int | None = None
    source: str | None = None
    duration: int | None = None
    bill_duration: int | None = None
    total_cost: str | None = None
    words: tuple[str | None, ...] = ()
    """Status and causes, the most reliable first."""

    @classmethod
    def told(cls, hangup: HangupRequest) -> Self:
        """Return the end from the hangup webhook."""
        return cls(
            cause=hangup.hangup_cause_name or hangup.hangup_cause,
            code=hangup.hangup_cause_code,
            source=hangup.hangup_source,
            duration=hangup.duration,
            bill_duration=hangup.bill_duration,
            total_cost=hangup.total_cost,
            words=(hangup.call_status, hangup.hangup_cause_name, hangup.hangup_cause),
        )

    @classmethod
    def recorded(cls, call: Call) -> Self:
        """Return the end from the record of a call."""
        return cls(
            cause=call.hangup_cause_name,
            code=call.hangup_cause_code,
            source=call.hangup_source,
            duration=call.call_duration,
            bill_duration=call.bill_duration,
            total_cost=call.total_amount,
            words=(call.hangup_cause_name,),
        )


_BY_CODE: Final = {
    1000: Outcome.CANCELLED,
    3000: Outcome.NO_ANSWER,
    3010: Outcome.BUSY,
    3020: Outcome.BUSY,
    6000: Outcome.NO_ANSWER,
    6010: Outcome.NO_ANSWER,
    MACHINE_DETECTED: Outcome.MACHINE,
}
_BY_WORD: Final = {
    "busy": Outcome.BUSY,
    "noanswer": Outcome.NO_ANSWER,
    "timeout": Outcome.NO_ANSWER,
    "cancel": Outcome.CANCELLED,
    "canceled": Outcome.CANCELLED,
    "cancelled": Outcome.CANCELLED,
    "userbusy": Outcome.BUSY,
    "callrejected": Outcome.BUSY,
    "nouserresponse": Outcome.NO_ANSWER,
    "originatorcancel": Outcome.CANCELLED,
    "busyline": Outcome.BUSY,
    "rejected": Outcome.BUSY,
    "machinedetected": Outcome.MACHINE,
}


def unanswered(end: End) -> Outcome:
    """Return the outcome of a call that was not answered.

    Plivo's code takes precedence, then its status, then the older telephony names.
    """
    if end.code in _BY_CODE:
        return _BY_CODE[end.code]
    for word in end.words:
        outcome = _BY_WORD.get(re.sub(r"[^a-z]", "", (word or "").lower()))
        if outcome is not None:
            return outcome
    return Outcome.FAILED
