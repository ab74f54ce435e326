"""The records of calls, streams, applications and numbers.

They are dataclasses, and rows of a database. Times are Unix seconds.
"""

from __future__ import annotations

import math

from sqlalchemy import JSON
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from mediaserver.sandbox.records.timestamps import seconds_begun


class Record(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """Base of all records."""


class CallRecord(Record):
    """One call or leg; `status` is Plivo's CallStatus, such as queued, ringing or completed.

    `headers` are the `X-PH-…` parameters of its callbacks.
    """

    __tablename__ = "calls"

    call_uuid: Mapped[str] = mapped_column(primary_key=True)
    request_uuid: Mapped[str] = mapped_column(index=True)
    direction: Mapped[str]
    from_number: Mapped[str]
    to_number: Mapped[str]
    initiated: Mapped[float]
    rate: Mapped[str]
    status: Mapped[str] = mapped_column(default="queued", index=True)
    api_id: Mapped[str] = mapped_column(default="")
    caller_name: Mapped[str] = mapped_column(default="")
    parent_call_uuid: Mapped[str | None] = mapped_column(default=None)
    headers: Mapped[dict[str, str]] = mapped_column(JSON, default_factory=dict)
    hangup_url: Mapped[str | None] = mapped_column(default=None)
    hangup_method: Mapped[str] = mapped_column(default="POST")
    answered: Mapped[float | None] = mapped_column(default=None)
    ended: Mapped[float | None] = mapped_column(default=None)
    hangup_cause: Mapped[str | None] = mapped_column(default=None)
    hangup_cause_code: Mapped[int | None] = mapped_column(default=None)
    hangup_cause_name: Mapped[str | None] = mapped_column(default=None)
    hangup_source: Mapped[str | None] = mapped_column(default=None)
    bill_duration: Mapped[int] = mapped_column(default=0)
    billed_duration: Mapped[int] = mapped_column(default=0)
    total_amount: Mapped[str] = mapped_column(default="0.00000")

    @property
    def live(self) -> bool:
        """Whether the call has not ended yet."""
        return self.ended is None

    @property
    def seconds(self) -> int:
        """How long it was after its answer; a second that has begun counts whole."""
        if self.answered is None or self.ended is None:
            return 0
        return seconds_begun(self.ended - self.answered)

    @property
    def end_shown(self) -> float | None:
        """The end that is shown: `seconds` after the whole second of the answer."""
        if self.answered is None or self.ended is None:
            return self.ended
        return math.floor(self.answered) + self.seconds


class StreamRecord(Record):
    """One audio stream; `started` is None until its server has accepted it."""

    __tablename__ = "streams"

    stream_id: Mapped[str] = mapped_column(primary_key=True)
    call_uuid: Mapped[str] = mapped_column(index=True)
    service_url: Mapped[str]
    bidirectional: Mapped[bool]
    audio_track: Mapped[str]
    content_type: Mapped[str]
    created: Mapped[float]
    status: Mapped[str] = mapped_column(default="initiated")
    status_callback_url: Mapped[str | None] = mapped_column(default=None)
    status_callback_method: Mapped[str] = mapped_column(default="POST")
    started: Mapped[float | None] = mapped_column(default=None)
    ended: Mapped[float | None] = mapped_column(default=None)
    end_reason: Mapped[str | None] = mapped_column(default=None)
    bill_duration: Mapped[int] = mapped_column(default=0)
    rounded_bill_duration: Mapped[int] = mapped_column(default=0)
    billed_amount: Mapped[str] = mapped_column(default="0.00000")

    @property
    def live(self) -> bool:
        """Whether the stream has not ended yet."""
        return self.ended is None

    @property
    def seconds(self) -> int:
        """How long it was after its start; a second that has begun counts whole."""
        if self.started is None or self.ended is None:
            return 0
        return seconds_begun(self.ended - self.started)

    @property
    def end_shown(self) -> float | None:
        """The end that is shown: `seconds` after the whole second of the start."""
        if self.started is None or self.ended is None:
            return self.ended
        return math.floor(self.started) + self.seconds


class ApplicationRecord(Record):
    """An application: the URLs that the numbers assigned to it use."""

    __tablename__ = "applications"

    app_id: Mapped[str] = mapped_column(primary_key=True)
    app_name: Mapped[str]
    answer_url: Mapped[str] = mapped_column(default="")
    answer_method: Mapped[str] = mapped_column(default="POST")
    hangup_url: Mapped[str] = mapped_column(default="")
    hangup_method: Mapped[str] = mapped_column(default="POST")
    fallback_answer_url: Mapped[str] = mapped_column(default="")
    fallback_method: Mapped[str] = mapped_column(default="POST")
    message_url: Mapped[str] = mapped_column(default="")
    message_method: Mapped[str] = mapped_column(default="POST")
    default_app: Mapped[bool] = mapped_column(default=False)
    default_endpoint_app: Mapped[bool] = mapped_column(default=False)
    public_uri: Mapped[bool] = mapped_column(default=False)


class NumberRecord(Record):
    """A phone number of the account, and the application that it is assigned to."""

    __tablename__ = "numbers"

    number: Mapped[str] = mapped_column(primary_key=True)
    added: Mapped[float]
    app_id: Mapped[str | None] = mapped_column(default=None)
    alias: Mapped[str | None] = mapped_column(default=None)


class HeartbeatRecord(Record):
    """When a process with live calls was last known to run; the table has one row."""

    __tablename__ = "heartbeat"

    time: Mapped[float]
    name: Mapped[str] = mapped_column(primary_key=True, default="exchange")
