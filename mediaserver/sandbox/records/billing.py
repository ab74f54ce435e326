"""What calls and streams cost: the billing fields of Plivo's objects, from configured rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from mediaserver.sandbox.records.records import CallRecord, StreamRecord
from mediaserver.sandbox.records.timestamps import seconds_begun


_CENT_OF_A_MILL = Decimal("0.00001")


@dataclass(frozen=True, slots=True)
class Bill:
    """One bill.

    Attributes:
        duration: Whole seconds.
        rounded: Seconds that are charged: `duration` rounded up to the next increment.
        amount: US dollars with five places, as in `"0.00300"`.

    """

    duration: int
    rounded: int
    amount: str


@dataclass(frozen=True, slots=True)
class Tariff:
    """A price in US dollars a minute, charged in increments of `increment` seconds."""

    per_minute: Decimal
    increment: int = 60

    def __post_init__(self) -> None:
        if not self.per_minute.is_finite() or self.per_minute < 0 or self.increment < 1:
            raise ValueError(
                "a tariff must be 0 or more dollars a minute in increments of 1 s or more,"
                f" not {self.per_minute} in {self.increment} s"
            )

    @property
    def rate(self) -> str:
        """The rate as Plivo writes it."""
        return str(self.per_minute.quantize(_CENT_OF_A_MILL, ROUND_HALF_UP))

    def bill(self, seconds: float) -> Bill:
        """Return the bill for `seconds`; a second or an increment that has begun counts whole."""
        duration = seconds_begun(seconds)
        rounded = math.ceil(duration / self.increment) * self.increment
        amount = (self.per_minute * rounded / 60).quantize(_CENT_OF_A_MILL, ROUND_HALF_UP)
        return Bill(duration, rounded, str(amount))


@dataclass(frozen=True, slots=True)
class Rates:
    """What calls and streams cost. The default for streams is that of the example in the pages."""

    outbound: Tariff = Tariff(Decimal("0.01000"))
    inbound: Tariff = Tariff(Decimal("0.00550"))
    stream: Tariff = Tariff(Decimal("0.00300"))

    def call(self, direction: str) -> Tariff:
        """Return the tariff of calls of a direction."""
        return self.inbound if direction == "inbound" else self.outbound

    def bill_call(self, record: CallRecord) -> None:
        """Note what a call that has ended costs; one that was not answered costs nothing."""
        if record.answered is not None and record.ended is not None:
            bill = self.call(record.direction).bill(record.ended - record.answered)
            record.bill_duration = bill.duration
            record.billed_duration = bill.rounded
            record.total_amount = bill.amount

    def bill_stream(self, record: StreamRecord) -> None:
        """Note what a stream that has ended costs; one that never connected costs nothing."""
        if record.started is not None and record.ended is not None:
            bill = self.stream.bill(record.ended - record.started)
            record.bill_duration = bill.duration
            record.rounded_bill_duration = bill.rounded
            record.billed_amount = bill.amount
