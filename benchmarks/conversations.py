"""Experiments in which phones converse with agents: a server on one core, phones on another."""

from typing import TypeVar

from benchmarks.conversing import Callers
from benchmarks.experiments import Experiments, Findings
from benchmarks.processes import running
from benchmarks.rig import Window, observe
from benchmarks.servers import Program


CallersT = TypeVar("CallersT", bound=Callers)

DISTURBANCE_LIMIT = 0.05
PHONES_LIMIT = 0.6
LATE_LIMIT_MS = 20.0


class Conversations(Experiments):
    """Experiments whose findings are in `report`."""

    report: Findings

    def call(
        self,
        title: str,
        program: Program,
        callers: CallersT,
        calls: int,
        seconds: float | None = None,
        *,
        tail: float | None = None,
        ours: bool = True,
    ) -> tuple[Window, CallersT]:
        """Start the server, have the phones call it, and record doubts about the run.

        Args:
            title: the name of the run, for progress and doubts.
            program: the server.
            callers: what the phones do.
            calls: how many calls.
            seconds: how long to watch; by default the command's `--seconds`.
            tail: seconds that calls continue after that.
            ours: whether the server is ours and has metrics.

        """
        self.say(f"{title} …")
        chosen = self.chosen
        with running(program, self.server_core, None) as server:
            window = observe(
                server,
                callers,
                calls=calls,
                ramp=chosen.ramp if ours else chosen.pipecat_ramp,
                warm_up=chosen.warm_up,
                seconds=chosen.seconds if seconds is None else seconds,
                tail=chosen.tail if tail is None else tail,
                measured=ours,
            )
        self._doubt(title, window)
        self.say(f"{title}: {window.server_cpu:.0%} of its core, {window.lost} calls lost")
        return window, callers

    def _doubt(self, title: str, window: Window) -> None:
        doubts = self.report.doubts
        if self.server_core != self.phones_core and window.disturbance > DISTURBANCE_LIMIT:
            doubts.append(
                f"{title}: other processes held the server's core for {window.server_waited:.0%} "
                f"of the time, the phones' for {window.phones_waited:.0%}"
            )
        if window.phones_cpu > PHONES_LIMIT:
            doubts.append(f"{title}: the phones took {window.phones_cpu:.0%} of their core")
        result = window.load
        late = result.sender_lateness
        if late is not None and late.p50 * 1000 > LATE_LIMIT_MS:
            doubts.append(
                f"{title}: in half of the calls the phone itself was late by "
                f"{late.p50 * 1000:.0f} ms or more at some time, at worst {late.max * 1000:.0f} ms"
            )
        for text, count in (result.errors | result.failed | result.cut).items():
            doubts.append(f"{title}: {count} times: {text}")


def ours(handler: str) -> Program:
    """Return a server with a handler of `benchmarks.servers`."""
    serve = ("-m", "mediaserver", "serve", f"benchmarks.servers.{handler}")
    return Program(
        handler,
        "converses",
        (*serve, "--max-calls", "1000", "--log-level", "warning"),
        health="/readyz",
    )
