import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents import Echo
from mediaserver.captures.capture_lines import Capture, CapturedLine, CaptureHead
from mediaserver.protocol import Start, encode_event
from mediaserver.replay.captured_call import CapturedCall
from mediaserver.replay.carrier import ReplayedCarrier
from mediaserver.sandbox import CallFailed
from mediaserver.sandbox.wire.messages import StreamIdentity
from mediaserver.sandbox.wire.session import CarrierSession
from mediaserver.testing import run_virtual
from mediaserver.testing.memory_server import memory_server
from tests.replay.captured import captured_call, two_seconds


IDENTITY = StreamIdentity.new()
START = encode_event(
    Start(
        IDENTITY.call_id,
        IDENTITY.stream_id,
        IDENTITY.account_id,
        ("inbound",),
        MULAW_8K,
        sequence_number=1,
    )
).encode()


def carried(call: CapturedCall, handler: Any, **options: Any) -> ReplayedCarrier:
    async def run() -> ReplayedCarrier:
        async with memory_server(handler) as server:
            carrier = ReplayedCarrier(call, server.connect, server.address("/stream"), **options)
            await carrier.run()
            await server.runtime.without_calls.wait()
            return carrier

    return run_virtual(run(), within=100)


def test_messages_are_sent_as_they_were_and_at_their_times() -> None:
    got: list[tuple[float, int, int]] = []

    async def count(stream: Any) -> None:
        began = stream.clock()
        async for _ in stream.audio():
            pass
        counters = stream.counters
        got.append((stream.clock() - began, counters.messages_in, counters.malformed_messages))

    lines = [
        CapturedLine(0.0, "<", START),
        CapturedLine(0.3, "<", b"nonsense"),
        CapturedLine(0.7, "<", b'{"event":"stop"}'),
    ]
    carried(CapturedCall.read(Capture(CaptureHead(), lines)), count)
    assert got == [(pytest.approx(0.7, abs=1e-5), 3, 1)]


def test_the_end_and_what_was_played_are_known(tmp_path: Path) -> None:
    carrier = carried(captured_call(tmp_path, Echo, two_seconds), Echo)
    assert carrier.ended == pytest.approx(2.0, abs=0.01)
    assert carrier.buffer.played == pytest.approx(1.98, abs=0.03)
    assert carrier.ledger.errors == {}


def test_text_that_is_no_utf_8_is_sent_as_it_came() -> None:
    lines = [
        CapturedLine(0.0, "<", START),
        CapturedLine(0.3, "<", b"\xff"),
        CapturedLine(2.0, "<", b'{"event":"stop"}'),
    ]
    carrier = carried(CapturedCall.read(Capture(CaptureHead(), lines)), Echo)
    assert carrier.ended is not None


def test_binary_messages_are_sent_as_such() -> None:
    got: list[int] = []

    async def count(stream: Any) -> None:
        async for _ in stream.audio():
            pass
        got.append(stream.counters.malformed_messages)

    lines = [
        CapturedLine(0.0, "<", START),
        CapturedLine(0.3, "<", b'{"event":"stop"}', binary=True),
        CapturedLine(2.0, "<", b'{"event":"stop"}'),
    ]
    carrier = carried(CapturedCall.read(Capture(CaptureHead(), lines)), count)
    assert got == [1]
    assert carrier.ended == pytest.approx(2.0, abs=0.01)


def test_a_call_that_is_not_taken_is_an_error(tmp_path: Path) -> None:
    call = captured_call(tmp_path, Echo, two_seconds)

    async def connect() -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.close()
        theirs.setblocking(False)
        return theirs

    async def run() -> None:
        await ReplayedCarrier(call, connect, "ws://phone.test/stream").run()

    with pytest.raises(CallFailed):
        run_virtual(run())


def test_what_goes_wrong_on_a_connection_that_was_opened_again_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [
        CapturedLine(0.0, "<", START),
        CapturedLine(0.5, "!", b'{"what":"connection lost"}'),
        CapturedLine(0.7, "!", b'{"what":"reconnected"}'),
        CapturedLine(9.0, "<", b'{"event":"stop"}'),
    ]
    receive = CarrierSession.receive

    def fail(session: CarrierSession, message: str | bytes, now: float) -> None:
        if now > 0.7:
            raise RuntimeError("no receiver")
        receive(session, message, now)

    async def speak(stream: Any) -> None:
        await stream.play(bytes(8_000))
        await Echo(stream)

    monkeypatch.setattr(CarrierSession, "receive", fail)
    with pytest.raises(RuntimeError, match="no receiver"):
        carried(CapturedCall.read(Capture(CaptureHead(), lines)), speak)


def test_a_connection_that_cannot_be_opened_again_ends_the_call() -> None:
    lines = [
        CapturedLine(0.0, "<", START),
        CapturedLine(0.5, "!", b'{"what":"connection lost"}'),
        CapturedLine(0.7, "!", b'{"what":"reconnected"}'),
        CapturedLine(2.0, "<", b'{"event":"stop"}'),
    ]
    call = CapturedCall.read(Capture(CaptureHead(), lines))

    async def run() -> None:
        async with memory_server(Echo) as server:
            sockets = [await server.connect()]

            async def connect() -> socket.socket:
                return sockets.pop()

            async with asyncio.timeout(30):
                await ReplayedCarrier(call, connect, server.address("/stream")).run()

    with pytest.raises(IndexError):
        run_virtual(run())


@pytest.mark.parametrize(("reason", "frames"), [("stop", 0), ("closed by the handler", 50)])
def test_a_carrier_that_fell_silent_stays_so_until_the_end_of_then(
    reason: str, frames: int
) -> None:
    got: list[int] = []

    async def count(stream: Any) -> None:
        async for _ in stream.audio():
            pass
        got.append(stream.counters.messages_in - 1)

    lines = [
        CapturedLine(0.0, "<", START),
        CapturedLine(2.0, "!", b'{"what":"stream ended","reason":"%s"}' % reason.encode()),
    ]
    call = CapturedCall.read(Capture(CaptureHead(), lines))
    carried(call, count, patience=0.99)
    assert got == [frames]
