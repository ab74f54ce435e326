"""``python -m mediaserver`` is the ``mediaserver`` command."""

from __future__ import annotations

import signal

from mediaserver.interruption import quiet_interruption


def launch() -> None:
    """Run the command that the arguments name."""
    # A shell has background jobs ignore interruptions.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with quiet_interruption():
        from mediaserver import cli
    cli.main()


if __name__ == "__main__":
    launch()
