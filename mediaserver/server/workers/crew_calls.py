"""The calls of all workers, as operators see them: the supervisor's `Directory`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec
import structlog

from mediaserver.server.admin.commands import (
    CallCommand,
    CallFilter,
    CallPage,
    Delivery,
    NodeEntry,
    WorkerEntry,
    unknown_call,
    unknown_node,
)
from mediaserver.server.admin.merged_metrics import MergedMetrics, MetricFamily, families_of
from mediaserver.server.admin.questions import (
    AboutWorker,
    AnyAnswer,
    ItsMetrics,
    Question,
    decode_answer,
    encode_question,
)
from mediaserver.server.workers.crew import ReloadFailedError, WorkerGoneError, WorkerStage
from mediaserver.telemetry.metrics import crew_metrics


log = structlog.get_logger(__name__)

_QUICK: Final = 1.0
"""Seconds that a worker has to answer; one that does not is reported, and not waited for."""

_PATIENT: Final = 30.0
"""Seconds that a worker has to hang up or transfer a call, for which Plivo is asked."""

_LOOK_SECONDS: Final = 5.0
"""Seconds between two looks at the workers' counts, beside those of scrapes."""

_SUPERVISOR: Final = "supervisor"
"""The supervisor's name among those of the workers, in metrics."""


class AskedWorker(Protocol):
    """A worker that can be asked."""

    @property
    def name(self) -> str:
        """Its name on this machine."""

    @property
    def stage(self) -> WorkerStage:
        """Where it is in its life."""

    @property
    def pid(self) -> int:
        """The number of its process; 0 before it has one."""

    @property
    def calls(self) -> int:
        """Its connected calls."""


class AskedCrew(Protocol):
    """The workers of a machine, and their supervisor."""

    machine: str
    deaths: Counter[str]
    reloads: Counter[str]
    calls_limit: int

    @property
    def accept_failures(self) -> int:
        """Connections for which the supervisor had no descriptor."""

    @property
    def stopping(self) -> bool:
        """Whether all workers were asked to go."""

    def living(self) -> Iterable[AskedWorker]:
        """Return the workers that live."""

    async def ask(self, name: str, body: bytes, *, within: float) -> bytes:
        """Ask a worker something, and return its reply.

        Raises:
            WorkerGoneError: there is no such worker, or it does not reply within these seconds.

        """

    async def reload(self) -> None:
        """Replace the workers by new ones, and wait until those take the calls.

        Raises:
            ReloadFailedError: they could not start.

        """

    def stop(self) -> None:
        """Have the workers let their calls end."""


class CrewCalls:
    """The `Directory` of a machine with workers.

    Args:
        crew: the workers.

    """

    def __init__(self, crew: AskedCrew) -> None:
        self._crew = crew
        self._metrics = MergedMetrics()
        self._known: set[str] = set()

    @property
    def _node(self) -> str:
        return self._crew.machine.partition("/")[0]

    async def calls(self, wanted: CallFilter) -> CallPage:
        """Return the live calls of all workers that pass a filter."""
        answers = await self._ask_all(wanted, CallPage)
        pages = [each for each in answers.values() if each is not None]
        entries = [entry for each in pages for entry in each.calls]
        total = sum(each.total for each in pages)
        entries.sort(key=lambda entry: entry.cursor)
        return CallPage(entries[: wanted.limit], total, _silent(answers))

    async def send(self, command: CallCommand) -> Delivery:
        """Have a command carried out by the worker that has the call."""
        machine, _, worker = command.process.rpartition("/")
        known = machine == self._crew.machine and worker in self._started()
        name, silent = (worker, []) if known else await self._find(command.call)
        if name is None:
            if not silent:
                return unknown_call(command.call)
            return Delivery(
                "not_delivered",
                f"no live call or stream with the id {command.call!r} is known, but not all"
                " workers answered",
                f"GET /workers shows those that did not: {', '.join(silent)}",
            )
        patient = command.action in ("hangup", "transfer")
        answered = await self._ask(name, command, Delivery, within=_PATIENT if patient else _QUICK)
        if answered is None:
            return Delivery(
                "not_delivered",
                f"worker {name} has the call and did not answer: whether it did what it was told is"
                " not known",
                "GET /calls shows whether the call goes on",
            )
        return answered

    async def metrics(self) -> bytes:
        """Return the metrics of all workers, and of the supervisor, in Prometheus's text format."""
        await self.look()
        crew = self._crew
        own = crew_metrics(
            len(list(crew.living())), crew.deaths, crew.reloads, crew.accept_failures
        )
        self._metrics.keep(_SUPERVISOR, families_of(own))
        return self._metrics.exposition()

    async def keep_looking(self) -> None:
        """Take the counts of the workers now and then, until this is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Take the counts of the workers: those of one that is killed are lost from there on."""
        answers = await self._ask_all(ItsMetrics(), list[MetricFamily])
        for name, families in answers.items():
            if families is not None:
                self._keep(name, families)
        living = {each.name for each in self._crew.living()}
        for gone in self._known - living:
            self._metrics.forget(gone)
        self._known &= living

    def keep_last(self, worker: str, body: bytes) -> None:
        """Take the last counts of a worker that ends."""
        try:
            self._keep(worker, decode_answer(body, list[MetricFamily]))
        except msgspec.DecodeError as error:
            _log_unread(worker, error)

    def _keep(self, worker: str, families: list[MetricFamily]) -> None:
        self._metrics.keep(worker, families)
        self._known.add(worker)

    async def workers(self) -> list[WorkerEntry]:
        """Return the workers, with those that do not answer."""
        living = {each.name: each for each in self._crew.living()}
        answers = await self._ask_all(AboutWorker(), WorkerEntry)
        entries = []
        for name, worker in living.items():
            entry = answers.get(name)
            if entry is None:
                starting = worker.stage is WorkerStage.STARTING
                entry = WorkerEntry(
                    worker=f"{self._crew.machine}/{name}",
                    pid=worker.pid,
                    state="starting" if starting else "silent",
                    calls=worker.calls,
                )
            entries.append(entry)
        return entries

    async def nodes(self) -> list[NodeEntry]:
        """Return this machine alone."""
        living = list(self._crew.living())
        serving = any(each.stage is WorkerStage.READY for each in living)
        return [
            NodeEntry(
                node=self._node,
                state="draining" if self._crew.stopping else "ready" if serving else "starting",
                calls=sum(each.calls for each in living),
                calls_limit=self._crew.calls_limit,
                workers=len(living),
                self=True,
            )
        ]

    async def reload(self) -> Delivery:
        """Replace the workers, and wait until the new ones take the calls."""
        if self._crew.stopping:
            return Delivery("refused", "the server is stopping", "start it again")
        try:
            await self._crew.reload()
        except ReloadFailedError as error:
            return Delivery(
                "failed", f"the new workers cannot start: {error}", "the old ones go on"
            )
        return Delivery("done", "new workers take the calls; the old ones let theirs end")

    async def drain(self, node: str) -> Delivery:
        """Let all workers drain, and stop."""
        if node not in ("self", self._node):
            return unknown_node(node, [self._node])
        if self._crew.stopping:
            return Delivery("done", "it was draining already")
        self._crew.stop()
        return Delivery("done", "new calls are refused; the server stops when the last one is over")

    async def _find(self, call: str) -> tuple[str | None, list[str]]:
        """Return the worker that has a call, as soon as it is known; and those that are silent.

        A worker whose event loop is blocked thus holds up no command for the calls of others.
        """
        question = CallFilter(call=call, limit=1)
        waiting = {
            asyncio.ensure_future(self._ask(name, question, CallPage, within=_QUICK)): name
            for name in self._started()
        }
        silent = []
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                name, found = waiting.pop(task), task.result()
                if found is None:
                    silent.append(name)
                elif found.calls:
                    for other in waiting:
                        other.cancel()
                    return name, []
        return None, silent

    def _started(self) -> list[str]:
        return [each.name for each in self._crew.living() if each.stage is not WorkerStage.STARTING]

    async def _ask_all(
        self, question: Question, kind: type[AnyAnswer]
    ) -> Mapping[str, AnyAnswer | None]:
        """Ask the workers that have started; None stands for one that does not answer."""
        names = self._started()
        answers = await asyncio.gather(
            *(self._ask(name, question, kind, within=_QUICK) for name in names)
        )
        living = {each.name for each in self._crew.living()}
        # Those that have ended meanwhile have nothing left to tell.
        return {
            name: answer
            for name, answer in zip(names, answers, strict=True)
            if answer is not None or name in living
        }

    async def _ask(
        self, name: str, question: Question, kind: type[AnyAnswer], *, within: float
    ) -> AnyAnswer | None:
        try:
            reply = await self._crew.ask(name, encode_question(question), within=within)
            return decode_answer(reply, kind)
        except WorkerGoneError:
            return None
        except msgspec.DecodeError as error:
            _log_unread(name, error)
            return None


def _silent(answers: Mapping[str, Any]) -> list[str]:
    return [name for name, answer in answers.items() if answer is None]


def _log_unread(worker: str, error: msgspec.DecodeError) -> None:
    log.error("what a worker says could not be read", worker=worker, reason=str(error))
