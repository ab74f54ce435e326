"""Whether the records have the calls that the callers made. Knows no database and no sockets."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple


LOST = "process_lost"
"""The cause in the record of a call whose process has died."""
KEPT_SECONDS = 1.0
"""What is older is not lost by a kill."""
STUCK_SECONDS = 15.0
"""Seconds that a call may live on after the server should have known that it is over."""


class MadeCall(NamedTuple):
    """A stream that a caller opened. Times are seconds since the epoch.

    Attributes:
        stream: Its id.
        kind: Which sort of caller it was.
        began: When its start was sent.
        over: When the server could know at the latest that it is over.
        heard: Whether its audio came, so that the server has certainly begun the call.
        cut: Whether it ended although its caller did not hang up.

    """

    stream: str
    kind: str
    began: float
    over: float
    heard: bool
    cut: bool = False


class RecordedStream(NamedTuple):
    """A row of the records. Times are seconds since the epoch.

    Attributes:
        stream: Its id; None if no start came.
        process: Who had it.
        ended: When it ended; None if it has not.
        cause: Why.

    """

    stream: str | None
    process: str
    ended: float | None
    cause: str | None


class Account(NamedTuple):
    """What does not agree.

    Attributes:
        missing: Calls without a record, by kind.
        fresh: Calls without a record that began in the last second before a kill.
        endless: Records without an end, by kind of caller.
        twice: Streams with several records.
        unknown: Records of streams that nobody opened.
        stuck: Calls that lived on after they should have been over, by kind.
        wrongly_lost: Calls that count as lost though their process lived on after them, by kind.
        not_lost: Calls that were cut by a kill, and whose record says something else.

    """

    missing: Counter[str]
    fresh: int
    endless: Counter[str]
    twice: int
    unknown: int
    stuck: Counter[str]
    wrongly_lost: Counter[str]
    not_lost: int


def account(
    made: Iterable[MadeCall], recorded: Iterable[RecordedStream], kills: Mapping[str, float]
) -> Account:
    """Compare calls with records.

    Args:
        made: The calls.
        recorded: The records.
        kills: When each process that was killed was killed.

    """
    missing, endless, stuck, wrongly_lost = (Counter[str]() for _ in range(4))
    fresh = unknown = twice = not_lost = 0
    rows: dict[str, RecordedStream] = {}
    calls = {each.stream: each for each in made}
    for row in recorded:
        call = calls.get(row.stream or "")
        if row.ended is None:
            endless[call.kind if call else "without a start"] += 1
        if row.stream is None:
            continue
        twice += row.stream in rows
        unknown += call is None
        rows[row.stream] = row
    for call in calls.values():
        found = rows.get(call.stream)
        if found is None:
            if any(call.began <= at <= call.began + KEPT_SECONDS for at in kills.values()):
                fresh += 1
            elif call.heard:
                missing[call.kind] += 1
            continue
        killed = kills.get(found.process)
        if found.cause == LOST:
            if killed is None or call.over < killed - KEPT_SECONDS:
                wrongly_lost[call.kind] += 1
            continue
        not_lost += call.cut and killed is not None and call.over >= killed
        if found.ended is not None and found.ended > call.over + STUCK_SECONDS:
            stuck[call.kind] += 1
    return Account(missing, fresh, endless, twice, unknown, stuck, wrongly_lost, not_lost)
