"""``python -m mediaserver`` is the ``mediaserver`` command."""

from __future__ import annotations

import os
import signal


def launch() -> None:
    """Run the command that the arguments name."""
    # An interrupted import raises all kinds of errors, and there is nothing to clean up yet.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from mediaserver import cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


if __name__ == "__main__":
    launch()
