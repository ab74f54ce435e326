"""An exception in a line, with the place in the application's code."""

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


def error_lines(error: BaseException) -> list[str]:
    """Say what was raised, and which line of the application's code led to it.

    As in ``my_agent.py:12: ValueError: there is no clip to play``. Where this package raised the
    exception, the type is left out, because its messages say enough, and each line of the message
    is one of the result. All else is one line. Where the exception leads to no such line of code,
    its cause may.
    """
    if isinstance(error, SyntaxError) and error.filename is not None:
        return [f"{_shown(error.filename)}:{error.lineno}: {type(error).__name__}: {error.msg}"]
    places = _places(error)
    said = _said(error)
    texts = said.splitlines()
    if not texts or not places or not _is_ours(places[-1][0]):
        text = " ".join(said.split())
        texts = [f"{type(error).__name__}: {text}" if text else type(error).__name__]
    for filename, line in (*reversed(places), *reversed(_places(error.__cause__))):
        if not _is_ours(filename) and not _is_library(filename):
            return [f"{_shown(filename)}:{line}: {text}" for text in texts]
    return texts


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # The application's own.
        return ""


def _places(error: BaseException | None) -> list[tuple[str, int]]:
    trace = error.__traceback__ if error is not None else None
    return [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(trace)]


def _is_ours(filename: str) -> bool:
    return Path(filename).is_relative_to(_OURS) or Path(filename).parent.name == "audiocodecs"


def _is_library(filename: str) -> bool:
    return filename.startswith("<") or any(map(Path(filename).is_relative_to, _LIBRARIES))


def _shown(filename: str) -> str:
    """Return a path as a person in the working directory would write it."""
    return filename.removeprefix(f"{os.getcwd()}{os.sep}")
