from mediaserver.server.process.memory import MemoryReturn, trim_memory


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
