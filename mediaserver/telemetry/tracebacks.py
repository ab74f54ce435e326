"""Tracebacks of bounded length, so that logging one takes about a millisecond at most.

A traceback has no bound of its own. Recursion makes a thousand frames, and an exception that is
created once and raised in every call keeps the frames of all of them. Rendering is done on the
event loop, where each frame takes about 30 µs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from traceback import StackSummary, TracebackException, walk_tb
from types import TracebackType
from typing import Final


OUTER_FRAMES: Final = 30
"""Frames of each exception that are logged from its outer end."""

INNER_FRAMES: Final = 10
"""Frames that are logged from its inner end, if it has more."""


def render_traceback(
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None],
) -> str:
    """Return the traceback of an exception as Python prints it, without the middle of a long one.

    The text ends with how many frames are left out.
    """
    error = exc_info[1]
    shown = TracebackException.from_exception(error, limit=OUTER_FRAMES)
    left_out = sum(_add_inner(each.__traceback__, part.stack) for each, part in _each(error, shown))
    text = "".join(shown.format()).rstrip("\n")
    if left_out:
        text += f"\n({left_out} frames in the middle are left out)"
    return text


def _each(
    error: BaseException, shown: TracebackException
) -> Iterator[tuple[BaseException, TracebackException]]:
    """Return an exception, its causes and the members of groups, each with what is shown of it."""
    pairs: list[tuple[BaseException | None, TracebackException | None]] = [(error, shown)]
    for each, part in pairs:
        if each is None or part is None:
            continue
        yield each, part
        pairs += (each.__cause__, part.__cause__), (each.__context__, part.__context__)
        if isinstance(each, BaseExceptionGroup):
            pairs += zip(each.exceptions, part.exceptions or (), strict=False)


def _add_inner(trace: TracebackType | None, stack: StackSummary) -> int:
    """Add the innermost frames, and return how many are left out before them."""
    inner = deque(enumerate(islice(walk_tb(trace), OUTER_FRAMES, None)), INNER_FRAMES)
    stack += StackSummary.extract(frame for _, frame in inner)
    return inner[0][0] if inner else 0
