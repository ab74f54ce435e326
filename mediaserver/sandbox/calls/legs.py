"""The legs that `<Dial>` adds to a call: who is dialled, and who answers first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mediaserver.plivo import xml
from mediaserver.sandbox.audio.bridge import Bridge
from mediaserver.sandbox.calls.hangup import CANCELED, LOST_RACE, NORMAL, SCHEDULED, HangupSource
from mediaserver.sandbox.webhooks import Target


if TYPE_CHECKING:
    from mediaserver.sandbox.calls.call import SandboxCall

_TIME_LIMIT: Final = 14_400.0
_RING_TIMEOUT: Final = 120.0


async def connect_legs(call: SandboxCall, element: xml.Dial) -> dict[str, str]:
    """Connect `call` with the first to answer, until one of them is gone.

    Returns:
        What the action URL is told.

    """
    legs: list[SandboxCall] = []
    winner: SandboxCall | None = None
    callback = None
    if element.callback_url is not None:
        callback = Target(element.callback_url, element.callback_method or "POST")
    try:
        for each in element.targets:
            leg = await _place(call, element, each)
            legs.append(leg)
        winner = await _first_to_answer(legs)
        for leg in legs:
            if leg is not winner:
                leg.hang_up(LOST_RACE, HangupSource.PLIVO)
        if winner is not None:
            _tell(call, callback, "answer", winner)
            await _talk(call, winner, element)
            _tell(call, callback, "hangup", winner)
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


async def _place(
    call: SandboxCall, element: xml.Dial, target: xml.Number | xml.User
) -> SandboxCall:
    return await call.exchange.add_leg(
        call,
        target.number if isinstance(target, xml.Number) else target.sip_uri,
        caller=element.caller_id or call.record.from_number,
        caller_name=element.caller_name or "",
        ring_timeout=element.timeout or _RING_TIMEOUT,
        send_digits=target.send_digits or "",
    )


async def _first_to_answer(legs: Sequence[SandboxCall]) -> SandboxCall | None:
    """Wait until one of the legs was answered, or all have ended."""
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
    """Let the two hear each other until the leg is gone, or is transferred away."""
    line = await call.pick_up()
    assert leg.line is not None, "it was answered"
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
    """End a leg that nobody talks to any more, unless it was given a document of its own."""
    if not leg.transferred:
        cause = CANCELED if leg.record.answered is None else NORMAL
        leg.hang_up(cause, HangupSource.PLIVO)


def _tell(call: SandboxCall, callback: Target | None, action: str, leg: SandboxCall) -> None:
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
