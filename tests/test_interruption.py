"""Interruptions while modules are imported."""

import signal
import subprocess
import sys

import pytest

from mediaserver.interruption import quiet_interruption


def test_an_interruption_ends_the_process_at_once_and_says_nothing() -> None:
    code = (
        "import signal\n"
        "from mediaserver.interruption import quiet_interruption\n"
        "try:\n"
        "    with quiet_interruption():\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "finally:\n"
        "    print('cleaned up')\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"")


def test_afterwards_interruptions_are_what_they_were() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ImportError), quiet_interruption():
        raise ImportError
    assert signal.getsignal(signal.SIGINT) is before
