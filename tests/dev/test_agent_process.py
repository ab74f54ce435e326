import os
import subprocess
import sys
import threading

import pytest

from mediaserver.dev.agent_process import LIFELINE, end_with_starter


def test_a_process_ends_with_its_starter(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[object, ...]] = []
    ended = threading.Event()

    def end(status: int) -> None:
        done.append(("exit", status))
        ended.set()

    monkeypatch.setattr("os.kill", lambda pid, number: done.append(("kill", pid, number.name)))
    monkeypatch.setattr("time.sleep", lambda seconds: done.append(("sleep", seconds)))
    monkeypatch.setattr("os._exit", end)
    theirs, ours = os.pipe()
    end_with_starter(theirs)
    assert not ended.is_set()
    os.close(ours)
    assert ended.wait(60)
    os.close(theirs)
    # A command that does not heed the signal is ended after a while.
    assert done == [("kill", os.getpid(), "SIGTERM"), ("sleep", 5.0), ("exit", 1)]


def test_it_runs_a_command_of_mediaserver() -> None:
    theirs, ours = os.pipe()
    command = [sys.executable, "-m", "mediaserver.dev.agent_process", "no-such-command"]
    ran = subprocess.run(
        command,
        env={**os.environ, LIFELINE: str(theirs)},
        pass_fds=(theirs,),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert ran.returncode == 2
    assert "no-such-command" in ran.stderr
