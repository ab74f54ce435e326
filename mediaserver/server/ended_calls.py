"""Counts of the calls that have ended, by handler: why they ended, and how long they were."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

from mediaserver.server.handler_labels import HandlerLabels
from mediaserver.telemetry.metrics import CALL_BUCKETS


_CAUSES: Final = {
    "handler_error": ("the handler failed",),
    "handler": ("closed by the handler", "the handler returned", "the handler was cancelled"),
    "operator": ("hung up by an operator", "transferred by an operator"),
    "shutdown": ("the server is shutting down", "the host ended the stream"),
    "lost": (
        "the connection was lost",
        "the connection fell silent",
        "the WebSocket failed",
        "nothing came for",
        "the peer left",
        "the peer read nothing",
        "a ping was not answered",
        "a checkpoint is",
    ),
    "refused": ("a stream was opened with this signature before",),
    "limit": (
        "the call was longer",
        "the caller was silent",
        "no start event",
        "more events than",
        "too many",
        "this server has reached",
        "all nodes together have reached",
    ),
}
"""How the reasons begin that this server gives. All others are Plivo's."""

_PLIVO: Final = "plivo"

CAUSES_OF_END: Final = (_PLIVO, *_CAUSES)
"""All causes under which ends are counted."""


def cause_of_end(reason: str) -> str:
    """Return the cause under which an end is counted, by the reason in the log."""
    for cause, beginnings in _CAUSES.items():
        if reason.startswith(beginnings):
            return cause
    return _PLIVO


class EndedCalls:
    """The calls of one process that have ended.

    Args:
        labels: give each handler its label.

    """

    def __init__(self, labels: HandlerLabels | None = None) -> None:
        self._labels = labels or HandlerLabels()
        self.causes: Counter[tuple[str, str]] = Counter()
        """Number of calls by handler and cause."""
        self.lengths: dict[str, CallLengths] = {}
        """How long they were, by handler."""
        for label in self._labels.known:
            self.lengths[label] = CallLengths()
            self.causes.update({(label, cause): 0 for cause in (*_CAUSES, _PLIVO)})

    def count(self, handler: str, reason: str, seconds: float) -> None:
        """Count a call."""
        label = self._labels.of(handler)
        self.causes[label, cause_of_end(reason)] += 1
        self.lengths.setdefault(label, CallLengths()).count(seconds)


class CallLengths:
    """A histogram of calls' lengths."""

    def __init__(self) -> None:
        self.counts = [0] * (len(CALL_BUCKETS) + 1)
        """Count for each of `CALL_BUCKETS`, and for the one without a bound; not cumulative."""
        self.sum = 0.0
        """Sum in seconds."""

    def count(self, seconds: float) -> None:
        """Count one call."""
        self.counts[bisect_left(CALL_BUCKETS, seconds)] += 1
        self.sum += seconds
