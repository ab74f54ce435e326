import asyncio

import pytest

from mediaserver.testing.replies import Hold, streams


async def test_a_hold_waits_until_it_is_released() -> None:
    hold = Hold()
    waiting = asyncio.create_task(hold.wait())
    await hold.reached.wait()
    assert not waiting.done()
    hold.release()
    await waiting
    assert not hold.left.is_set()


async def test_a_hold_notes_that_the_connection_was_closed() -> None:
    hold = Hold()
    waiting = asyncio.create_task(hold.wait())
    await hold.reached.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert hold.left.is_set()


def test_a_stream_is_of_events_and_pauses() -> None:
    hold = Hold()
    assert streams({"a": 1}, "[DONE]", hold, b": raw").body == [
        b'data: {"a": 1}\n\n',
        b"data: [DONE]\n\n",
        hold,
        b": raw",
    ]
