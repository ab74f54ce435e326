import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.server.workers.machine import Machine


@pytest.fixture
async def start_machine() -> AsyncIterator[Callable[..., Machine]]:
    machines: list[Machine] = []

    def start(size: int = 2, **options: Any) -> Machine:
        machines.append(Machine(size, **options))
        return machines[-1]

    yield start
    for machine in machines:
        machine.supervisor.stop()
        while not machine.task.done():
            for each in machine.started:
                each.end()
            await asyncio.sleep(0.01)
        for each in machine.started:
            each.close()
        machine.listener.close()
        await machine.task


@pytest.fixture
async def machine(start_machine: Callable[..., Machine]) -> Machine:
    machine = start_machine()
    await machine.serve()
    return machine
