"""The `Directory` of a fleet: any node lists every call, and controls it wherever it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from typing import Final, Protocol, TypeVar

import msgspec
from msgspec import structs

from mediaserver.server.admin.commands import (
    CallCommand,
    CallEntry,
    CallFilter,
    CallPage,
    Delivery,
    NodeEntry,
    WorkerEntry,
    unknown_node,
)
from mediaserver.server.admin.directory import Directory
from mediaserver.server.fleet.keys import FleetKeys
from mediaserver.server.fleet.mail import DrainRequest, Mail, MailRequest, NotDeliveredError
from mediaserver.server.fleet.members import AboutMember
from mediaserver.server.fleet.notes import LostCall
from mediaserver.server.fleet.store import FleetStore, FleetUnavailableError


_UNSURE: Final = (
    "whether it was done is not known; GET /nodes shows which nodes live, and each answers for its"
    " own calls at its own admin listener"
)
_LATER: Final = (
    "the call may be on a node that cannot be reached: ask at that node's own admin listener, or"
    " here in a few seconds"
)

_Result = TypeVar("_Result", bound=msgspec.Struct)


class Participant(Protocol):
    """The fleet, as one of its processes sees it."""

    keys: FleetKeys
    store: FleetStore
    mail: Mail
    machine: str
    """How the names of the members begin that its own directory knows."""
    members: dict[str, AboutMember]

    def undelivered(self) -> None:
        """Count a command that another member did not get."""


class FleetDirectory:
    """Knows the calls of all members.

    Args:
        own: Knows those of this server.
        fleet: The fleet.

    """

    def __init__(self, own: Directory, fleet: Participant) -> None:
        self._own = own
        self._fleet = fleet

    async def calls(self, wanted: CallFilter) -> CallPage:
        """Return the calls of all members that pass a filter, and those lost lately."""
        own, (pages, silent) = await asyncio.gather(
            self._own.calls(wanted), self._ask_all(wanted, CallPage)
        )
        every = [own, *pages.values()]
        calls = [call for each in every for call in each.calls]
        # Those of a machine that was cut off and is back count as lost until its next beat.
        lost = await self._lost(wanted, but={call.call_id for call in calls})
        every.append(lost)
        calls += lost.calls
        calls.sort(key=lambda call: call.cursor)
        return CallPage(
            calls[: wanted.limit],
            total=sum(each.total for each in every),
            silent=sorted({*silent, *(name for each in every for name in each.silent)}),
        )

    async def _lost(self, wanted: CallFilter, *, but: Container[str | None]) -> CallPage:
        """Return the calls that were lost with their members lately, but for some."""
        # Of such a call only its id is known.
        if wanted.state not in ("", "lost") or wanted.handler or wanted.number:
            return CallPage([], 0)
        store = self._fleet.store
        try:
            lost = [
                each
                for each in await store.lost_calls()
                if wanted.call in ("", each.call) and each.call not in but
            ]
            lost.sort(key=_cursor)
            page = [each for each in lost if _cursor(each) > wanted.after][: wanted.limit]
            members = await store.members_lost_with([each.call for each in page])
        except FleetUnavailableError:
            return CallPage([], 0)
        return CallPage(list(map(_lost_entry, page, members)), len(lost))

    async def send(self, command: CallCommand) -> Delivery:
        """Have a command carried out by the member that has the call."""
        if command.process in self._others():
            return await self._deliver(command.process, command)
        delivery = await self._own.send(command)
        if delivery.status != "unknown_call":
            return delivery
        try:
            owner = await self._fleet.store.owner(command.call)
            lost = None if owner else await self._fleet.store.lost_with(command.call)
        except FleetUnavailableError as error:
            return self._not_delivered(f"{delivery.detail} here; {error}")
        if owner is not None and owner in self._others():
            return await self._deliver(owner, command)
        # The id of a stream, or of a call that has just come.
        pages, silent = await self._ask_all(CallFilter(call=command.call), CallPage)
        holders = [member for member, page in pages.items() if page.calls]
        if holders:
            return await self._deliver(holders[0], command)
        if lost is not None:
            return Delivery("unknown_call", f"the call was lost with {lost}", delivery.hint)
        if silent:
            return self._not_delivered(f"{delivery.detail}; no answer from {', '.join(silent)}")
        return delivery

    async def metrics(self) -> bytes:
        """Return the metrics of this process: each node is scraped by itself."""
        return await self._own.metrics()

    async def workers(self) -> list[WorkerEntry]:
        """Return the processes of this machine."""
        return await self._own.workers()

    async def nodes(self) -> list[NodeEntry]:
        """Return the machines of the fleet."""
        machines: dict[str, list[AboutMember]] = {}
        for about in self._fleet.members.values():
            machines.setdefault(about.machine, []).append(about)
        own = machines.pop(self._fleet.machine, None)
        entries = await self._own.nodes()
        if own is not None:
            entries = [
                structs.replace(each, node=own[0].node, host=own[0].host, address=own[0].address)
                for each in entries
            ]
        entries += [_entry(members) for members in machines.values()]
        return sorted(entries, key=lambda entry: entry.node)

    async def reload(self) -> Delivery:
        """Have this machine reload."""
        return await self._own.reload()

    async def drain(self, node: str) -> Delivery:
        """Have a machine take no new calls."""
        entries = await self.nodes()
        if node == "self" or any(each.self and each.node == node for each in entries):
            return await self._own.drain("self")
        for member, about in self._fleet.members.items():
            if about.node == node:
                # Each process of a machine stands for all of them.
                return await self._deliver(member, DrainRequest())
        return unknown_node(node, [each.node for each in entries])

    async def _deliver(self, member: str, request: MailRequest) -> Delivery:
        try:
            return await self._ask(member, request, Delivery)
        except NotDeliveredError as error:
            return self._not_delivered(f"{member} was not reached: {error}", _UNSURE)

    def _not_delivered(self, detail: str, hint: str = _LATER) -> Delivery:
        self._fleet.undelivered()
        return Delivery("not_delivered", detail, hint)

    def _others(self) -> list[str]:
        """Return the members of other machines."""
        fleet = self._fleet
        return [name for name, about in fleet.members.items() if about.machine != fleet.machine]

    async def _ask_all(
        self, request: MailRequest, kind: type[_Result]
    ) -> tuple[dict[str, _Result], list[str]]:
        """Return the results of all other members, and the members that did not answer."""
        others = self._others()
        answers = await asyncio.gather(
            *(self._ask(name, request, kind) for name in others), return_exceptions=True
        )
        results: dict[str, _Result] = {}
        silent: list[str] = []
        for name, answer in zip(others, answers, strict=True):
            if isinstance(answer, NotDeliveredError):
                silent.append(name)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                results[name] = answer
        return results, silent

    async def _ask(self, member: str, request: MailRequest, kind: type[_Result]) -> _Result:
        result = await self._fleet.mail.ask(self._fleet.keys.mailbox(member), request)
        try:
            return msgspec.msgpack.decode(result, type=kind)
        except msgspec.DecodeError as error:
            raise NotDeliveredError(f"its answer is not understood: {error}") from None


def _entry(members: list[AboutMember]) -> NodeEntry:
    states = [each.state for each in members]
    return NodeEntry(
        node=members[0].node,
        state=next(state for state in ("ready", "starting", "draining") if state in states),
        calls=sum(each.calls for each in members),
        calls_limit=max(each.calls_limit for each in members),
        workers=len(members),
        host=members[0].host,
        address=members[0].address,
    )


def _cursor(lost: LostCall) -> str:
    return f"{lost.at:.6f}/{lost.call}"


def _lost_entry(lost: LostCall, member: str) -> CallEntry:
    return CallEntry(
        call_id=lost.call,
        stream_id=None,
        state="lost",
        handler="",
        path="",
        caller=None,
        called=None,
        format=None,
        started_at=None,
        seconds=0.0,
        worker=member,
        can_say=False,
        received_seconds=0.0,
        sent_seconds=0.0,
        unheard_seconds=0.0,
        underruns=0,
        underrun_seconds=0.0,
        dropped_seconds=0.0,
        frames_lost=0,
        interrupts=0,
        turns=0,
        cursor=_cursor(lost),
        lost_at=lost.at,
    )
