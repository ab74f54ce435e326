from __future__ import annotations

from mediaserver.sandbox.records import timestamps


def test_times_are_written_as_plivo_writes_them() -> None:
    epoch = 1_728_913_413.136962

    assert timestamps.spaced(epoch) == "2024-10-14 13:43:33"
    assert timestamps.spaced_precise(epoch) == "2024-10-14 13:43:33.136962"
    assert timestamps.offset(epoch) == "2024-10-14 13:43:33+00:00"
    assert timestamps.offset_precise(epoch) == "2024-10-14 13:43:33.136962+00:00"
