"""Handlers of this project, for `mediaserver serve`."""

from __future__ import annotations

import os

from interop.servers.report import report
from interop.sound import greeting
from mediaserver import Dtmf, Frame, Stream


TRANSFER_URL = "INTEROP_TRANSFER_URL"
"""Environment variable with the URL of the XML for a transferred call."""


async def echo(stream: Stream) -> None:
    """Echo the caller, and report keys."""
    await report(
        "start", call=stream.call_id, format=str(stream.format), headers=dict(stream.extra_headers)
    )
    await stream.play(greeting(stream.format))
    async for event in stream.events():
        if isinstance(event, Frame):
            await stream.play(event)
        elif isinstance(event, Dtmf):
            await report("key", call=stream.call_id, digit=event.digit)


async def operator(stream: Stream) -> None:
    """Obey keys: 1 hangs up, 2 transfers the call."""
    await report("start", call=stream.call_id, caller=stream.caller, called=stream.called)
    await stream.play(greeting(stream.format))
    async for event in stream.controls():
        if not isinstance(event, Dtmf):
            continue
        await report("key", call=stream.call_id, digit=event.digit)
        if event.digit == "1":
            await stream.hang_up()
        elif event.digit == "2":
            await stream.transfer(os.environ[TRANSFER_URL])
