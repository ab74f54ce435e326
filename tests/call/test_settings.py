from typing import Any

import pytest

from mediaserver.call import CallSettings


def test_the_defaults_are_valid() -> None:
    assert CallSettings().lead == 0.6


def test_low_water_must_not_be_above_high_water() -> None:
    with pytest.raises(ValueError, match=r"queue_low \(3.0 s\) must not be above queue_high \(2.0"):
        CallSettings(queue_low=3.0)


@pytest.mark.parametrize(
    "name",
    [
        "message_length",
        "inbox_length",
        "messages_per_second",
        "bytes_per_second",
        "burst_seconds",
    ],
)
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_lengths_must_be_positive(name: str, value: float) -> None:
    invalid: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} must be more than 0, not {value}"):
        CallSettings(**invalid)


def test_queue_must_hold_something() -> None:
    with pytest.raises(ValueError, match="queue_high must be more than 0, not 0"):
        CallSettings(queue_high=0, queue_low=0)


def test_the_lead_is_at_least_a_frame() -> None:
    with pytest.raises(ValueError, match=r"lead must be at least 0.02 s.*not 0.01"):
        CallSettings(lead=0.01)
