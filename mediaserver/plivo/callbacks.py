"""Requests that Plivo sends to a server's URLs during a call, to read and, in the sandbox, write.

=======================  ==========================================================================
`AnswerRequest`          asks what to do with a call: reply with XML
`RingRequest`            a dialled call rings
`MachineDetection`       tells whether a machine answered, during the call
`HangupRequest`          a call has ended
`StreamStatusRequest`    something happened to a media stream
=======================  ==========================================================================

Names of fields and kinds of events are read in any case, and unknown fields are kept. Numbers stay
as they came: with ``+``, without, or as a SIP URI.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias, get_args


_MAX_FIELD: Final = 4096
"""Characters of one field."""
_MAX_ID: Final = 256
"""Characters of an id, a number or a name."""

StatusKind: TypeAlias = Literal[
    "connected", "stopped", "timeout", "failed", "degraded", "dropped", "played", "cleared"
]
"""What happened to a stream, whatever the scheme calls it."""

Scheme: TypeAlias = Literal["A", "B"]
"""How status callbacks are written: A as seen in live ones, B as in Plivo's guide."""

STATUS_KINDS: Final[tuple[StatusKind, ...]] = get_args(StatusKind)


class CallbackError(ValueError):
    """The request is not one that Plivo sends; the message says what is missing or wrong."""


class UnknownEventError(CallbackError):
    """A status callback of an unknown kind."""


class _Fields:
    """A form whose names are read in any case."""

    def __init__(self, form: Mapping[str, str]) -> None:
        self._values = {name.lower(): value.strip() for name, value in form.items()}

    def text(self, name: str, longest: int = _MAX_FIELD) -> str | None:
        """Return a field without outer whitespace, or None if it is empty or missing."""
        value = self._values.get(name.lower())
        if not value:
            return None
        if len(value) > longest:
            raise CallbackError(
                f"{name} has {len(value)} characters; at most {longest} are accepted"
            )
        return value


def _called(name: str, *, longest: int = _MAX_FIELD) -> Any:
    return field(default=None, metadata={"name": name, "longest": longest})


@dataclass(frozen=True, kw_only=True)
class CallCallback:
    """Fields of all requests about a call."""

    event: ClassVar[str] = ""

    call_id: str
    """CallUUID."""
    caller: str | None = _called("From", longest=_MAX_ID)
    called: str | None = _called("To", longest=_MAX_ID)
    direction: str | None = _called("Direction", longest=_MAX_ID)
    """``inbound`` or ``outbound``."""
    call_status: str | None = _called("CallStatus", longest=_MAX_ID)
    """Such as ``ringing``, ``in-progress`` or ``completed``."""
    request_id: str | None = _called("RequestUUID", longest=_MAX_ID)
    """What ``POST /Call/`` returned for a call that was placed."""
    a_leg_id: str | None = _called("ALegUUID", longest=_MAX_ID)
    a_leg_request_id: str | None = _called("ALegRequestUUID", longest=_MAX_ID)
    parent_call_id: str | None = _called("ParentCallUUID", longest=_MAX_ID)
    """The call that dialled this leg."""
    account_id: str | None = _called("ParentAuthID", longest=_MAX_ID)
    forwarded_from: str | None = _called("ForwardedFrom", longest=_MAX_ID)
    caller_name: str | None = _called("CallerName", longest=_MAX_ID)
    stir_verification: str | None = _called("STIRVerification", longest=_MAX_ID)
    session_start: str | None = _called("SessionStart", longest=_MAX_ID)
    bill_rate: str | None = _called("BillRate", longest=_MAX_ID)
    headers: Mapping[str, str] = field(default_factory=dict)
    """SIP headers of the call, with Plivo's names: ``SIP-H-…`` and ``X-PH-…``."""
    fields: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Every field as it came."""

    @classmethod
    def parse(cls, form: Mapping[str, str]) -> Self:
        """Read a request's form or query.

        Raises:
            CallbackError: The request is not one that Plivo sends.

        """
        given = _Fields(form)
        values: dict[str, Any] = {"fields": dict(form)}
        kind: Any = cls  # mypy does not know that classes are hashable
        for attribute, name, longest in _read(kind):
            text = given.text(name, longest)
            values[attribute] = _whole(text) if attribute in _WHOLE else text
        values["headers"] = {
            name: value
            for name, value in form.items()
            if name.lower().startswith(("sip-h-", "x-ph-"))
        }
        return cls(call_id=_required(given, "CallUUID", "an answer URL"), **values)

    def to_form(self) -> dict[str, str]:
        """Write the request as Plivo does."""
        form = {"CallUUID": self.call_id, "Event": self.event}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.metadata and value is not None:
                form[each.metadata["name"]] = str(value)
        return {**form, **self.headers}


@dataclass(frozen=True, kw_only=True)
class AnswerRequest(CallCallback):
    """Asks what to do with a call; a redirect and a transfer send it too."""

    event = "StartApp"

    @property
    def is_outbound(self) -> bool:
        """Whether the call was placed through Plivo's API."""
        return (self.direction or "").lower() == "outbound"


@dataclass(frozen=True, kw_only=True)
class RingRequest(CallCallback):
    """A dialled call rings."""

    event = "Ring"


@dataclass(frozen=True, kw_only=True)
class MachineDetection(CallCallback):
    """Tells whether a machine answered, during the call."""

    event = "MachineDetection"

    machine: str | None = _called("Machine", longest=_MAX_ID)

    @property
    def is_machine(self) -> bool:
        """Whether a machine answered."""
        return (self.machine or "").lower() == "true"


@dataclass(frozen=True, kw_only=True)
class HangupRequest(CallCallback):
    """A call has ended."""

    event = "Hangup"

    hangup_cause: str | None = _called("HangupCause")
    hangup_cause_name: str | None = _called("HangupCauseName")
    hangup_cause_code: int | None = _called("HangupCauseCode")
    """Plivo's: 4000 is a normal end, 4010 the end of the XML."""
    hangup_source: str | None = _called("HangupSource")
    duration: int | None = _called("Duration")
    """Seconds since the call was answered."""
    bill_duration: int | None = _called("BillDuration")
    total_cost: str | None = _called("TotalCost")
    start_time: str | None = _called("StartTime")
    answer_time: str | None = _called("AnswerTime")
    end_time: str | None = _called("EndTime")


_WHOLE: Final = frozenset(("hangup_cause_code", "duration", "bill_duration"))


@cache
def _read(kind: type[Any]) -> Sequence[tuple[str, str, int]]:
    """Return the attributes that are read, with the name and the longest text of each field."""
    return tuple(
        (each.name, each.metadata["name"], each.metadata["longest"])
        for each in fields(kind)
        if each.metadata
    )


def _whole(text: str | None) -> int | None:
    """Read a whole number; None if it is unreadable, because no call is refused for that."""
    if text is None or not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]*)?", text):
        return None
    return int(float(text))


def _required(given: _Fields, name: str, sent_to: str) -> str:
    value = given.text(name, _MAX_ID)
    if value is None:
        raise CallbackError(
            f"{name} is missing. Plivo sends CallUUID, From, To and Event to {sent_to},"
            " as a form (POST) or in the query (GET)"
        )
    return value


# Streams.

# Values of Event in a status callback, in lower case and with letters only.
_KINDS: Final[Mapping[str, StatusKind]] = {
    "startstream": "connected",
    "stopstream": "stopped",
    "droppedstream": "dropped",
    "degradedstream": "degraded",
    "playedstream": "played",
    "clearedaudio": "cleared",
    "started": "connected",
    "stopped": "stopped",
    "failed": "failed",
    "timeout": "timeout",
    "connected": "connected",
    "dropped": "dropped",
    "degraded": "degraded",
    "played": "played",
    "cleared": "cleared",
    "streamconnected": "connected",
    "streamstarted": "connected",
    "streamstopped": "stopped",
    "streamtimeout": "timeout",
    "streamfailed": "failed",
}

_SCHEME_A: Final[Mapping[StatusKind, str]] = {
    "connected": "StartStream",
    "stopped": "StopStream",
    "timeout": "StopStream",
    "failed": "DroppedStream",
    "dropped": "DroppedStream",
    "degraded": "DegradedStream",
    "played": "PlayedStream",
    "cleared": "ClearedAudio",
}
_SCHEME_B: Final[Mapping[StatusKind, str]] = {
    "connected": "started",
    "stopped": "stopped",
    "timeout": "stopped",
    "failed": "failed",
    "dropped": "failed",
    "degraded": "degraded",
    "played": "played",
    "cleared": "cleared",
}
_REASONS_A: Final[Mapping[StatusKind, str]] = {"timeout": "Stream timeout"}
_REASONS_B: Final[Mapping[StatusKind, str]] = {
    "stopped": "completed",
    "timeout": "timeout",
    "failed": "connection_failed",
    "dropped": "connection_dropped",
}


@dataclass(frozen=True, kw_only=True)
class StreamStatusRequest:
    """Something happened to a media stream; sent to its status callback URL.

    Do not rely on a request about the stream's end: none may come when the whole call ended.
    """

    kind: StatusKind
    call_id: str
    """CallUUID."""
    stream_id: str
    name: str | None = None
    """Name of the checkpoint that was played."""
    error: str | None = None
    """What went wrong, in Plivo's words."""
    reason: str | None = None
    """Why the stream ended, in Plivo's words."""
    duration: int | None = None
    """Seconds that the stream lasted."""
    timestamp: datetime | None = None
    """When it happened, in UTC."""
    service_url: str | None = None
    caller: str | None = None
    called: str | None = None
    direction: str | None = None
    account_id: str | None = None
    status_callback_url: str | None = None
    status_callback_method: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Every field as it came."""

    @property
    def idempotency_key(self) -> tuple[str, ...]:
        """Return a key that two requests about the same occurrence share.

        A stream can be degraded several times, and a checkpoint's name can be used again, so the
        key of these two kinds includes the time.
        """
        told = ""
        if self.kind == "degraded":
            told = str(self.timestamp or self.error or "")
        elif self.kind == "played":
            told = str(self.timestamp or "")
        return (self.stream_id, self.kind, self.name or "", told)

    @classmethod
    def parse(cls, form: Mapping[str, str]) -> Self:
        """Read a status callback of either scheme.

        Raises:
            CallbackError: The request is not a status callback.

        """
        given = _Fields(form)
        call_id = _required(given, "CallUUID", "a status callback URL, with StreamID,")
        stream_id = _required(given, "StreamID", "a status callback URL, with StreamID,")
        event = given.text("Event", _MAX_ID) or ""
        kind = _KINDS.get(_letters(event))
        if kind is None:
            raise UnknownEventError(
                f"Plivo sends no Event {event!r:.40} to a status callback URL, but"
                f" {', '.join(dict.fromkeys((*_SCHEME_A.values(), *_SCHEME_B.values())))}"
            )
        reason = given.text("StatusReason")
        error = given.text("Error")
        if kind == "stopped" and "timeout" in _letters(f"{reason} {error}"):
            kind = "timeout"
        return cls(
            kind=kind,
            call_id=call_id,
            stream_id=stream_id,
            name=given.text("Name"),
            error=error,
            reason=reason,
            duration=_whole(given.text("Duration")),
            timestamp=_time(given.text("Timestamp")),
            service_url=given.text("ServiceURL"),
            caller=given.text("From", _MAX_ID),
            called=given.text("To", _MAX_ID),
            direction=given.text("Direction", _MAX_ID),
            account_id=given.text("ParentAuthID", _MAX_ID),
            status_callback_url=given.text("status_callback_url"),
            status_callback_method=given.text("status_callback_method", _MAX_ID),
            fields=dict(form),
        )

    def to_form(self, scheme: Scheme = "A") -> dict[str, str]:
        """Write the callback as Plivo does.

        Neither scheme has an event for each `kind`: both use one for `failed` and `dropped`.
        Plivo's guide names only three events of scheme B; the others are written as their `kind`.

        Raises:
            ValueError: The scheme is unknown.

        """
        if scheme == "A":
            form: dict[str, str | None] = {
                "CallUUID": self.call_id,
                "Error": self.error,
                "Event": _SCHEME_A[self.kind],
                "From": _bare(self.caller),
                "Name": self.name,
                "ParentAuthID": self.account_id,
                "ServiceURL": self.service_url,
                "StatusReason": self.reason or _REASONS_A.get(self.kind),
                "StreamID": self.stream_id,
                "Timestamp": self._utc("%Y-%m-%d %H:%M:%S"),
                "To": _bare(self.called),
                "status_callback_method": self.status_callback_method,
                "status_callback_url": self.status_callback_url,
            }
        elif scheme == "B":
            form = {
                "CallUUID": self.call_id,
                "StreamID": self.stream_id,
                "Event": _SCHEME_B[self.kind],
                "Timestamp": self._utc("%Y-%m-%dT%H:%M:%SZ"),
                "From": _plus(self.caller),
                "To": _plus(self.called),
                "Direction": self.direction,
                "Name": self.name,
                "Error": self.error,
                "StatusReason": _REASONS_B.get(self.kind),
                "Duration": None if self.duration is None else str(self.duration),
            }
        else:
            raise ValueError(f"a scheme is 'A' or 'B', not {scheme!r:.20}")
        return {name: value for name, value in form.items() if value is not None}

    def _utc(self, form: str) -> str | None:
        return None if self.timestamp is None else self.timestamp.astimezone(UTC).strftime(form)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _bare(number: str | None) -> str | None:
    return number and number.removeprefix("+")


def _plus(number: str | None) -> str | None:
    return f"+{number}" if number and number.isdecimal() else number


# Any request.

Callback: TypeAlias = (
    AnswerRequest | RingRequest | MachineDetection | HangupRequest | StreamStatusRequest
)

ENDED_STATUSES: Final = frozenset(
    ("completed", "busy", "failed", "timeout", "no-answer", "cancel", "canceled", "cancelled")
)
"""Values of ``CallStatus`` of a call that is over."""


def parse_callback(form: Mapping[str, str]) -> Callback:
    """Read any of these requests; its fields tell which one it is.

    The URL does not tell: Plivo sends all of them to the answer URL unless other URLs are set.

    Raises:
        CallbackError: The request is not one that Plivo sends.

    """
    given = _Fields(form)
    event = _letters(given.text("Event") or "")
    if event in _KINDS or given.text("StreamID", _MAX_ID):
        return StreamStatusRequest.parse(form)
    if event == "hangup" or (given.text("CallStatus") or "").lower() in ENDED_STATUSES:
        return HangupRequest.parse(form)
    if event == "ring":
        return RingRequest.parse(form)
    if event == "machinedetection":
        return MachineDetection.parse(form)
    return AnswerRequest.parse(form)
