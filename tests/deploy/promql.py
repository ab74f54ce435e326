"""Which metrics an expression of PromQL uses."""

import re


_WORDS = {"and", "or", "unless", "on", "ignoring", "by", "without", "group_left", "group_right"}
_WORDS |= {"bool", "offset"}

_LEFT_OUT = [
    r'"[^"]*"',
    r"'[^']*'",
    r"\{[^}]*\}",
    r"\[[^\]]*\]",
    r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)",
]


def metric_names(expression: str) -> set[str]:
    """Return the names of the metrics and recorded figures in an expression."""
    for pattern in _LEFT_OUT:
        expression = re.sub(pattern, " ", expression)
    names = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])", expression)
    return {name for name in names if name not in _WORDS}
