"""A whole call to an agent with a model of Anthropic's, over its protocol, in virtual time."""

import pytest

from mediaserver.agents.services.anthropic.model import AnthropicModel
from mediaserver.testing.anthropic import AnthropicServer, AnthropicToolUse, anthropic_answers
from tests.agents.clerks import LONG, check_writing


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)


async def test_a_call_with_a_language_model_of_anthropics() -> None:
    async with AnthropicServer() as server:
        server.messages.will(
            anthropic_answers("What can I ", "do for you?"),
            anthropic_answers(uses=[AnthropicToolUse("weather", {"town": "Rome"})], thinking=["s"]),
            anthropic_answers("It rains in Rome."),
            anthropic_answers(LONG),
            anthropic_answers("Sorry."),
        )
        model = AnthropicModel(
            base_url=server.base_url, api_key=server.api_key, thinking="adaptive"
        )
        await check_writing(model)
        assert server.refused == []
        asked = [each.params["messages"] for each in server.messages.received]
    assert [block["text"] for message in asked[0] for block in message["content"]] == [
        "(The call begins.)",
        "Hello there.",
        "Hello?",
    ]
    kinds = [[block["type"] for message in one for block in message["content"]] for one in asked]
    assert ["thinking" in each for each in kinds] == [False, False, True, False, False]
