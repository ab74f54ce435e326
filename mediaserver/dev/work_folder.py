"""The folder in which `mediaserver dev` keeps what is forgotten at its end.

A command that is killed cannot delete its folder: the next one does. A lock on the folder tells
whether its command lives, since a process's number is given to another one after its end.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final


_PREFIX: Final = "mediaserver-dev-"


@contextmanager
def work_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder for the time of the block, and delete those that killed commands have left.

    Args:
        parent: where it is made; by default the folder for temporary files.

    """
    parent = parent or Path(tempfile.gettempdir())
    for folder in parent.glob(f"{_PREFIX}*"):
        # It may be gone, or be locked by the command that uses it.
        with suppress(OSError):
            _delete_left(folder)
    folder, descriptor = _locked_folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _delete_left(folder: Path) -> None:
    descriptor = _opened(folder)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """Make a folder; return it with the descriptor that locks it until it is closed."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        with suppress(FileNotFoundError):
            descriptor = _opened(folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Another command may have taken it for one that was left, before it was locked.
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
