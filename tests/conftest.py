"""What holds for every test: hypothesis' profiles, and the logs of the process."""

import gc
import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Generator, Iterator

import pytest
import structlog
from blockbuster import BlockingError, blockbuster_ctx
from coverage import Coverage
from hypothesis import HealthCheck, settings


pytest_plugins = ["tests.covered", "tests.real"]

# Tests send Ctrl-C and SIGHUP to processes of their own. A shell that runs the tests in the
# background has them ignore the first, and nohup the second.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples in every run, and no limit that a busy machine can exceed. `make own` tries more
# of them. For a longer search with new examples: pytest --hypothesis-profile=search.
settings.register_profile(
    "quick",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=25,
)
settings.register_profile("gate", settings.get_profile("quick"), max_examples=100)
settings.register_profile(
    "search", settings.get_profile("quick"), derandomize=False, max_examples=5000
)
settings.load_profile("quick")


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker that tests in several folders carry."""
    config.addinivalue_line("markers", "postgres: needs PostgreSQL, as from `make records`")


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Run one worker more than there are cores: some tests wait, for processes and real time."""
    return (yield) + 1


# Collecting tests makes millions of objects that stay, and hardly any garbage.
gc.disable()


def pytest_collection_finish() -> None:
    """Have garbage collections pass over what stays: the tests, and all that they imported."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have coverage note which file of tests covers what, for tools/own_tests.py."""
    coverage, file = Coverage.current(), item.nodeid.partition("::")[0]
    if coverage and file != _covering.get(coverage):
        coverage.switch_context(file)
        _covering[coverage] = file


_covering: dict[Coverage, str] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that took its whole limit, even where one of its tasks swallowed the failure."""
    report = yield
    option = item.config.getoption("timeout", None)
    limit = float(item.config.getini("timeout") if option is None else option)
    # The limit counts from the start of the set-up.
    if report.passed and call.when == "call" and 0 < 0.95 * limit <= call.duration:
        report.outcome = "failed"
        report.longrepr = f"took {call.duration:.0f} s; its limit is {limit:g} s"
    return report


def logs_as_they_were() -> Iterator[None]:
    """Undo what a test, or the command it ran, did to the logs of the whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    config = structlog.get_config()
    hooks = warnings.showwarning, sys.unraisablehook, threading.excepthook
    yield
    warnings.showwarning, sys.unraisablehook, threading.excepthook = hooks
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers] or handlers
    root.setLevel(level)
    structlog.configure(**config)


logs_of_a_test = pytest.fixture(autouse=True)(logs_as_they_were)
# What a fixture for a whole module does, no test undoes.
logs_of_a_module = pytest.fixture(autouse=True, scope="module")(logs_as_they_were)


# Where our code may block an event loop, and why.
_MAY_BLOCK = [
    # The handlers write to standard error, and pytest's to nowhere.
    ("io.TextIOWrapper.write", "/logging/__init__.py", "emit"),
    ("io.BufferedWriter.write", "/logging/__init__.py", "emit"),
    # A server that ends wakes its watchdog's thread, and waits for it to return.
    ("threading.Lock.acquire", "/server/process/watchdog.py", "stop"),
    # One file, when a call comes that somebody asked to have captured.
    ("os.unlink", "/captures/capture_folder.py", "claim"),
    # Two files of this machine, now and then.
    ("os.stat", "/server/process/tls.py", "_stat"),
    ("io.TextIOWrapper.read", "/server/process/tls.py", "_read_expiry"),
    # A server that ends removes the file of its socket.
    ("os.stat", "/server/process/unix_socket.py", "close"),
    ("os.unlink", "/server/process/unix_socket.py", "close"),
    # The kernel answers reads of /proc at once.
    ("io.BufferedReader.read", "prometheus_client/process_collector.py", "collect"),
    ("io.TextIOWrapper.read", "prometheus_client/process_collector.py", "collect"),
    ("os.listdir", "prometheus_client/process_collector.py", "collect"),
    # What went wrong at a start is told by its file, as seen from the working directory.
    ("os.getcwd", "mediaserver/error_lines.py", "_shown"),
    # The sandbox's framework looks for the source of an endpoint once.
    ("os.stat", "fastapi/routing.py", "_extract_endpoint_context"),
]


@pytest.fixture(scope="module")
def _blocked() -> Iterator[list[str]]:
    """Note while the tests of a module run where our code blocks an event loop.

    To begin and to end this for each test would take longer than most tests.
    """
    found: list[str] = []

    class NotedError(BlockingError):
        """Is noted, because whoever is called by our code may catch it."""

        def __init__(self, function: str) -> None:
            super().__init__(function)
            found.append("".join([f"{self}\n", *traceback.format_stack(limit=12)]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blockbuster.blockbuster.BlockingError", NotedError)
        with blockbuster_ctx(["mediaserver", "audiocodecs"]) as blockbuster:
            for function, file, caller in _MAY_BLOCK:
                blockbuster.functions[function].can_block_in(file, caller)
            for blocking in blockbuster.functions.values():
                # What would run in a thread outside of virtual time.
                blocking.can_block_in("/testing/virtual_time.py", "run_in_executor")
            yield found
    assert not found, "\n".join(found)


@pytest.fixture
def nothing_blocks(_blocked: list[str]) -> Iterator[None]:
    """Fail if our code blocks an event loop: reads a file, sleeps, waits for a lock."""
    yield
    found = _blocked.copy()
    _blocked.clear()
    assert not found, "\n".join(found)
