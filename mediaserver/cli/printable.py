"""Makes text that came from outside safe to print to a terminal."""

from __future__ import annotations

from typing import Final


_KEPT: Final = frozenset("\u200c\u200d\u00a0\u202f\u3000")
"""Joiners and spaces that scripts need, which Python does not count as printable."""


def printable(text: str) -> str:
    r"""Return a line of text without what a terminal would obey: ESC becomes ``\x1b``.

    This escapes control characters, line ends, and the marks that reverse the direction of text. A
    caller chooses some of what a stream's fields say, and could else clear or rewrite a screen.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in _KEPT else ascii(each)[1:-1] for each in text
    )
