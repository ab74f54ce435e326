from typing import Any

import pytest

from mediaserver import Stream
from mediaserver.server.call_control import CloseStream
from mediaserver.stream import CallControlError
from mediaserver.testing import joined


class FakeStream:
    call_id = "the call"
    closed = False

    def close(self) -> None:
        self.closed = True


async def test_hanging_up_closes_the_stream() -> None:
    stream: Any = FakeStream()
    await CloseStream().hang_up(stream)
    assert stream.closed


async def test_a_transfer_is_refused_and_says_what_it_needs() -> None:
    stream: Any = FakeStream()
    with pytest.raises(
        CallControlError, match=r"transfer call the call to https://x/: .* REST API"
    ):
        await CloseStream().transfer(stream, "https://x/")
    assert not stream.closed


async def test_a_handler_that_hangs_up_ends_the_call_for_the_phone() -> None:
    async def handler(stream: Stream) -> None:
        await stream.hang_up()
        async for _ in stream.audio():
            pass

    async with joined(handler) as line:
        await line.phone.wait_closed()
    report = line.phone.report()
    assert (report.ended_by, report.close_code) == ("server", 1000)
    assert report.close_reason == "closed by the handler"
