"""The command line in processes of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TypeAlias

from typer.testing import Result


AUTH_ID = "MAABCDEFGHIJKLMNOPQR"
AUTH_TOKEN = "a token for these tests"

Run: TypeAlias = Callable[..., Result]


@contextmanager
def mediaserver(*arguments: str, reads: str, **environment: str) -> Iterator[IO[str]]:
    """Run the command in a process of its own, and give what it writes to stdout or stderr."""
    with subprocess.Popen(
        [sys.executable, "-m", "mediaserver", *arguments],
        stdout=subprocess.PIPE if reads == "stdout" else subprocess.DEVNULL,
        stderr=subprocess.PIPE if reads == "stderr" else subprocess.DEVNULL,
        env=os.environ | environment,
        text=True,
    ) as process:
        try:
            stream = process.stdout if reads == "stdout" else process.stderr
            assert stream is not None
            yield stream
        finally:
            process.kill()
