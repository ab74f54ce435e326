"""What the operator of a server asks for, and what is answered: plain data, which can be sent on.

The process that is asked may be another one than the one that has the call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import msgspec

from mediaserver.server.runtime import CallState


MOST_CALLS: Final = 200
"""Most calls on one page."""

Action: TypeAlias = Literal["hangup", "say", "clear", "transfer"]

DeliveryStatus: TypeAlias = Literal[
    "done",
    "begun",
    "refused",
    "too_many",
    "unknown_call",
    "unknown_node",
    "unable",
    "failed",
    "not_delivered",
]
"""``begun``: the handler has taken it and is at it; ``refused``: the call, or the server, is in no
state for it; ``too_many``: others like it wait; ``unable``: this handler, or server, never can;
``failed``: it was tried; ``not_delivered``: nobody has answered, and whether it was done is not
known."""


class CallCommand(msgspec.Struct, frozen=True, tag=True):
    """Something to do to one live call."""

    action: Action | Literal["trace"]
    """``trace`` asks for the lines of the call's trace; the answer is in `Delivery.traced`."""
    call: str
    """The call's id, or that of its stream."""
    text: str = ""
    """What to say."""
    url: str = ""
    """Where to transfer the call: the URL of answer XML."""
    after: int = -1
    """The number of the first line wanted; -1 for those from now on."""
    audio: bool = False
    """Whether lines have the audio."""
    process: str = ""
    """The process that has the call, if it is known: it also has the last lines of one that has
    ended."""


class TracedLines(msgspec.Struct, frozen=True):
    """Some lines of a call's trace."""

    lines: list[str]
    """JSON objects."""
    next: int
    """The number of the line after these."""
    process: str
    """The process that has the call."""
    missed: int = 0
    """Lines before these that were dropped, because they were not asked for in time; -1 if it is
    not known how many, because nobody asked for so long that the trace began again."""
    ended: bool = False
    """Whether no line follows."""


class Delivery(msgspec.Struct, frozen=True):
    """What became of a command."""

    status: DeliveryStatus
    detail: str = ""
    """What happened, or what is wrong."""
    hint: str = ""
    """What would be right."""
    traced: TracedLines | None = None


class CallFilter(msgspec.Struct, frozen=True, tag=True):
    """Which live calls to list; an empty text lets all pass."""

    call: str = ""
    """The id of a call, or of its stream."""
    number: str = ""
    """The number of either side, in any form that Plivo writes."""
    handler: str = ""
    state: CallState | Literal[""] = ""
    limit: int = MOST_CALLS
    after: str = ""
    """The `CallEntry.cursor` behind which the page begins."""


class CallEntry(msgspec.Struct, frozen=True):
    """One live call."""

    call_id: str | None
    """Plivo's CallUUID; None if it is not known yet."""
    stream_id: str | None
    """Plivo's id of the stream; None until it has started."""
    state: CallState
    handler: str
    path: str
    caller: str | None
    called: str | None
    format: str | None
    started_at: float | None
    """When the stream started, in seconds since the epoch."""
    seconds: float
    """How long ago that was."""
    worker: str
    """The process that has the call."""
    can_say: bool
    """Whether its handler can say a text."""
    received_seconds: float
    sent_seconds: float
    unheard_seconds: float
    """Audio that the handler has given to be played, and that the caller has not heard."""
    underruns: int
    underrun_seconds: float
    dropped_seconds: float
    """Received audio that the handler did not read in time."""
    frames_lost: int
    interrupts: int
    turns: int
    """Turns of the conversation with an agent."""
    cursor: str
    """Its place in the list: calls are sorted by it, the oldest first."""
    lost_at: float | None = None
    """When the process that had it was found to be gone, in seconds since the epoch; None if it
    lives."""


class CallPage(msgspec.Struct, frozen=True):
    """A part of the live calls, the oldest first."""

    calls: list[CallEntry]
    total: int
    """Number of calls that pass the filter, on all pages."""
    silent: list[str] = []
    """Workers that did not answer, so that their calls are missing."""


class RouteEntry(msgspec.Struct, frozen=True):
    """Which calls a handler takes."""

    path: str
    """The path of their streams; it may have parameters, such as ``/t/{tenant}``."""
    handler: str
    number: str | None = None
    """The number that is dialled, if it takes no others."""


class WorkerEntry(msgspec.Struct, frozen=True):
    """One process that takes calls."""

    worker: str
    pid: int
    state: Literal["starting", "ready", "draining", "silent"]
    """``silent``: it did not answer."""
    calls: int = 0
    reserved: int = 0
    """Calls that were answered and whose stream has not connected yet."""
    calls_total: int = 0
    loop_lag_seconds: float = 0.0
    routes: list[RouteEntry] = []
    """Its handlers, in the order in which they are tried."""
    unready: dict[str, str] = {}
    """Why it is not ready for calls: the services of its handlers that were never reached."""


class NodeEntry(msgspec.Struct, frozen=True):
    """One machine that takes calls."""

    node: str
    state: Literal["starting", "ready", "draining"]
    calls: int
    calls_limit: int
    workers: int
    self: bool = False
    """Whether it is the machine that was asked."""
    host: str = ""
    """Its own name, if it belongs to a fleet."""
    address: str = ""
    """Where the other machines reach it; empty if they do not."""


def unknown_call(call: str) -> Delivery:
    """Say that there is no such call."""
    return Delivery(
        "unknown_call",
        f"no live call or stream has the id {call[:100]!r}",
        "GET /calls lists the live calls",
    )


def unknown_node(node: str, known: Iterable[str]) -> Delivery:
    """Say that there is no such node, and which there are."""
    names = ", ".join(known)
    return Delivery(
        "unknown_node", f"there is no node {node[:100]!r}", f"there is: {names}, or self"
    )
