"""A pytest plugin that marks the tests whose outcome the machine could decide: `-m real`.

While a test runs, the plugin observes whether it

* opens a socket: binds or connects one of any family. A `socketpair` inside one loop does neither:
  order decides there, and not the machine;
* starts a process or a thread;
* reads a real clock: code of the project or of a test calls `time.time`, `monotonic` or
  `perf_counter`, sleeps, sets a timer on an event loop whose clock is real, or runs uvloop.
  The clock of `VirtualTimeLoop` is not real. `datetime.now` is not seen.

What a thread does counts only if the thread began with the test: one that an earlier test, or
a fixture, has left running says nothing about this one.

What a test did is kept in pytest's cache, and marks it in the next run; what a fixture did counts
for every test that uses it. A test that has never run counts as real.
"""

from __future__ import annotations

import asyncio
import copy
import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
import uvloop


_CACHE = "real/tests"
_PROPERTY = "real"
_OURS = ("mediaserver.", "audiocodecs.", "tests.")
_EVENTS = {
    "socket.bind": "socket",
    "socket.connect": "socket",
    "socket.sendto": "socket",
    "subprocess.Popen": "process",
    "os.fork": "process",
    "os.forkpty": "process",
    "os.posix_spawn": "process",
    "os.system": "process",
    "time.sleep": "clock",
}
_CLOCKS = [name + unit for name in ("time", "monotonic", "perf_counter") for unit in ("", "_ns")]


class Observer:
    """Notes what happens while a test, or the set-up of a fixture, runs."""

    def __init__(self, config: pytest.Config) -> None:
        self._is_worker = hasattr(config, "workerinput")
        self._cache = getattr(config, "cache", None)  # -p no:cacheprovider
        self._seen: list[set[str]] = []  # of the test, and of each fixture being set up in it
        self._others: frozenset[int] = frozenset()  # threads that were there before it
        self._fixtures: dict[tuple[str, str], set[str]] = {}
        self._known: dict[str, list[str]] = self._cache.get(_CACHE, {}) if self._cache else {}

    def note(self, what: str) -> None:
        """Note for the running test what it did."""
        if threading.get_ident() in self._others:
            return
        for seen in self._seen:
            seen.add(what)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None]:
        """Mark what the last run saw; have those that are chosen run `--rounds` times."""
        for item in items:
            reasons = self._known.get(item.nodeid, ["unknown"])
            if reasons:
                item.add_marker(pytest.mark.real(*reasons))
        yield
        first = list(items)
        for _ in range(config.getoption("rounds") - 1):
            items.extend(_again(item) for item in first)

    def pytest_collection_finish(self) -> None:
        """Begin to hear of events: to import the tests makes hundreds of thousands of them."""
        sys.addaudithook(_audit(self))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        """Observe a test from its set-up to its end."""
        self._seen = [set()]
        self._others = frozenset(sys._current_frames()) - {threading.get_ident()}
        try:
            return (yield)
        finally:
            self._seen = []
            vars(item)["_report_sections"].clear()  # what it printed is not the next round's

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """Observe the set-up of a fixture: it counts for later users too."""
        seen: set[str] = set()
        self._seen.append(seen)
        try:
            return (yield)
        finally:
            self._seen.pop()
            self._fixtures.setdefault((fixturedef.argname, fixturedef.baseid), set()).update(seen)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Send what was seen along with the report of the teardown."""
        report = yield
        if call.when == "teardown" and self._seen:
            seen = set(self._seen[0])
            for name in getattr(item, "fixturenames", ()):
                for (fixture, base), reasons in self._fixtures.items():
                    if fixture == name and item.nodeid.startswith(base):
                        seen |= reasons
            report.user_properties.append((_PROPERTY, sorted(seen)))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test that has ended did."""
        for name, value in report.user_properties:
            if name == _PROPERTY and isinstance(value, list):
                self._known[report.nodeid] = value

    def pytest_sessionfinish(self) -> None:
        """Keep what was learnt for the next run."""
        if not self._is_worker and self._cache:
            self._cache.set(_CACHE, self._known)


def _again(item: pytest.Item) -> pytest.Item:
    """Return the same test as another item: one that follows itself would not be set up again."""
    again = copy.copy(item)
    if isinstance(again, pytest.Function):
        again._initrequest()  # noqa: SLF001 - as pytest does for each item that it makes
    return again


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests be repeated without being read again."""
    parser.addoption(
        "--rounds",
        type=int,
        default=1,
        metavar="N",
        help="run all tests N times, one after another",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin to observe this process."""
    config.addinivalue_line(
        "markers", "real(*reasons): what the machine could decide; set by machine"
    )
    observer = Observer(config)
    config.pluginmanager.register(observer, "real-observer")
    for name in _CLOCKS:
        setattr(time, name, _observed(getattr(time, name), observer))
    _observe_timers(observer)
    _observe_threads(observer)
    _observe_uvloop(observer)


def _audit(observer: Observer) -> Callable[[str, tuple[object, ...]], None]:
    def audit(event: str, args: tuple[object, ...]) -> None:
        if event in _EVENTS:
            observer.note(_EVENTS[event])

    return audit


def _observed(clock: Callable[[], Any], observer: Observer) -> Callable[[], Any]:
    def read() -> Any:
        if sys._getframe(1).f_globals.get("__name__", "").startswith(_OURS):
            observer.note("clock")
        return clock()

    read.__name__ = read.__qualname__ = clock.__name__
    return read


def _observe_timers(observer: Observer) -> None:
    base = asyncio.BaseEventLoop
    call_at = base.call_at

    def observed(self: asyncio.BaseEventLoop, *args: Any, **options: Any) -> asyncio.TimerHandle:
        if type(self).time is base.time:
            observer.note("clock")
        return call_at(self, *args, **options)

    base.call_at = observed  # type: ignore[assignment, method-assign]


def _observe_threads(observer: Observer) -> None:
    start = threading.Thread.start

    def observed(self: threading.Thread) -> None:
        observer.note("thread")
        start(self)

    threading.Thread.start = observed  # type: ignore[method-assign]


def _observe_uvloop(observer: Observer) -> None:
    run_forever = uvloop.Loop.run_forever

    def observed(self: uvloop.Loop) -> None:
        observer.note("clock")
        run_forever(self)

    uvloop.Loop.run_forever = observed  # type: ignore[assignment, method-assign]
