"""A Unix socket to listen on, which only the server's user can reach."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final


_BACKLOG: Final = 64


class UnixSocket(socket.socket):
    """A listening Unix socket. Closing it removes its file.

    A file that a killed server has left is replaced. The file's mode is 0600, or 0666 where a token
    decides who is let in. Its folder must be one in which nobody else can put another file in its
    place.

    Args:
        path: the path of the file. Its folder is created, for the user alone, if it does not exist.
        shared: whether every user of the machine may connect.

    Raises:
        OSError: the file cannot be created, is another kind of file, or another server has it; or
            the folder is another user's.

    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = path
        self._inode: int | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_folder(path.parent)
            _remove_stale(path)
            before = os.umask(0o111 if shared else 0o177)
            try:
                self.bind(str(path))
            finally:
                os.umask(before)
            self._inode = path.stat().st_ino
            self.listen(_BACKLOG)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket, and remove its file unless another server has replaced it."""
        with contextlib.suppress(OSError):
            if self._inode is not None and self._path.stat().st_ino == self._inode:
                self._path.unlink()
        self._inode = None
        super().close()


def _check_folder(folder: Path) -> None:
    status = folder.stat()
    shared = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    # Who has made a link to a folder can have it lead elsewhere.
    owners = {status.st_uid, folder.lstat().st_uid}
    if shared or not owners <= {os.geteuid(), 0}:
        raise PermissionError(errno.EACCES, "other users can replace what is in its folder")


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError(errno.EADDRINUSE, "another server has this socket")
