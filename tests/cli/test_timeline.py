from __future__ import annotations

import io

from rich.console import Console

from mediaserver.cli.timeline import print_timeline
from mediaserver.sandbox.wire.ledger import TimelineEntry


def test_each_entry_is_a_line_of_its_time_its_words_and_its_text() -> None:
    out = io.StringIO()
    entries = [TimelineEntry(0.5, "stream_opened", "ws://h/"), TimelineEntry(12.25, "[red]", "[/]")]
    print_timeline(entries, Console(file=out, width=80))
    assert [" ".join(line.split()) for line in out.getvalue().splitlines()] == [
        "0.50 s stream opened ws://h/",
        "12.25 s [red] [/]",
    ]
