"""Why calls end: Plivo's hangup causes and sources.

Codes and names are those of Plivo's page on hangup causes. `HangupCause` of a callback is the
older telephony word, `HangupCauseName` and `HangupCauseCode` are Plivo's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mediaserver.sandbox.records.records import CallRecord


class HangupSource(StrEnum):
    """The party that ended a call."""

    CALLER = "Caller"
    CALLEE = "Callee"
    PLIVO = "Plivo"
    CARRIER = "Carrier"
    API_REQUEST = "API Request"
    ANSWER_XML = "Answer XML"
    ERROR = "Error"


@dataclass(frozen=True, slots=True)
class HangupCause:
    """One row of the table.

    Attributes:
        code: Plivo's number.
        name: Plivo's name.
        telephony: The older word, as in `NORMAL_CLEARING`.
        unanswered: `CallStatus` of an outbound call that ends with this cause unanswered.

    """

    code: int
    name: str
    telephony: str
    unanswered: str = "failed"


CANCELED = HangupCause(1000, "Canceled", "ORIGINATOR_CANCEL", "cancel")
OUT_OF_SERVICE = HangupCause(2010, "Destination Out Of Service", "DESTINATION_OUT_OF_ORDER")
NO_ANSWER = HangupCause(3000, "No Answer", "NO_ANSWER", "no-answer")
BUSY = HangupCause(3010, "Busy Line", "USER_BUSY", "busy")
REJECTED = HangupCause(3020, "Rejected", "CALL_REJECTED", "busy")
NORMAL = HangupCause(4000, "Normal Hangup", "NORMAL_CLEARING", "completed")
XML_ENDED = HangupCause(4010, "End Of XML Instructions", "NORMAL_CLEARING", "completed")
INTERNAL_ERROR = HangupCause(5010, "Internal Error", "NORMAL_TEMPORARY_FAILURE")
SCHEDULED = HangupCause(6000, "Scheduled Hangup", "ALLOTTED_TIMEOUT", "cancel")
RING_TIMEOUT = HangupCause(6010, "Ring Timeout Reached", "NO_ANSWER", "no-answer")
LOST_RACE = HangupCause(9000, "Lost Race", "LOSE_RACE", "cancel")
MACHINE = HangupCause(9100, "Machine Detected", "NORMAL_CLEARING", "completed")

UNREACHABLE = {
    "answer": HangupCause(7011, "Error Reaching Answer URL", "NORMAL_CLEARING"),
    "action": HangupCause(7012, "Error Reaching Action URL", "NORMAL_CLEARING"),
    "transfer": HangupCause(7013, "Error Reaching Transfer URL", "NORMAL_CLEARING"),
    "redirect": HangupCause(7014, "Error Reaching Redirect URL", "NORMAL_CLEARING"),
}
"""The URL of a document did not answer, or not with a 2xx status."""

INVALID_XML = {
    "answer": HangupCause(8011, "Invalid Answer XML", "NORMAL_CLEARING"),
    "action": HangupCause(8012, "Invalid Action XML", "NORMAL_CLEARING"),
    "transfer": HangupCause(8013, "Invalid Transfer XML", "NORMAL_CLEARING"),
    "redirect": HangupCause(8014, "Invalid Redirect XML", "NORMAL_CLEARING"),
}
"""The URL of a document answered with something that is not a valid document."""


@dataclass(frozen=True, slots=True)
class Hangup:
    """How one call ended."""

    cause: HangupCause
    source: HangupSource

    def note(self, record: CallRecord) -> None:
        """Write it into the record of the call."""
        unanswered = record.direction == "outbound" and record.answered is None
        record.status = self.cause.unanswered if unanswered else "completed"
        record.hangup_cause = self.cause.telephony
        record.hangup_cause_code = self.cause.code
        record.hangup_cause_name = self.cause.name
        record.hangup_source = self.source.value
