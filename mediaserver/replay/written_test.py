"""Makes a test of a captured call."""

from __future__ import annotations

import filecmp
import json
import shutil
from keyword import iskeyword
from pathlib import Path
from typing import Final

from mediaserver.captures.capture_file import SUFFIX


_TEST: Final = '''"""{title}"""

from pathlib import Path

from {module} import {name}
from mediaserver.replay import replayed


CAPTURE = Path(__file__).with_name({capture})


def test_the_caller_hears_what_they_heard() -> None:
    comparison = replayed(CAPTURE, {name}{tolerance})
    assert comparison.heard_alike, comparison.difference
'''


def write_test(
    path: Path, capture: Path, handler: str, *, title: str, tolerance: float = 0.0
) -> Path:
    """Write a test that replays a capture in virtual time, and put the capture beside it.

    Args:
        path: the test's file.
        capture: the capture.
        handler: the handler, as package.module:Name.
        title: what the test is about, in a line.
        tolerance: seconds by which the same audio may be heard earlier or later.

    Returns:
        The copy of the capture.

    Raises:
        ValueError: `handler` does not name a module that a test can import.
        FileExistsError: there is such a test, or another capture by that name beside it.
        OSError: a file cannot be written.

    """
    copy = check_test(path, capture, handler)
    module, _, name = handler.partition(":")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not copy.exists():
        shutil.copy(capture, copy)  # with its mode: it is for its owner alone
    text = _TEST.format(
        title=title.replace('"', "'").replace("\\", "/"),
        module=module,
        name=name,
        capture=_quoted(copy.name),
        tolerance=f", tolerance={tolerance:g}" if tolerance else "",
    )
    path.write_text(text, encoding="utf-8")
    return copy


def check_test(path: Path, capture: Path, handler: str) -> Path:
    """Return where the copy of the capture will be, if `write_test` can write such a test.

    Raises:
        ValueError: `handler` does not name a module that a test can import.
        FileExistsError: there is such a test, or another capture by that name beside it.

    """
    module, _, name = handler.partition(":")
    parts = [*module.split("."), name]
    if parts[-2] == "py" or not all(map(str.isidentifier, parts)) or any(map(iskeyword, parts)):
        raise ValueError(
            f"a test imports its handler as package.module:Name, which {handler!r} is not"
        )
    copy = path.with_name(f"{capture.name.removesuffix(SUFFIX)}{SUFFIX}")
    if path.exists():
        raise FileExistsError(17, "there is a file by that name", str(path))
    if copy.exists() and not filecmp.cmp(copy, capture, shallow=False):
        raise FileExistsError(17, "there is a file by that name", str(copy))
    return copy


def _quoted(name: str) -> str:
    """Return a text as a literal of Python, in double quotes."""
    return json.dumps(name)
