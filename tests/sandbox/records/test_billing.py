from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.sandbox.records.billing import Rates, Tariff


def test_the_example_of_the_pages() -> None:
    bill = Rates().stream.bill(27)

    assert (bill.duration, bill.rounded, bill.amount) == (27, 60, "0.00300")


@pytest.mark.parametrize(
    ("seconds", "rounded", "amount"),
    [
        (0, 0, "0.00000"),
        (0.2, 60, "0.01000"),
        (60, 60, "0.01000"),
        (60.0000001, 60, "0.01000"),
        (60.01, 120, "0.02000"),
        (-1, 0, "0.00000"),
    ],
)
def test_begun_minutes_count_whole(seconds: float, rounded: int, amount: str) -> None:
    bill = Tariff(Decimal("0.01")).bill(seconds)

    assert (bill.rounded, bill.amount) == (rounded, amount)


@given(
    st.floats(0, 100_000),
    st.integers(1, 120),
    st.decimals(0, 10, places=5, allow_nan=False),
)
def test_a_bill_is_for_no_less_than_the_time(seconds: float, increment: int, rate: Decimal) -> None:
    bill = Tariff(rate, increment).bill(seconds)

    assert seconds - 1e-5 <= bill.duration <= bill.rounded < bill.duration + increment
    assert bill.rounded % increment == 0
    assert abs(Decimal(bill.amount) - rate * bill.rounded / 60) <= Decimal("0.000005")


@pytest.mark.parametrize(("rate", "increment"), [("-0.1", 60), ("1", 0)])
def test_a_tariff_that_cannot_be_is_refused(rate: str, increment: int) -> None:
    with pytest.raises(ValueError, match="0 or more dollars"):
        Tariff(Decimal(rate), increment)


def test_inbound_and_outbound_calls_have_their_own_tariffs() -> None:
    rates = Rates(Tariff(Decimal("0.02")), Tariff(Decimal("0.01")))

    assert (rates.call("outbound").rate, rates.call("inbound").rate) == ("0.02000", "0.01000")


def test_a_rate_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not NaN"):
        Tariff(Decimal("nan"))
