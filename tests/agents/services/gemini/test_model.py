from typing import Any

import pytest

from mediaserver.agents.services import (
    NoAnswerError,
    ServiceError,
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.agents.services.gemini.model import GeminiModel
from mediaserver.testing.gemini import GeminiServer, GeminiToolCall, answers, refuses
from mediaserver.testing.replies import Hold, HttpReply, streams


HELLO = [Text("system", "Be brief."), Text("user", "hello")]
LOOK = ToolSpec("look", "Looks.", {"type": "object", "properties": {"at": {"type": "integer"}}})


async def answer(model: GeminiModel, messages: Any = HELLO, tools: Any = ()) -> list[Any]:
    return [piece async for piece in model.respond(messages, tools)]


async def test_the_answer_is_streamed_and_its_cost_told(
    gemini: GeminiServer, model: GeminiModel
) -> None:
    gemini.generate.will(
        answers("Good ", "morning.", thoughts=["A greeting?"], tokens=(20, 5, 16, 7))
    )
    assert await answer(model) == ["Good ", "morning.", Tokens(20, 12, 16)]
    (request,) = gemini.generate.received
    assert request.params["model"] == "gemini-3.8-flash"
    assert request.params["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert request.params["contents"] == [{"role": "user", "parts": [{"text": "hello"}]}]
    assert request.params["generationConfig"] == {"thinkingConfig": {"thinkingLevel": "LOW"}}
    assert gemini.refused == []


async def test_a_piece_comes_while_the_model_still_writes(
    gemini: GeminiServer, model: GeminiModel
) -> None:
    hold = Hold()
    gemini.generate.will(answers("Good ", hold, "morning."))
    pieces = model.respond(HELLO, [])
    assert await anext(pieces) == "Good "
    hold.release()
    assert await anext(pieces) == "morning."
    await pieces.aclose()


async def test_a_thought_signature_goes_back_with_the_call_that_it_came_with(
    gemini: GeminiServer, model: GeminiModel
) -> None:
    gemini.generate.will(
        answers(
            calls=[GeminiToolCall("look", {"at": 1}, "a", "c2ln"), GeminiToolCall("look", id="b")]
        ),
        answers(calls=[GeminiToolCall("look", {"at": 3}, "c", "c2ln")]),
    )
    first, second, _ = await answer(model, tools=[LOOK])
    assert (first, second) == (ToolCall("a", "look", '{"at": 1}'), ToolCall("b", "look", "{}"))
    messages = [*HELLO, first, second, ToolResult("b", "no"), ToolResult("a", "yes")]
    third, _ = await answer(model, messages, [LOOK])
    assert (await answer(model, [*messages, third, ToolResult("c", "so")], [LOOK]))[0]
    made, results = gemini.generate.received[-1].params["contents"][1:3]
    assert [part.get("thoughtSignature") for part in made["parts"]] == ["c2ln", None]
    assert [part["functionResponse"]["response"] for part in results["parts"]] == [
        {"output": "yes"},
        {"output": "no"},
    ]
    assert gemini.refused == []


async def test_a_call_whose_signature_was_dropped_is_refused(
    gemini: GeminiServer, model: GeminiModel
) -> None:
    messages = [*HELLO, ToolCall("a", "look", "{}"), ToolResult("a", "yes")]
    with pytest.raises(ServiceError, match="missing a thought_signature"):
        await answer(model, messages, [LOOK])


async def test_ids_that_a_model_leaves_out_are_made_up(
    gemini: GeminiServer, model: GeminiModel
) -> None:
    gemini.generate.will(answers(calls=[GeminiToolCall("look", id=None)] * 2))
    first, second, _ = await answer(model)
    assert first.id != second.id


async def test_a_field_that_the_api_does_not_have_is_refused(gemini: GeminiServer) -> None:
    model = GeminiModel(
        base_url=gemini.base_url, api_key=gemini.api_key, extra={"generationConfig": {"topp": 1}}
    )
    with pytest.raises(ServiceError, match=r"400: Invalid JSON payload.*topp"):
        await answer(model)
    await model.close()


async def test_settings_come_in_the_form_of_the_api(gemini: GeminiServer) -> None:
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    model = GeminiModel(
        "gemini-2.5-flash",
        thinking=0,
        temperature=0.5,
        max_output_tokens=300,
        extra={"safetySettings": safety, "generationConfig": {"topP": 0.9}},
        base_url=gemini.base_url,
        api_key=gemini.api_key,
    )
    assert (await answer(model))[0] == "Good morning. "
    await model.close()
    params = gemini.generate.received[0].params
    assert params["generationConfig"] == {
        "thinkingConfig": {"thinkingBudget": 0},
        "temperature": 0.5,
        "maxOutputTokens": 300,
        "topP": 0.9,
    }
    assert params["safetySettings"] == safety


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        (answers(blocked="SAFETY"), ServiceError, r"the request was blocked \(SAFETY\)"),
        (answers("So", finish="SAFETY"), ServiceError, r"the answer was stopped \(SAFETY\)"),
        (answers(finish="RECITATION", why="a song"), ServiceError, "RECITATION: a song"),
        (answers(finish="MAX_TOKENS"), ServiceError, "before the first word: thoughts count"),
        (answers(), NoAnswerError, "no words and no tool call"),
        (answers(finish="MALFORMED_FUNCTION_CALL"), NoAnswerError, "cannot be read"),
        (answers("So", finish=None), ServiceError, "broke off"),
        (answers(finish=None), ServiceError, "no answer came"),
        (streams("{"), ServiceError, "cannot be read"),
        (
            streams({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}),
            ServiceError,
            r"503: overloaded \(UNAVAILABLE\)",
        ),
        (refuses(429, "Quota used up.", "RESOURCE_EXHAUSTED"), ServiceError, "429: Quota used"),
    ],
)
async def test_an_answer_of_no_use_says_why(
    gemini: GeminiServer, model: GeminiModel, reply: HttpReply, error: Any, said: str
) -> None:
    gemini.generate.will(reply)
    with pytest.raises(error, match=said) as raised:
        await answer(model)
    assert type(raised.value) is error


async def test_what_was_said_before_the_token_limit_is_kept(
    gemini: GeminiServer, model: GeminiModel
) -> None:
    gemini.generate.will(answers("A long", finish="MAX_TOKENS"))
    assert await answer(model) == ["A long", Tokens(20, 10, 0)]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_stall_is_noticed(gemini: GeminiServer, begun: bool) -> None:
    hold = Hold()
    gemini.generate.will(answers(*(["So"] if begun else [b""]), hold))
    model = GeminiModel(
        base_url=gemini.base_url, api_key=gemini.api_key, first_timeout=0.2, stall_timeout=0.1
    )
    with pytest.raises(ServiceError, match="within 0.1 s" if begun else "within 0.2 s"):
        await answer(model)
    await hold.left.wait()
    await model.close()


async def test_nothing_is_asked_without_a_text(model: GeminiModel) -> None:
    with pytest.raises(ServiceError, match="no message has any text"):
        await answer(model, [Text("system", "Be brief."), Text("user", " ")])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"thinking": "lots"}, "thinking must be one of"),
        ({"thinking": -2}, "thinking must be one of"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"model": ""}, "model must be a text"),
        ({"extra": {"contents": []}}, "sets itself"),
        ({"first_timeout": 0}, "first_timeout"),
    ],
)
def test_a_wrong_setting_is_refused_at_once(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GeminiModel(**settings)
