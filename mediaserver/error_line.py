"""An exception in one line, with the place in the application's code."""

from __future__ import annotations

import os
import site
import sysconfig
import traceback
from pathlib import Path
from typing import Final


_OURS: Final = Path(__file__).parent
_LIBRARIES: Final = tuple(
    Path(folder)
    for folder in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)


def error_line(error: BaseException) -> str:
    """Say in one line what was raised, and which line of the application's code led to it.

    As in ``my_agent.py:12: ValueError: there is no clip to play``. The type is left out where this
    package raised the exception, because its messages say enough.
    """
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{_shown(error.filename)}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    text = " ".join(str(error).split())
    if not text or not frames or not _is_ours(frames[-1].filename):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    for frame in reversed(frames):
        if not _is_ours(frame.filename) and not _is_library(frame.filename):
            return f"{_shown(frame.filename)}:{frame.lineno}: {text}"
    return text


def _is_ours(filename: str) -> bool:
    return Path(filename).is_relative_to(_OURS) or Path(filename).parent.name == "audiocodecs"


def _is_library(filename: str) -> bool:
    return filename.startswith("<") or any(map(Path(filename).is_relative_to, _LIBRARIES))


def _shown(filename: str) -> str:
    """Return a path as a person in the working directory would write it."""
    path = Path(filename)
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else filename
