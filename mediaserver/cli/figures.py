"""The figures of a report, printed as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def print_figures(figures: Mapping[str, str]) -> None:
    """Print a line for each."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in figures.items():
        table.add_row(name, value)
    Console().print(table)


def listed(texts: Iterable[str]) -> str:
    """Return texts as a list of words; `none` if there is no text."""
    return ", ".join(texts) or "none"


def paused(count: int, seconds: float, longest: float) -> str:
    """Tell how many pauses there were, and how long, in seconds."""
    return f"{count}, {seconds:.2f} s, the longest {longest:.2f} s" if count else "none"
