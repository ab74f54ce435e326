"""Counters of one server process: plain numbers, which telemetry reads on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sized

from mediaserver.server.ended_calls import EndedCalls
from mediaserver.server.handler_labels import HandlerLabels
from mediaserver.server.peaks import Peaks


class ServerCounters:
    """Counts of one process.

    Args:
        calls: the live calls.
        labels: give each handler its label.

    """

    def __init__(self, calls: Sized, labels: HandlerLabels | None = None) -> None:
        self._calls = calls
        self.calls_total = 0
        """Streams accepted."""
        self.refused: Counter[str] = Counter()
        """Streams and calls refused, by cause: ``path``, ``token``, ``full``, ``draining``…"""
        self.handler_errors = 0
        """Handlers that ended in an exception."""
        self.dead_peers = 0
        """Connections dropped because the peer had gone or had stopped reading."""
        self.streams_lost = 0
        """Streams whose connection was lost."""
        self.streams_reopened = 0
        """Lost streams that were opened again in time."""
        self.connections_moved = 0
        """Streams and webhooks that were brought to the process that their URL names."""
        self.ended = EndedCalls(labels)
        """Calls that have ended, by handler."""
        self.certificate_expires: float | None = None
        """When the certificate expires, in seconds since the epoch; None without TLS."""
        self.accept_failures = 0
        """Connections that could not be accepted for lack of file descriptors."""
        self.tls_failures = 0
        """Connections whose TLS handshake failed, or took too long."""
        self.connections_dropped: Counter[str] = Counter()
        """Connections closed while they waited for a request, by what there were too many of:
        ``idle``, ``address`` (of one client), ``descriptors``."""
        self.webhooks: Counter[str] = Counter()
        """Webhooks answered, by name."""
        self.stream_statuses: Counter[str] = Counter()
        """Status callbacks of streams, by kind, without repetitions."""
        self.overloaded = False
        """Whether new calls are turned away, because more comes than can be taken."""
        self.backlog = 0
        """Connections that waited to be accepted at the last look."""
        self.loop_lag = 0.0
        """Latest measured delay of the event loop, in seconds."""
        self.loop_lag_max = 0.0
        """Longest measured delay of the event loop, in seconds."""
        self.lag_peaks = Peaks()
        """Delays of the event loop, by the time of `Runtime.clock`, in seconds."""
        self.loop_blocks = 0
        """Number of times that the event loop was reported as blocked."""

    @property
    def calls_active(self) -> int:
        """Calls that are live now."""
        return len(self._calls)

    def refuse(self, cause: str) -> None:
        """Count a refusal."""
        self.refused[cause] += 1
