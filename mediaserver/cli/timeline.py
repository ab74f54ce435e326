"""Prints the timeline of a call, for ``call`` and ``sandbox``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from rich.console import Console

    from mediaserver.sandbox.wire.ledger import TimelineEntry


def print_timeline(entries: Iterable[TimelineEntry], console: Console) -> None:
    """Print what happened in a call, a line each: seconds, what, and more about it."""
    from rich.table import Table
    from rich.text import Text

    timeline = Table(box=None, pad_edge=False, show_header=False)
    timeline.add_column(justify="right", style="dim")
    timeline.add_column()
    timeline.add_column(style="dim")
    for entry in entries:
        # As text, because what the other side wrote could look like markup.
        what = Text(entry.kind.replace("_", " "))
        timeline.add_row(f"{entry.time:.2f} s", what, Text(entry.text))
    console.print(timeline)
