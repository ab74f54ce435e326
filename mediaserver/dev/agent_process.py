"""Runs a command of mediaserver for as long as the process lives that has started it.

    python -m mediaserver.dev.agent_process serve my_agent.py

That process keeps one end of a pipe, and names the other in the variable `LIFELINE`. When it ends,
however that happens, its end is closed, and this process ends as well.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading
import time
from typing import Final


LIFELINE: Final = "MEDIASERVER_DEV_LIFELINE"
"""The environment variable that holds the descriptor of the pipe."""

_STOP_SECONDS: Final = 5.0
"""Seconds for the command to stop, after which it is ended."""


def end_with_starter(descriptor: int) -> None:
    """Have this process end once the other end of a pipe is closed."""
    os.set_inheritable(descriptor, False)

    def wait() -> None:
        os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_STOP_SECONDS)
        os._exit(1)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


if __name__ == "__main__":
    if (given := os.environ.pop(LIFELINE, None)) is not None:
        end_with_starter(int(given))
    runpy.run_module("mediaserver", run_name="__main__", alter_sys=True)
