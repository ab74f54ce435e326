import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mediaserver.dev.work_folder import work_folder


USED = """
import sys
from pathlib import Path
from mediaserver.dev.work_folder import work_folder
with work_folder(Path(sys.argv[1])) as folder:
    (folder / "captures").mkdir()
    (folder / "captures" / "call").write_text("")
    print("used", flush=True)
    sys.stdin.read()
"""


def used_by_another(parent: Path) -> subprocess.Popen[str]:
    """Start a process that uses a folder, and wait until it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", USED, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "used\n"
    return process


def test_a_folder_is_there_for_the_time_of_the_block(tmp_path: Path) -> None:
    with work_folder(tmp_path) as folder:
        (folder / "admin.sock").touch()
        assert [*tmp_path.iterdir()] == [folder]
    assert [*tmp_path.iterdir()] == []


def test_what_a_killed_command_has_left_is_deleted_at_the_next_start(tmp_path: Path) -> None:
    with used_by_another(tmp_path) as process:
        (theirs,) = tmp_path.iterdir()
        with work_folder(tmp_path):
            assert (theirs / "captures" / "call").exists()
        process.send_signal(signal.SIGKILL)
    assert theirs.exists()
    with work_folder(tmp_path) as folder:
        assert [*tmp_path.iterdir()] == [folder]


def test_what_is_nobodys_folder_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "below").mkdir(parents=True)
    (tmp_path / "mediaserver-dev-link").symlink_to(kept)
    (tmp_path / "mediaserver-dev-file").touch()
    with work_folder(tmp_path):
        pass
    assert (kept / "below").exists()
    assert (tmp_path / "mediaserver-dev-file").exists()


def test_the_folders_of_other_users_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "mediaserver-dev-1"
    theirs.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with work_folder(tmp_path):
        assert theirs.exists()


def test_a_folder_that_is_deleted_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[int] = []

    def lock(descriptor: int, how: int) -> None:
        locked.append(descriptor)
        if len(locked) == 1:
            (early,) = tmp_path.iterdir()
            early.rmdir()

    monkeypatch.setattr("mediaserver.dev.work_folder.fcntl.flock", lock)
    with work_folder(tmp_path) as folder:
        assert folder.is_dir()
    assert len(locked) == 2
