import asyncio

import pytest

from mediaserver.server.workers.crew import WorkerGoneError
from mediaserver.server.workers.messages import (
    Ask,
    Replied,
)
from tests.server.until import until
from tests.server.workers.machine import Machine


async def test_a_worker_is_asked_and_replies(machine: Machine) -> None:
    worker = machine.started[1]
    asking = asyncio.create_task(machine.supervisor.ask("2.1", b"calls?", within=5.0))
    await until(lambda: isinstance(worker.got[-1], Ask))
    question = worker.got[-1]
    assert isinstance(question, Ask)
    assert question.body == b"calls?"
    worker.channel.send(Replied(question.number, b"none"))
    assert await asking == b"none"
    # Nobody waits any more.
    worker.channel.send(Replied(question.number, b"again"))


async def test_a_worker_that_does_not_reply_is_not_waited_for(machine: Machine) -> None:
    with pytest.raises(WorkerGoneError, match="no worker 9\\.1"):
        await machine.supervisor.ask("9.1", b"calls?", within=5.0)
    with pytest.raises(WorkerGoneError, match="did not reply"):
        await machine.supervisor.ask("1.1", b"calls?", within=5.0)


async def test_a_worker_that_ends_while_it_is_asked_is_not_waited_for(machine: Machine) -> None:
    worker = machine.started[1]
    asking = asyncio.create_task(machine.supervisor.ask("2.1", b"calls?", within=3_600.0))
    await until(lambda: isinstance(worker.got[-1], Ask))
    worker.end(-9)
    with pytest.raises(WorkerGoneError, match="has ended"):
        await asking
