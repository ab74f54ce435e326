"""Run the tests on a busy machine: `make stress`.

While a busy loop holds each core, the whole suite runs a few times, then the tests that are marked
`real` many times (see tests/real.py). At the end the whole suite runs once on a single core without
load. Prints a line for each run of pytest, and the tests that failed. The exit status is 1 if a run
failed.

    python -m tools.stress [--whole 3] [--marked 20] [--pinned 1] [--limit MINUTES] [TESTS …]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


ROOT = Path(__file__).parent.parent
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-rfE", "--color=no", "-n", "auto")
# Ends with the process that started it, however that ends.
_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", re.MULTILINE)
_NO_TESTS = 5
_AT_ONCE = 5
"""Rounds of the `real` tests in one run of pytest, because reading the tests takes long."""


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run of pytest."""

    seconds: float
    status: int | None
    """pytest's; None if the time was up."""
    output: str

    @property
    def passed(self) -> bool:
        """Whether every test passed, in time."""
        return self.status in (0, _NO_TESTS)

    @property
    def failed(self) -> list[str]:
        """The tests that did not pass."""
        return _FAILED.findall(self.output)

    def __str__(self) -> str:
        last = self.output.strip().rpartition("\n")[2].strip("= ")
        return f"{self.seconds:5.0f} s  {'not over in time' if self.status is None else last}"


def run(arguments: Sequence[str], limit: float) -> Run:
    """Run pytest for at most `limit` seconds."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*_PYTEST, *arguments],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        status: int | None = None
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _kill(process)
        output.seek(0)
        return Run(time.monotonic() - began, status, output.read())


def files_with_real_tests() -> list[str]:
    """Return the files with tests that are real, or were never run, so that no other is read."""
    try:
        seen = json.loads((ROOT / ".pytest_cache/v/real/tests").read_text(encoding="utf-8"))
    except FileNotFoundError:
        seen = {}
    known = {name.partition("::")[0] for name in seen}
    real = {name.partition("::")[0] for name, reasons in seen.items() if reasons}
    files = (path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("tests/**/test_*.py")))
    return [file for file in files if file in real or file not in known]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


@contextmanager
def busy(cores: set[int]) -> Iterator[None]:
    """Hold each of the cores with a loop that does nothing."""
    loops = []
    try:
        for core in cores:
            loops.append(subprocess.Popen([sys.executable, "-c", _BUSY]))
            os.sched_setaffinity(loops[-1].pid, {core})
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this process, and what it starts, on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


class Stress:
    """The rounds, and what failed in them."""

    def __init__(self, tests: Sequence[str], limit: float) -> None:
        self._tests = tests
        self._limit = limit
        self._failed: Counter[str] = Counter()
        self._bad_runs = 0

    def repeat(
        self,
        title: str,
        count: int,
        *options: str,
        tests: Sequence[str] = (),
        at_once: int = 1,
    ) -> None:
        """Run the tests, by default those asked for, `count` times; `at_once` in a run."""
        for first in range(0, count, at_once):
            rounds = min(at_once, count - first)
            asked = [*options, f"--rounds={rounds}", *(tests or self._tests)]
            done = run(asked, rounds * self._limit)
            self._failed.update(done.failed)
            print(f"{title} {first + rounds:2}/{count}: {done}", flush=True)
            if not done.passed:
                self._bad_runs += 1
                log = Path(tempfile.gettempdir()) / f"stress-{os.getpid()}-{self._bad_runs}.log"
                log.write_text(done.output, encoding="utf-8")
                print(f"  its output is in {log}", flush=True)

    def summary(self) -> int:
        """Print what failed how often, and return the exit status."""
        for test, times in self._failed.most_common():
            print(f"{times:3} times: {test}")
        print(f"{self._bad_runs} runs failed" if self._bad_runs else "every round passed")
        return int(self._bad_runs > 0)


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="stress", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--whole", type=int, default=3, help="rounds of all tests, under load")
    parser.add_argument("--marked", type=int, default=20, help="rounds of `real` tests, under load")
    parser.add_argument("--pinned", type=int, default=1, help="rounds of all tests on one core")
    parser.add_argument("--limit", type=float, default=30, help="minutes that a round may take")
    parser.add_argument("tests", nargs="*", help="paths of tests; all, if left out")
    chosen = parser.parse_args()
    # As at the end of a shell's job: what has been started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cores = os.sched_getaffinity(0)
    stress = Stress(chosen.tests, chosen.limit * 60)
    with busy(cores):
        # First, because these runs see which tests are real.
        stress.repeat("all tests, under load   ", chosen.whole)
        marked = chosen.tests or files_with_real_tests()
        stress.repeat(
            "real tests, under load  ", chosen.marked, "-m", "real", tests=marked, at_once=_AT_ONCE
        )
    with pinned(min(cores)):
        stress.repeat("all tests, on one core  ", chosen.pinned)
    return stress.summary()


if __name__ == "__main__":
    sys.exit(main())
