"""What an interruption does while modules are imported."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_interruption() -> Iterator[None]:
    """End the process at once, with status 130, if it is interrupted meanwhile.

    An interrupted import raises all kinds of errors, and there is nothing to clean up yet.
    """
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
