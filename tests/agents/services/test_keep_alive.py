import asyncio

import pytest

from mediaserver.agents.services.keep_alive import KeepAlives
from mediaserver.testing import in_virtual_time


class Noted:
    def __init__(self, *, stuck: bool = False) -> None:
        self.times: list[float] = []
        self.stuck = stuck

    async def keep_alive(self) -> None:
        self.times.append(asyncio.get_running_loop().time())
        if self.stuck:
            await asyncio.get_running_loop().create_future()


@in_virtual_time
async def test_connections_are_kept_open_by_one_task_until_the_last_is_removed() -> None:
    keeping = KeepAlives(3.0)
    kept = [Noted() for _ in range(5)]
    before = len(asyncio.all_tasks())
    for each in kept:
        keeping.add(each)
    assert len(asyncio.all_tasks()) == before + 1
    await asyncio.sleep(7)
    for each in kept:
        keeping.remove(each)
        keeping.remove(each)
    await asyncio.sleep(7)
    assert len(asyncio.all_tasks()) == before
    assert [each.times for each in kept] == [[3.0, 6.0]] * 5


@in_virtual_time
async def test_a_connection_that_takes_nothing_does_not_hold_the_others_up() -> None:
    keeping = KeepAlives(3.0)
    stuck, kept = Noted(stuck=True), Noted()
    keeping.add(stuck)
    keeping.add(kept)
    await asyncio.sleep(9)
    keeping.remove(stuck)
    keeping.remove(kept)
    assert len(kept.times) == 2
    assert max(kept.times) == pytest.approx(8, abs=1.1)
