"""How many conversations one core holds, in steps of more and more simultaneous calls."""

from collections import defaultdict
from statistics import median

from benchmarks.agent_report import Spread, Step
from benchmarks.conversing import Asking, Line
from benchmarks.rig import Window
from benchmarks.servers.mock_timings import ANSWER, END_OF_TURN, PUBLISHED, tokens


OWN = END_OF_TURN + PUBLISHED.own(tokens(ANSWER))
"""Seconds from the caller's last sound to the first audio, if only the mock services took time."""


class Delays:
    """Time to the first audio, by clip."""

    def __init__(self) -> None:
        self.by_clip: dict[str, list[float]] = defaultdict(list)
        self.unanswered = 0

    def add(self, line: Line, begin: float, end: float) -> None:
        """Add a call's answers to utterances that ended between two moments."""
        replies = line.phone.report().replies
        for name, reply in zip(line.said, replies, strict=False):
            if not begin <= line.origin + reply.utterance_end <= end:
                continue
            if reply.seconds is None:
                self.unanswered += 1
            else:
                self.by_clip[name].append(reply.seconds)

    def beyond(self, own: dict[str, float] | float) -> Spread | None:
        """Return by how much each time exceeds the reference of its clip."""
        return Spread.of(
            [
                delay - (own if isinstance(own, float) else own[name])
                for name, delays in self.by_clip.items()
                for delay in delays
                if isinstance(own, float) or name in own
            ]
        )

    def medians(self) -> dict[str, float]:
        """Return the median by clip."""
        return {name: median(delays) for name, delays in self.by_clip.items()}


def delays(callers: Asking, window: Window) -> Delays:
    """Return the delays of all calls in a window."""
    found = Delays()
    for line in callers.lines:
        if line.phone.started:
            found.add(line, window.begin, window.end)
    return found


def step(
    server: str, callers: Asking, window: Window, unloaded: dict[str, float], *, ours: bool
) -> Step:
    """Return the results of a number of simultaneous calls.

    Args:
        server: the server.
        callers: the phones.
        window: the observed stretch of time.
        unloaded: time to the first audio with two calls, by clip.
        ours: whether the server is ours and has metrics.

    """
    found = delays(callers, window)
    reports = [(line, line.phone.report()) for line in callers.lines if line.phone.started]
    duration = sum(report.duration for _, report in reports) or 1.0
    gaps = [
        gap.seconds
        for line, report in reports
        for gap in report.gaps
        if window.begin <= line.origin + gap.start <= window.end
    ]
    lag = window.metrics.get("loop_lag_max_seconds")
    return Step(
        server=server,
        calls=len(callers.lines),
        caller_talk=sum(e - s for _, report in reports for s, e in report.caller_speech) / duration,
        agent_talk=sum(e - s for _, report in reports for s, e in report.agent_speech) / duration,
        answered=sum(map(len, found.by_clip.values())),
        unanswered=found.unanswered,
        beyond=found.beyond(OWN),
        beyond_unloaded=found.beyond(unloaded),
        underruns=int(window.metrics.get("underruns_total", 0)) if ours else None,
        gaps=len(gaps),
        gap_ms=round(sum(gaps) * 1000, 1),
        longest_gap_ms=round(max(gaps, default=0.0) * 1000, 1),
        server_cpu=round(window.server_cpu, 4),
        phones_cpu=round(window.phones_cpu, 4),
        server_waited=round(window.server_waited, 4),
        phones_waited=round(window.phones_waited, 4),
        megabytes=round(window.server_bytes / 1e6, 1),
        lag_ms=None if lag is None else round(lag * 1000, 1),
        lost=window.lost,
    )
