"""The legs that `<Dial>` adds to a call: it is connected with the first that answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, Protocol

from mediaserver.plivo import xml
from mediaserver.sandbox.audio.bridge import Bridge
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.hangup import CANCELED, LOST_RACE, NORMAL, SCHEDULED, HangupSource
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.webhooks import Target


_TIME_LIMIT: Final = 14_400.0
_RING_TIMEOUT: Final = 120.0


class PlaceLeg(Protocol):
    """Places a call that `<Dial>` adds to another one."""

    def __call__(
        self, parent: SandboxCall, to: str, *, caller: str, plan: CallPlan, caller_name: str
    ) -> Awaitable[SandboxCall]:
        """Return the call to `to`, which has begun."""


async def connect_legs(call: SandboxCall, element: xml.Dial, place_leg: PlaceLeg) -> dict[str, str]:
    """Connect `call` with the first leg that answers, until one of the two is gone.

    Returns:
        Parameters for the action URL.

    """
    legs: list[SandboxCall] = []
    winner: SandboxCall | None = None
    callback = Target.optional(element.callback_url, element.callback_method)
    try:
        for target in element.targets:
            leg = await place_leg(
                call,
                target.number if isinstance(target, xml.Number) else target.sip_uri,
                caller=element.caller_id or call.record.from_number,
                plan=CallPlan(
                    None,
                    ring_timeout=element.timeout or _RING_TIMEOUT,
                    send_digits=target.send_digits or "",
                ),
                caller_name=element.caller_name or "",
            )
            legs.append(leg)
        winner = await _first_to_answer(legs)
        for leg in legs:
            if leg is not winner:
                leg.hang_up(LOST_RACE, HangupSource.PLIVO)
        if winner is not None:
            _notify(call, callback, "answer", winner)
            await _talk(call, winner, element)
            _notify(call, callback, "hangup", winner)
    finally:
        for leg in legs:
            _let_go(leg)
    last = winner or legs[-1]
    return {
        "DialStatus": "completed" if winner is not None else last.record.status,
        "DialRingStatus": "true" if any(leg.rang for leg in legs) else "false",
        "DialHangupCause": last.record.hangup_cause or "",
        "DialALegUUID": call.uuid,
        "DialBLegUUID": last.uuid,
    }


async def _first_to_answer(legs: Sequence[SandboxCall]) -> SandboxCall | None:
    """Return the first leg that is answered, or None when all have ended unanswered."""
    waiting = {asyncio.create_task(_answered(leg)) for leg in legs}
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (leg := task.result()) is not None:
                    return leg
        return None
    finally:
        for task in waiting:
            task.cancel()


async def _answered(leg: SandboxCall) -> SandboxCall | None:
    answered = asyncio.create_task(leg.answered.wait())
    ended = asyncio.create_task(leg.wait_ended())
    try:
        await asyncio.wait([answered, ended], return_when=asyncio.FIRST_COMPLETED)
        return leg if answered.done() and not leg.over else None
    finally:
        answered.cancel()
        ended.cancel()


async def _talk(call: SandboxCall, leg: SandboxCall, element: xml.Dial) -> None:
    """Connect the two until the leg has ended or was transferred away."""
    line = await call.pick_up()
    assert leg.line is not None, "the leg was answered"
    bridge = Bridge(line, leg.line)
    limit = element.time_limit or _TIME_LIMIT
    leg.hang_up_after(limit, SCHEDULED, HangupSource.PLIVO)

    def star(digit: str) -> None:
        if digit == "*" and element.hangup_on_star:
            leg.hang_up(NORMAL, HangupSource.CALLER)

    unlisten = line.on_digit(star)
    call.b_leg = leg
    try:
        await leg.left.wait()
    finally:
        call.b_leg = None
        unlisten()
        bridge.part()
    if leg.over:
        await leg.wait_ended()


def _let_go(leg: SandboxCall) -> None:
    """End a leg that is no longer connected, unless a transfer gave it its own document."""
    if not leg.transferred:
        cause = CANCELED if leg.record.answered is None else NORMAL
        leg.hang_up(cause, HangupSource.PLIVO)


def _notify(call: SandboxCall, callback: Target | None, action: str, leg: SandboxCall) -> None:
    call.notify(
        callback,
        call.params(
            "DialAnswer" if action == "answer" else "DialHangup",
            DialAction=action,
            DialALegUUID=call.uuid,
            DialBLegUUID=leg.uuid,
            DialBLegFrom=leg.record.from_number.removeprefix("+"),
            DialBLegTo=leg.record.to_number.removeprefix("+"),
            DialBLegStatus=leg.record.status,
            DialBLegHangupCause=leg.record.hangup_cause or "",
        ),
    )
