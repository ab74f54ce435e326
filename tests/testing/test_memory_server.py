import asyncio

import pytest

from mediaserver import Stream
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import Phone
from mediaserver.testing import in_virtual_time
from mediaserver.testing.memory_server import limited, memory_server


@in_virtual_time
async def test_several_calls_can_be_made_to_one_server() -> None:
    seen: list[str | None] = []

    async def note(stream: Stream) -> None:
        seen.append(stream.caller)

    async with memory_server(note) as server:
        for caller in ("+14155550100", None):
            url = server.address("/stream", caller=caller)
            async with Phone(url, sock=await server.connect()) as phone:
                await phone.wait_closed()
    assert seen == ["+14155550100", None]


@in_virtual_time
async def test_an_answer_needs_a_handler_at_its_path() -> None:
    async def note(stream: Stream) -> None: ...

    async with memory_server(Routes(Route(note, path="/shop"))) as server:
        with pytest.raises(LookupError, match="no handler at /other"):
            server.answer(AnswerRequest(call_id="c", caller="1", called="2"), "/other?a=b")


@in_virtual_time
async def test_a_block_that_takes_too_long_says_what_is_undone() -> None:
    with pytest.raises(TimeoutError, match="the tea is not ready within 2 s"):
        async with limited(2.0, "the tea is not ready"):
            await asyncio.sleep(3)


@in_virtual_time
async def test_a_timeout_of_the_block_itself_is_passed_on() -> None:
    with pytest.raises(TimeoutError, match="of its own"):
        async with limited(2.0, "the tea is not ready"):
            raise TimeoutError("of its own")
