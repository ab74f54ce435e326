"""Makes text and JSON that came from outside safe to print to a terminal."""

from __future__ import annotations

import json
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


def printable_json(text: str) -> str:
    r"""Return a JSON document, which reads the same, without what a terminal would obey.

    JSON itself escapes ESC, but neither DEL nor the control characters of C1, one of which begins
    a terminal's commands as ESC does. Line ends between values are kept.
    """
    return "\n".join(
        line
        if line.isprintable()
        else "".join(
            each if each.isprintable() or each in _KEPT else json.dumps(each)[1:-1] for each in line
        )
        for line in text.split("\n")
    )
