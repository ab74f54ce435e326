from typing import Any

from mediaserver.agents import Echo
from mediaserver.routes import Route, Routes
from mediaserver.server.fleet.directory import FleetDirectory
from mediaserver.server.fleet.fleet import Fleet
from mediaserver.server.joining import join_fleet
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings


def test_without_redis_a_process_belongs_to_no_fleet() -> None:
    runtime, own = Runtime(Settings(), Routes(Route(Echo))), object()
    widen: Any = join_fleet(runtime)
    assert widen(own) is own
    assert runtime.fleet is None


def test_with_redis_it_does_and_knows_the_calls_of_all() -> None:
    settings = Settings(redis="redis://127.0.0.1:1", secret="s" * 16)  # type: ignore[arg-type]
    runtime, own = Runtime(settings, Routes(Route(Echo))), object()
    widen: Any = join_fleet(runtime, "a/1")
    assert isinstance(widen(own), FleetDirectory)
    fleet = runtime.fleet
    assert isinstance(fleet, Fleet)
    assert (fleet.own, fleet.machine, runtime.neighbours) == (own, "a/1", fleet)
