"""Plays a captured call against a handler."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from mediaserver.captures.capture_file import read_capture
from mediaserver.handler import Handler, StreamHandler
from mediaserver.replay.captured_call import CapturedCall
from mediaserver.replay.carrier import PATIENCE, ReplayedCarrier
from mediaserver.replay.comparison import CallComparison
from mediaserver.replay.heard_call import HeardCall, captured_hearing
from mediaserver.replay.noted_decisions import NotedDecisions
from mediaserver.routes import Route, Routes
from mediaserver.settings import Settings
from mediaserver.testing.memory_server import limited, memory_server
from mediaserver.testing.virtual_time import run_virtual


_LEAVING: Final = 30.0
"""Seconds in which the handler must return once the call is over; the server cancels it before."""


def replayed(
    capture: Path | str,
    handler: StreamHandler | type[Handler] | Routes,
    *,
    settings: Settings | None = None,
    patience: float = PATIENCE,
    tolerance: float = 0.0,
) -> CallComparison:
    """Play a captured call against a handler in virtual time, and compare the two.

    The handler must not need threads, processes or the network: see `run_virtual`. Give services
    that answer by a script to an agent that uses remote ones.

    Args:
        capture: the file.
        handler: the handler, which gets the path of then, or routes.
        settings: the server's settings; those that decide when audio is sent are the captured ones.
        patience: seconds for which the caller stays on, in silence, after the moment at which the
            server had ended the captured call.
        tolerance: seconds by which the same audio may be heard earlier or later.

    Raises:
        CaptureError: the file is not the capture of a call.
        OSError: it cannot be read.
        CallFailed: the server does not take the call.

    """
    call = CapturedCall.read(read_capture(Path(capture)))
    playing = replay(call, handler, settings=settings, patience=patience, tolerance=tolerance)
    return run_virtual(playing, within=longest(call, patience))


def longest(call: CapturedCall, patience: float = PATIENCE) -> float:
    """Return the seconds of its own time in which a replay must be over."""
    return call.ended + patience + 4 * _LEAVING


async def replay(
    call: CapturedCall,
    handler: StreamHandler | type[Handler] | Routes,
    *,
    settings: Settings | None = None,
    patience: float = PATIENCE,
    tolerance: float = 0.0,
) -> CallComparison:
    """Play a captured call against a handler, in the time of the running event loop.

    See `replayed` for the arguments. In an ordinary loop the call takes as long as it took then,
    and the handler may use whatever it needs.

    Raises:
        CallFailed: the server does not take the call.
        TimeoutError: the handler has not returned after the call.

    """
    head = call.capture.head
    path = quote(head.path) + (f"?{urlencode(head.query)}" if head.query else "")
    if not isinstance(handler, Routes):
        handler = Routes(Route(handler, path=call.route_path))
    cpu = time.process_time()
    async with memory_server(handler, settings=call.settings(settings)) as server:
        runtime = server.runtime
        noted = NotedDecisions(runtime.clock)
        runtime.observers.add(noted)
        answer = call.answer
        url = server.address(
            path, call_id=call.start.call_id, caller=head.caller, called=head.called
        )
        if answer is not None:
            server.answer(answer, head.path)
        carrier = ReplayedCarrier(call, server.connect, url, patience=patience)
        await carrier.run()
        async with limited(_LEAVING, "the handler has not returned"):
            await runtime.without_calls.wait()
        await runtime.after_calls.finish()
    assert carrier.ended is not None
    heard = HeardCall.of(
        carrier.buffer,
        carrier.ledger,
        seconds=carrier.ended,
        decisions=noted.decisions,
        end_reason=noted.end_reason,
        cpu=time.process_time() - cpu,
    )
    errors = [repr(error) for error in runtime.errors]
    return CallComparison(call, captured_hearing(call), heard, errors, tolerance)
