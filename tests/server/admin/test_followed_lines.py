import asyncio
import json
from typing import Any, cast

import pytest

from mediaserver.server.admin.commands import CallCommand, Delivery, TracedLines
from mediaserver.server.admin.followed_lines import followed_lines
from mediaserver.server.admin.traced_calls import LEASE


class Answers:
    """A directory that answers in this order."""

    def __init__(self, *deliveries: Delivery) -> None:
        self._deliveries = list(deliveries)
        self.asked: list[CallCommand] = []

    async def send(self, command: CallCommand) -> Delivery:
        self.asked.append(command)
        return self._deliveries.pop(0) if len(self._deliveries) > 1 else self._deliveries[0]


async def followed(directory: Any, first: TracedLines) -> list[dict[str, Any]]:
    command = CallCommand("trace", "call-1")
    pieces = [piece async for piece in followed_lines(directory, command, first)]
    return [json.loads(line) for line in b"".join(pieces).splitlines() if line]


def done(*lines: str, after: int, missed: int = 0, ended: bool = False) -> Delivery:
    return Delivery("done", traced=TracedLines(list(lines), after, "a/1", missed, ended))


FIRST = TracedLines(['{"what":"one"}'], 5, "a/1")


async def test_lines_are_asked_for_where_the_last_ones_came_from() -> None:
    directory = Answers(done(after=5), done('{"what":"two"}', after=6, ended=True))
    assert await followed(directory, FIRST) == [{"what": "one"}, {"what": "two"}]
    assert [(each.after, each.process) for each in directory.asked] == [(5, "a/1"), (5, "a/1")]


async def test_a_slow_reader_is_told_how_many_lines_it_missed() -> None:
    directory = Answers(done(after=9, missed=4), done(after=9, missed=-1, ended=True))
    assert await followed(directory, FIRST) == [
        {"what": "one"},
        {"what": "lines missed", "lines": 4},
        {"what": "lines missed", "lines": None},
    ]


async def test_a_process_that_does_not_answer_for_a_while_is_asked_again() -> None:
    blocked = Delivery("not_delivered", "worker 1.1 did not answer")
    directory = Answers(blocked, done('{"what":"two"}', after=6, ended=True))
    assert [each["what"] for each in await followed(directory, FIRST)] == [
        "one",
        "no answer",
        "two",
    ]


async def test_a_trace_ends_with_its_process_or_its_call() -> None:
    gone = await followed(Answers(Delivery("unknown_call", "no live call")), FIRST)
    assert gone[-1] == {"what": "trace ended", "reason": "no live call"}
    silent = await followed(Answers(Delivery("not_delivered", "silent")), FIRST)
    assert [each["what"] for each in silent].count("no answer") < 30
    assert silent[-1] == {"what": "trace ended", "reason": "silent"}


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_call_is_followed_while_its_reader_stands_still_and_until_it_leaves(
    leaves: bool,
) -> None:
    directory: Any = Answers(done(after=5))
    lines = cast(Any, followed_lines(directory, CallCommand("trace", "call-1"), FIRST))
    await anext(lines)
    if leaves:
        await lines.aclose()
    await asyncio.sleep(3 * LEASE)
    assert bool(directory.asked) is not leaves
    await lines.aclose()
