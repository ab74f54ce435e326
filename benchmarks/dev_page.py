"""The command ``mediaserver dev`` in a process of its own."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import httpx

from benchmarks.errors import BenchmarkError
from benchmarks.root import ROOT


_START_SECONDS = 60.0
_STOP_SECONDS = 15.0


@contextmanager
def developing(
    spec: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run the command in a folder, and yield the URL of its page.

    Raises:
        BenchmarkError: It did not start; the message ends with what it printed.

    """
    paths = os.pathsep.join([str(ROOT), str(ROOT / "codecs")])
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mediaserver", "dev", spec, "--no-browser", "--port", "0"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            yield _url(process)
        except BenchmarkError as error:
            log.seek(0)
            tail = log.read().decode(errors="replace").strip().splitlines()[-8:]
            raise BenchmarkError("\n    ".join([str(error), *tail])) from None
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


def await_agent(url: str, starts: int) -> None:
    """Wait until the agent takes calls, after it was started so often.

    Raises:
        BenchmarkError: It did not within a minute.

    """
    ends = monotonic() + _START_SECONDS
    state: dict[str, object] = {}
    while monotonic() < ends:
        with httpx.stream("GET", f"{url}agent", trust_env=False, timeout=_START_SECONDS) as answer:
            for line in answer.iter_lines():
                state = json.loads(line or "{}")
                if state.get("state") == "ready" and state["starts"] == starts:
                    return
                if monotonic() > ends:
                    break
    raise BenchmarkError(f"the agent was not started {starts} times: {state}")


def _url(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    ends, printed = monotonic() + _START_SECONDS, b""
    while b"\n" not in printed:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, ends - monotonic()))
        piece = os.read(process.stdout.fileno(), 1000) if ready else b""
        if not piece:
            raise BenchmarkError("mediaserver dev told no address")
        printed += piece
    found = re.search(r"http://\S+", printed.decode())
    if found is None:
        raise BenchmarkError(f"mediaserver dev told no address: {printed!r}")
    return found.group()
