"""Programs that run beside the tests, started as a user would start them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


ROOT = Path(__file__).parent.parent
"""Folder of the project."""

LISTENING = r"listening at (\S+)"
"""What the servers in this folder print once they accept connections."""


class Process:
    """A program from its start to its end. Its output is kept, and shown if a test fails.

    Args:
        command: Program and arguments; `python` and `mediaserver` are those of the environment
            that runs the tests.
        ready: Expression that the output matches once the program is ready; its group is `url`.
        environment: Variables to set.
        folder: Its working directory.
        seconds: How long it may take to become ready.

    Attributes:
        url: Where it listens.

    Raises:
        RuntimeError: It ended, or was not ready in time; the message has its output.

    """

    def __init__(
        self,
        *command: str,
        ready: str = LISTENING,
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
        seconds: float = 60.0,
    ) -> None:
        self._command = _program(command)
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._over = False
        self._process = subprocess.Popen(
            self._command,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = self.wait_for(ready, seconds)
        except BaseException:
            self.kill()
            raise

    @property
    def output(self) -> str:
        """Everything it has printed."""
        return "".join(self._lines)

    def wait_for(self, expression: str, seconds: float = 30.0) -> str:
        """Wait until the output matches, and return the first group of the match."""
        pattern = re.compile(expression)

        def found() -> re.Match[str] | None:
            return pattern.search(self.output)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._over, seconds)
        match = found()
        if match is None:
            raise RuntimeError(
                f"{' '.join(self._command)} did not print {expression!r}:\n{self.output}"
            )
        return match[1]

    def kill(self) -> None:
        """Kill it without a warning."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it as a supervisor does."""
        self._end(signal.SIGTERM)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        # pytest shows this with a failed test.
        print(f"--- {' '.join(self._command)}\n{self.output}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _end(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(5)


def _program(command: Sequence[str]) -> list[str]:
    name, *arguments = command
    return [str(Path(sys.executable).with_name(name)), *arguments]
