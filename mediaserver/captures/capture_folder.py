"""The folder that captures are kept in, and the calls whose capture somebody asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from mediaserver.captures.capture_file import SUFFIX
from mediaserver.plivo.numbers import phone_key


_ASKED: Final = "next"
"""The folder below, with an empty file for each number whose next call is to be captured."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_NAME: Final = 60


class CaptureFolder:
    """A folder of captures, which several processes may share.

    Only its owner can read what is in it.

    Args:
        path: the folder; `prepare` makes it.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._asked: frozenset[str] = frozenset()

    def prepare(self) -> None:
        """Make the folder, and make sure that files can be written there.

        Raises:
            OSError: they cannot.

        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.path / _ASKED).mkdir(mode=0o700, exist_ok=True)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise PermissionError(13, "files cannot be written there", str(self.path))
        self.look()

    def look(self) -> None:
        """Read which numbers are asked for, so that `claim` need not."""
        with suppress(OSError):
            self._asked = frozenset(os.listdir(self.path / _ASKED))

    def ask_for(self, number: str) -> None:
        """Have the next call from or to a number captured, by one of the processes.

        Raises:
            ValueError: it is neither a phone number nor a SIP address.
            OSError: the folder is not there, or cannot be written to.

        """
        key = _asked_name(number)
        if key is None:
            raise ValueError(f"{number!r} is neither a phone number nor a SIP address")
        (self.path / _ASKED / key).touch(mode=0o600)

    def claim(self, numbers: Iterable[str | None]) -> bool:
        """Tell whether a call with these numbers was asked for; if so, the request is fulfilled.

        It knows what was asked for when `look` was called last. Of several processes that claim a
        number at the same time, one is told so.
        """
        if not self._asked:
            return False
        claimed = False
        for key in self._asked.intersection(map(_asked_name, filter(None, numbers))):
            self._asked -= {key}
            with suppress(OSError):
                (self.path / _ASKED / key).unlink()
                claimed = True
        return claimed

    def name(self, began: str, call: str) -> str:
        """Return the name of a call's file."""
        stamp = re.sub(r"[-:]", "", began.partition(".")[0])
        return f"{stamp}-{name_of_call(call)}"

    def create(self, name: str) -> Path:
        """Create a file by a name, with a number if there is one by that name.

        Raises:
            OSError: it cannot be created.

        """
        for number in range(1, 1_000):
            path = self.path / f"{name}{f'-{number}' if number > 1 else ''}{SUFFIX}"
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                return path
        raise FileExistsError(17, "there are a thousand captures by that name", name)

    def append(self, path: Path, data: bytes) -> None:
        """Write data to the end of a file that `create` created.

        Raises:
            OSError: it cannot be written, or the file was deleted: without its beginning, the rest
                could not be read.

        """
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            while data:
                data = data[os.write(file, data) :]
        finally:
            os.close(file)

    def captures(self, call: str | None = None) -> list[Path]:
        """Return the files of the captures, or of those of one call, the newest first.

        Raises:
            OSError: the folder cannot be read.

        """
        names = (name for name in os.listdir(self.path) if name.endswith(SUFFIX))
        paths = [self.path / name for name in sorted(names, reverse=True)]
        if call is None:
            return paths
        wanted = name_of_call(call)
        return [path for path in paths if captured_call(path) == wanted]

    def make_room(self, most_bytes: int, *, keep: Collection[Path] = ()) -> tuple[int, int]:
        """Delete the oldest captures until all of them take no more than `most_bytes`.

        Args:
            most_bytes: what they may take of the disk.
            keep: those that are being written, which are not deleted.

        Returns:
            What they take then, in bytes, and how many were deleted.

        Raises:
            OSError: the folder cannot be read.

        """
        found: list[tuple[float, int, Path]] = []
        for entry in os.scandir(self.path):
            if entry.name.endswith(SUFFIX):
                # Another process may have deleted it.
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    found.append((status.st_mtime, status.st_size, Path(entry.path)))
        total = sum(size for _, size, _ in found)
        deleted = 0
        for _, size, path in sorted(found):
            if total <= most_bytes:
                break
            if path in keep:
                continue
            with suppress(FileNotFoundError):
                path.unlink()
                deleted += 1
            total -= size
        return total, deleted


def _asked_name(number: str) -> str | None:
    key = phone_key(number)
    return None if key is None else name_of_call(key)


def name_of_call(call: str) -> str:
    """Return how a call, or a number, is written in the names of files."""
    return _UNSAFE.sub("_", call)[:_LONGEST_NAME]


def captured_call(path: Path) -> str:
    """Return the call that a capture is of, as it is written in the name of its file."""
    call = path.name.removesuffix(SUFFIX).partition("-")[2]
    # Of several streams of one call, the second and further ones have a number.
    return re.sub(r"(?<=[^-]{12})-\d{1,3}$", "", call)
