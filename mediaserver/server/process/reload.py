"""``--reload``: the server in a process of its own, started afresh when a source file changes.

For development: live calls are closed.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


class ReloadError(RuntimeError):
    """Reloading is not possible; it says what is missing."""


def run_reloading(command: Sequence[str], folder: Path) -> None:
    """Run `command` until it is interrupted, and start it again after each change.

    Args:
        command: The server's command line.
        folder: Watched with all that is in it, for Python and TOML files.

    Raises:
        ReloadError: watchfiles is not installed.

    """
    try:
        from watchfiles import PythonFilter, run_process
    except ModuleNotFoundError:
        raise ReloadError("--reload needs watchfiles: pip install 'mediaserver[reload]'") from None
    run_process(
        folder,
        target=shlex.join(command),
        target_type="command",
        watch_filter=PythonFilter(extra_extensions=(".toml",)),
    )
