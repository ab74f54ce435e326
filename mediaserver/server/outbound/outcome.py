"""What became of a call that was placed, and how to tell from what Plivo says."""

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
    """What became of a call."""

    ANSWERED = "answered"
    """A person answered, as far as is known, and the handler ran."""
    MACHINE = "machine"
    """A machine answered; `DialReport.handled` says whether the handler ran all the same."""
    BUSY = "busy"
    """The line was busy, or the call was rejected."""
    NO_ANSWER = "no answer"
    """It rang for as long as it may."""
    CANCELLED = "cancelled"
    """It was given up before it was answered."""
    FAILED = "failed"
    """Plivo could not call, or nothing came of the answer; `DialReport.cause` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialReport:
    """What became of a call that was placed.

    Attributes:
        to: Who was called.
        from_: The caller id.
        call_id: Plivo's CallUUID.
        outcome: In a word.
        cause: Why it ended, in Plivo's words.
        cause_code: Plivo's code for that: 4000 is a normal end.
        source: Who ended it, in Plivo's words.
        rang: Whether it was heard to ring.
        machine: Whether a machine answered; None if that was not asked or not found out.
        handled: Whether the handler ran.
        handler_error: What the handler failed with.
        seconds_to_answer: From the request to the answer, None if there was none.
        duration: Seconds that the call lasted, as Plivo counts them.
        bill_duration: Seconds that Plivo charges for.
        total_cost: What Plivo charges, in US dollars.

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
    """How a call ended, as Plivo says it."""

    cause: str | None = None
    code: int | None = None
    source: str | None = None
    duration: int | None = None
    bill_duration: int | None = None
    total_cost: str | None = None
    words: tuple[str | None, ...] = ()
    """Status and causes, in the order in which they are to be believed."""

    @classmethod
    def told(cls, hangup: HangupRequest) -> Self:
        """Read the hangup webhook."""
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
        """Read the record of a call that has ended."""
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
    """Return what became of a call that was not answered.

    Plivo's code is believed first, then its status, then the older telephony words.
    """
    if end.code in _BY_CODE:
        return _BY_CODE[end.code]
    for word in end.words:
        outcome = _BY_WORD.get(re.sub(r"[^a-z]", "", (word or "").lower()))
        if outcome is not None:
            return outcome
    return Outcome.FAILED
