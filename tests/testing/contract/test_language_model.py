import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mediaserver.agents.services import Message, Tokens, ToolCall, ToolResult, ToolSpec
from mediaserver.testing.contract import LanguageModelContract, ServiceContract
from tests.testing.contract.breaking import assert_fails, checks_of, in_virtual_time


class Mind:
    """Says "I see.", and breaks the contract as it is told."""

    def __init__(self, fault: str = "", *, calls: bool = False) -> None:
        self.fault = fault
        self.calls = calls
        self.open = 0

    async def respond(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncIterator[str | ToolCall | Tokens]:
        self.open += 1
        try:
            if self.calls and self.fault != "uncalled":
                arguments = "nothing" if self.fault == "arguments" else '{"town": "Bonn"}'
                name = "wether" if self.fault == "tool" else tools[0].name
                yield ToolCall("" if self.fault == "id" else "1", name, arguments)
                yield ToolCall("1" if self.fault == "same" else "2", name, arguments)
            if self.fault == "change":
                conversation.pop()  # type: ignore[attr-defined]
            if self.fault == "results" and any(isinstance(m, ToolResult) for m in conversation):
                return
            if self.fault == "mute" or (self.fault == "two" and self.open > 1):
                return
            if self.fault == "empty":
                yield ""
            yield "I "
            await asyncio.sleep(0.1)
            yield "see."
            yield Tokens(-1 if self.fault == "cost" else 1, 1, 9 if self.fault == "cached" else 0)
            if self.fault == "again":
                yield Tokens(1, 1)
        finally:
            self.open -= 1
            if self.fault == "slow":
                await asyncio.sleep(2)


def contract(fault: str = "") -> ServiceContract[Any]:
    @asynccontextmanager
    async def opened(self: object) -> AsyncIterator[Mind]:
        yield Mind(fault)

    @asynccontextmanager
    async def calling(self: object) -> AsyncIterator[Mind]:
        yield Mind(fault, calls=True)

    return in_virtual_time(LanguageModelContract, opened=opened, calling=calling)


BROKEN = [
    ("test_a_conversation_is_answered", "mute", "has no text"),
    ("test_a_conversation_is_answered", "empty", "a piece of text is empty"),
    ("test_every_kind_of_message_is_taken", "results", "has no text"),
    ("test_the_conversation_is_left_as_it_is", "change", "changed the conversation"),
    ("test_the_cost_is_told_once_at_most", "again", "not 2"),
    ("test_the_cost_is_told_once_at_most", "cost", "is not negative"),
    ("test_the_cost_is_told_once_at_most", "cached", "more was cached than read"),
    ("test_a_tool_is_called_with_a_json_object", "uncalled", "no ToolCall came"),
    ("test_a_tool_is_called_with_a_json_object", "arguments", "not a JSON object: 'nothing'"),
    ("test_a_tool_is_called_with_a_json_object", "tool", "there is no tool 'wether'"),
    ("test_a_tool_is_called_with_a_json_object", "id", "each call has an id"),
    ("test_a_tool_is_called_with_a_json_object", "same", "ids of their own"),
    ("test_two_answers_at_once_are_each_whole", "two", "has no text"),
    ("test_an_interrupted_answer_ends_in_time", "slow", "did not end within 1 s"),
]


@pytest.mark.parametrize("check", sorted(checks_of(LanguageModelContract)))
def test_a_service_that_keeps_the_contract_passes(check: str) -> None:
    getattr(contract(), check)()


@pytest.mark.parametrize(("check", "fault", "text"), BROKEN)
def test_a_service_that_breaks_the_contract_fails(check: str, fault: str, text: str) -> None:
    assert_fails(contract(fault), check, text)


def test_every_check_is_shown_to_fail() -> None:
    assert {check for check, _, _ in BROKEN} == checks_of(LanguageModelContract)
