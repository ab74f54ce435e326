import asyncio

from mediaserver.server.fleet.background import doing
from mediaserver.testing import run_virtual


def test_work_is_done_within_the_block() -> None:
    done: list[float] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        while True:
            done.append(loop.time())
            await asyncio.sleep(1)

    async def main() -> None:
        async with doing(work=work()):
            await asyncio.sleep(2.5)
        await asyncio.sleep(5)

    run_virtual(main())
    assert len(done) == 3


def test_work_that_loses_a_cancellation_ends_with_the_block() -> None:
    async def work() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                break
        await asyncio.sleep(3600)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with doing(work=work()):
            await asyncio.sleep(1)
            ends = loop.time()
        return loop.time() - ends

    assert run_virtual(main()) < 1
