"""``--reload``: run the server in a child process and restart it when a source file changes.

For development: a restart closes live calls.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from pathlib import Path


class ReloadError(RuntimeError):
    """Reloading is not possible; the message says what is missing."""


def run_reloading(command: Sequence[str], folder: Path) -> None:
    """Run `command` until interrupted, and restart it after each change.

    Args:
        command: The server's command line.
        folder: Watched recursively for changes of Python and TOML files.

    Raises:
        ReloadError: watchfiles is not installed.

    """
    try:
        from watchfiles import PythonFilter, run_process
    except ModuleNotFoundError:
        raise ReloadError("--reload needs watchfiles: pip install '.[reload]'") from None
    before = signal.getsignal(signal.SIGHUP)
    if before is signal.SIG_DFL:
        # A server outlives the closing of its terminal; one under development must not.
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        run_process(
            folder,
            target=shlex.join(command),
            target_type="command",
            watch_filter=PythonFilter(extra_extensions=(".toml",)),
        )
    finally:
        signal.signal(signal.SIGHUP, before)
