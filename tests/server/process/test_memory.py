import gc

from mediaserver.server.process.memory import (
    MemoryReturn,
    settle_garbage_collection,
    trim_memory,
)


def test_memory_is_given_back_after_a_flood_of_connections() -> None:
    times: list[int] = []
    memory = MemoryReturn(lambda: times.append(1))
    memory.check(0, closed=400)
    assert not times
    memory.check(1, closed=600)
    assert len(times) == 1


def test_a_flood_that_goes_on_does_not_busy_the_server_with_it() -> None:
    times: list[float] = []
    memory = MemoryReturn(lambda: times.append(now))
    for second in range(60):
        now = float(second)
        memory.check(now, closed=second * 1000)
    assert len(times) == 12


def test_the_system_takes_memory_back() -> None:
    # Only that it can be called: what it gives back is the C library's decision.
    trim_memory()


def test_the_garbage_collector_passes_over_what_is_there_and_looks_less_often() -> None:
    before = gc.get_threshold()
    try:
        settle_garbage_collection()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] > 700
        assert gc.get_threshold()[1:] == before[1:]
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
