"""Who knows the live calls and passes commands on: of one process, of a machine, of many."""

from __future__ import annotations

import os
from typing import Protocol

from mediaserver.plivo.numbers import same_number
from mediaserver.server.admin.commands import (
    CallCommand,
    CallEntry,
    CallFilter,
    CallPage,
    Delivery,
    NodeEntry,
    RouteEntry,
    WorkerEntry,
    unknown_node,
)
from mediaserver.server.admin.merged_metrics import MetricFamily, families_of
from mediaserver.server.admin.obey import CallOperator, is_named
from mediaserver.server.runtime import RunningCall, Runtime
from mediaserver.telemetry.metrics import collected, exposition


class Directory(Protocol):
    """Answers what the admin listener is asked. Nothing here raises."""

    async def calls(self, wanted: CallFilter) -> CallPage:
        """Return the live calls that pass a filter."""

    async def send(self, command: CallCommand) -> Delivery:
        """Have a command carried out by the process that has the call."""

    async def metrics(self) -> bytes:
        """Return every metric in Prometheus's text format."""

    async def workers(self) -> list[WorkerEntry]:
        """Return the processes of this machine that take calls."""

    async def nodes(self) -> list[NodeEntry]:
        """Return the machines that take calls."""

    async def reload(self) -> Delivery:
        """Have the machine that is asked read again what can change while it runs."""

    async def drain(self, node: str) -> Delivery:
        """Have a machine take no new calls, and stop when its last call is over."""


class ProcessControl(Protocol):
    """The process that serves the calls."""

    def drain(self) -> bool:
        """Do what the first SIGTERM does; return False if it was asked to stop before."""

    def reload(self) -> None:
        """Do what SIGHUP does."""


class OwnCalls:
    """The `Directory` of one process: of the whole server, where there is no other.

    Args:
        runtime: the state of the process.
        control: the process itself.

    """

    def __init__(self, runtime: Runtime, control: ProcessControl) -> None:
        self._runtime = runtime
        self._control = control
        self._commands = CallOperator(runtime)
        # Read once: the clocks' difference varies by a little each time that it is read.
        self._epoch = runtime.wall_clock() - runtime.clock()

    async def calls(self, wanted: CallFilter) -> CallPage:
        """Return the live calls that pass a filter."""
        found = sorted(
            (self._cursor(call), id(call), call)
            for call in self._runtime.calls
            if _passes(call, wanted)
        )
        rest = [call for cursor, _, call in found if cursor > wanted.after]
        # Only those on the page are looked at closely: other calls wait meanwhile.
        return CallPage([self._entry(call) for call in rest[: wanted.limit]], total=len(found))

    async def send(self, command: CallCommand) -> Delivery:
        """Carry out a command."""
        return await self._commands.obey(command)

    async def metrics(self) -> bytes:
        """Return every metric in Prometheus's text format."""
        return exposition(self._runtime)

    def families(self) -> list[MetricFamily]:
        """Return every metric as it is sent to another process."""
        return families_of(collected(self._runtime))

    async def workers(self) -> list[WorkerEntry]:
        """Return this process alone."""
        return [self.own()]

    def own(self) -> WorkerEntry:
        """Return what this process says of itself."""
        runtime = self._runtime
        starting = not (runtime.ready and runtime.started.is_set())
        return WorkerEntry(
            worker=self._runtime.process,
            pid=os.getpid(),
            state="draining" if runtime.draining else "starting" if starting else "ready",
            calls=len(runtime.calls),
            reserved=runtime.admission.reserved,
            calls_total=runtime.counters.calls_total,
            loop_lag_seconds=round(runtime.counters.loop_lag, 6),
            routes=[
                RouteEntry(each.path, each.name, each.number) for each in runtime.routes.routes
            ],
            unready=runtime.routes.unready,
        )

    async def nodes(self) -> list[NodeEntry]:
        """Return this machine alone."""
        own = self.own()
        assert own.state != "silent"
        return [
            NodeEntry(
                node=self._node,
                state=own.state,
                calls=own.calls,
                calls_limit=self._runtime.settings.max_calls,
                workers=1,
                self=True,
            )
        ]

    async def reload(self) -> Delivery:
        """Read the certificates again."""
        self._control.reload()
        return Delivery(
            "done", "the certificates are read again; new code and settings need a restart"
        )

    async def drain(self, node: str) -> Delivery:
        """Begin to stop."""
        if node not in ("self", self._node):
            return unknown_node(node, [self._node])
        if not self._control.drain():
            return Delivery("done", "it was draining already")
        return Delivery("done", "new calls are refused; the server stops when the last one is over")

    @property
    def _node(self) -> str:
        return self._runtime.process.partition("/")[0]

    def _entry(self, call: RunningCall) -> CallEntry:
        accepted, session, stream = call.accepted, call.session, call.stream
        counters, started = session.counters, call.started_at
        at = None if started is None else self._epoch + started
        return CallEntry(
            call_id=None if call.call_id == "?" else call.call_id,
            stream_id=None if stream is None else stream.stream_id,
            state=call.state,
            handler=accepted.route.name,
            path=accepted.path,
            caller=accepted.caller,
            called=accepted.called,
            format=None if stream is None else str(stream.format),
            started_at=None if at is None else _rounded(at),
            seconds=0.0 if started is None else _rounded(self._runtime.clock() - started),
            worker=self._runtime.process,
            can_say=stream is not None and stream.on_say is not None,
            received_seconds=_rounded(counters.audio_in),
            sent_seconds=_rounded(counters.audio_out),
            unheard_seconds=0.0 if stream is None else _rounded(stream.unheard),
            underruns=counters.underruns,
            underrun_seconds=_rounded(counters.underrun_seconds),
            dropped_seconds=_rounded(counters.audio_dropped),
            frames_lost=counters.frames_lost,
            interrupts=counters.interrupts,
            turns=len(session.turns),
            cursor=self._cursor(call),
        )

    def _cursor(self, call: RunningCall) -> str:
        if call.stream is None or call.started_at is None:
            # Those without a start come last, as they are the youngest.
            return f"~/{call.call_id}"
        return f"{self._epoch + call.started_at:.6f}/{call.stream.stream_id}"


def _rounded(seconds: float) -> float:
    # Counters begin with the integer 0.
    return round(float(seconds), 3)


def _passes(call: RunningCall, wanted: CallFilter) -> bool:
    """Tell whether a call passes a filter; whether it is on the page is another question."""
    accepted = call.accepted
    return (
        (not wanted.call or is_named(call, wanted.call))
        and wanted.handler in ("", accepted.route.name)
        and wanted.state in ("", call.state)
        and (
            not wanted.number
            or same_number(wanted.number, accepted.caller or "")
            or same_number(wanted.number, accepted.called or "")
        )
    )
