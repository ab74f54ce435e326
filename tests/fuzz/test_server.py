"""The whole server over sockets, with inputs that hypothesis makes and those that are kept."""

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tools.fuzz.__main__ import fuzz
from tools.fuzz.inputs import MESSAGES, UPGRADE, Mutator, frame, kept_inputs, seeds
from tools.fuzz.target import SPLIT, FuzzTarget


T = TypeVar("T")

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Connection:
    """One connection that stays open between the steps of hypothesis."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer


class Conversation(RuleBasedStateMachine):
    """Several connections, in any order, of which each may stop, go on or break the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.target = FuzzTarget()
        self.connections: list[Connection] = []

    def do(self, work: Awaitable[T]) -> T:
        async def within() -> T:
            async with asyncio.timeout(30):
                return await work

        return self.loop.run_until_complete(within())

    def write(self, number: int, data: bytes) -> None:
        if self.connections:
            self.connections[number % len(self.connections)].writer.write(data)
            self.do(asyncio.sleep(0))

    @initialize()
    def start(self) -> None:
        self.do(self.target.__aenter__())

    @rule()
    def connect(self) -> None:
        if len(self.connections) < 4:
            opened = self.do(asyncio.open_connection("127.0.0.1", self.target.port))
            self.connections.append(Connection(*opened))

    @rule(number=st.integers(0, 3), request=st.sampled_from(seeds()), length=st.integers(1, 400))
    def ask(self, number: int, request: bytes, length: int) -> None:
        self.write(number, request[:length])

    @rule(number=st.integers(0, 3))
    def upgrade(self, number: int) -> None:
        self.write(number, UPGRADE)

    @rule(number=st.integers(0, 3), message=st.sampled_from(MESSAGES), opcode=st.integers(0, 15))
    def say(self, number: int, message: object, opcode: int) -> None:
        self.write(number, frame(json.dumps(message).encode(), opcode, fin=opcode < 8))

    @rule(number=st.integers(0, 3), data=st.binary(min_size=1, max_size=200))
    def say_nonsense(self, number: int, data: bytes) -> None:
        self.write(number, data)

    @rule(number=st.integers(0, 3), seed=st.integers(0, 10_000))
    def say_something_changed(self, number: int, seed: int) -> None:
        for piece in Mutator(seed).pieces():
            self.write(number, piece)

    @rule(number=st.integers(0, 3), gently=st.booleans())
    def leave(self, number: int, gently: bool) -> None:
        if self.connections:
            gone = self.connections.pop(number % len(self.connections))
            if gently:
                gone.writer.close()
            else:
                gone.writer.transport.abort()
            self.do(asyncio.sleep(0))

    @invariant()
    def others_are_answered(self) -> None:
        if self.target.port:
            assert self.do(self.target.send([HEALTH])).endswith(b"\r\n\r\nok\n")
            assert not self.target.crashes
            assert not self.target.hangs

    def teardown(self) -> None:
        for each in self.connections:
            each.writer.transport.abort()
        if self.target.port:
            self.do(self.target.__aexit__(None, None, None))
        self.loop.close()
        assert not self.target.crashes


def test_no_conversation_harms_the_server() -> None:
    run_state_machine_as_test(
        Conversation,
        settings=settings(max_examples=12, stateful_step_count=25, deadline=None),
    )


async def test_inputs_that_are_kept_do_no_harm() -> None:
    assert kept_inputs()
    async with FuzzTarget() as target:
        for data in kept_inputs():
            await target.send(data.split(SPLIT))
    assert not target.crashes
    assert not target.hangs


@pytest.mark.parametrize("seed", [5, 6, 8])
async def test_changed_inputs_do_no_harm_to_the_server_and_to_an_honest_call(
    tmp_path: Path, seed: int
) -> None:
    target = await fuzz(
        inputs=350,
        seconds=float("inf"),
        seed=seed,
        connections=8,
        findings=tmp_path,
        longest_gap=float("inf"),
    )
    assert not target.crashes
    assert not target.hangs
    assert target.inputs >= 350


@pytest.mark.parametrize("signs", [False, True])
def test_the_same_seed_makes_the_same_inputs(signs: bool) -> None:
    one, two = Mutator(3, signs=signs), Mutator(3, signs=signs)
    assert [one.pieces() for _ in range(50)] == [two.pieces() for _ in range(50)]
