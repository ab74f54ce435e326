from mediaserver.server.counters import ServerCounters


def test_refusals_are_counted_by_cause() -> None:
    counters = ServerCounters(set())
    for cause in ("full", "path", "full"):
        counters.refuse(cause)
    assert counters.refused == {"full": 2, "path": 1}


def test_live_calls_are_counted_where_they_are_kept() -> None:
    calls = {1, 2}
    counters = ServerCounters(calls)
    assert counters.calls_active == 2
    calls.clear()
    assert counters.calls_active == 0
