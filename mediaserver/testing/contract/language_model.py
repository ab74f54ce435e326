"""What every `LanguageModel` must do."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from unittest import SkipTest

from mediaserver.agents.services import (
    LanguageModel,
    Message,
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.testing.contract.service import ServiceContract, close_iterator


_WEATHER = ToolSpec(
    "weather",
    "The weather in a town.",
    {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
)

_ASKED: tuple[Message, ...] = (Text("system", "Be brief."), Text("user", "Good morning."))

_LONG: tuple[Message, ...] = (
    Text("system", "Be brief."),
    Text("assistant", "Good morning."),
    Text("user", "How is the weather in Bonn, and in Köln? 🙂"),
    ToolCall("call_1", "weather", '{"town": "Bonn"}'),
    ToolCall("call_2", "weather", '{"town": "Köln"}'),
    ToolResult("call_1", "sunny"),
    ToolResult("call_2", "", error="the service is down"),
    Text("assistant", "Sunny in Bonn."),
    Text("user", "And"),
    Text("user", "tomorrow?"),
)


class LanguageModelContract(ServiceContract[LanguageModel]):
    """The contract of a `LanguageModel`: see `ServiceContract` for what a test says."""

    def calling(self) -> AbstractAsyncContextManager[LanguageModel]:
        """Return a context that makes the model, with a server that has it use `weather`."""
        raise SkipTest("override calling() to have tool calls checked")

    async def use(self, service: LanguageModel) -> None:
        """Have a conversation answered."""
        await self._respond(service)

    def test_a_conversation_is_answered(self) -> None:
        """Pieces of text come, none of them empty."""
        self.run(lambda service: self._answered(service, _ASKED))

    def test_every_kind_of_message_is_taken(self) -> None:
        """A prompt, turns, calls, results and failures of tools are a conversation."""
        self.run(lambda service: self._answered(service, _LONG, (_WEATHER,)))

    def test_the_conversation_is_left_as_it_is(self) -> None:
        """The messages and the tools belong to the agent."""

        async def check(service: LanguageModel) -> None:
            messages, tools = list(_LONG), [copy.deepcopy(_WEATHER)]
            await self._respond(service, messages, tools)
            assert messages == list(_LONG), "the model changed the conversation"
            assert tools == [_WEATHER], "the model changed the tools"

        self.run(check)

    def test_the_cost_is_told_once_at_most(self) -> None:
        """A second `Tokens` would be charged for as well."""

        async def check(service: LanguageModel) -> None:
            costs = [each for each in await self._respond(service) if isinstance(each, Tokens)]
            assert len(costs) <= 1, f"one answer has one cost, not {len(costs)}"
            for cost in costs:
                counts = (cost.tokens_in, cost.tokens_out, cost.tokens_cached)
                assert min(counts) >= 0, f"a cost is not negative: {cost}"
                assert cost.tokens_cached <= cost.tokens_in, f"more was cached than read: {cost}"

        self.run(check)

    def test_a_tool_is_called_with_a_json_object(self) -> None:
        """A call names a tool of those offered, has an id of its own, and a JSON object."""

        async def check(service: LanguageModel) -> None:
            pieces = await self._respond(service, _ASKED, (_WEATHER,))
            calls = [each for each in pieces if isinstance(each, ToolCall)]
            assert calls, "the model was to use the tool, and no ToolCall came"
            for call in calls:
                assert call.name == _WEATHER.name, f"there is no tool {call.name!r}"
                assert isinstance(_json(call.arguments), dict), (
                    f"the arguments are not a JSON object: {call.arguments[:80]!r}"
                )
            ids = [call.id for call in calls]
            assert all(ids), f"each call has an id: {ids}"
            assert len({*ids}) == len(ids), f"calls have ids of their own: {ids}"

        self.run(check, self.calling)

    def test_two_answers_at_once_are_each_whole(self) -> None:
        """Two calls have their answers at the same time."""

        async def check(service: LanguageModel) -> None:
            await asyncio.gather(self._answered(service, _ASKED), self._answered(service, _ASKED))

        self.run(check)

    def test_an_interrupted_answer_ends_in_time(self) -> None:
        """An answer that is closed after its first piece ends, and the next one works."""

        async def check(service: LanguageModel) -> None:
            answer = service.respond(_ASKED, ())
            await anext(answer)
            await self.in_time(close_iterator(answer), 1.0, "an answer that was closed did not end")
            await self._answered(service, _ASKED)

        self.run(check)

    async def _answered(
        self,
        service: LanguageModel,
        conversation: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
    ) -> None:
        pieces = await self._respond(service, conversation, tools)
        said = [each for each in pieces if isinstance(each, str)]
        assert "".join(said).strip(), "the answer has no text"
        assert all(said), "a piece of text is empty"

    async def _respond(
        self,
        service: LanguageModel,
        conversation: Sequence[Message] = _ASKED,
        tools: Sequence[ToolSpec] = (),
    ) -> list[str | ToolCall | Tokens]:
        answer = service.respond(conversation, tools)
        try:
            return [piece async for piece in answer]
        finally:
            await close_iterator(answer)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
