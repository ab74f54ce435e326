from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from mediaserver.testing.openai import (
    OpenAIServer,
    RefusedError,
    check_chat,
)


HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
CALLING: dict[str, Any] = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "x"}


async def test_a_client_is_told_what_it_did_wrong(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    with pytest.raises(openai.BadRequestError, match="speed"):
        await client.audio.speech.create(
            model="any", voice="any", input="hi", extra_body={"speed": "fast"}
        )
    with pytest.raises(openai.BadRequestError, match="colour"):
        await client.audio.speech.create(
            model="any", voice="any", input="hi", extra_body={"colour": "red"}
        )
    assert len(server.refused) == 2
    assert not server.speech.received


@pytest.mark.parametrize(
    "send",
    [
        lambda c: c.audio.speech.create(model="m", voice="v", input=""),
        lambda c: c.audio.speech.create(model="m", voice="v", input="x" * 4097),
        lambda c: c.audio.speech.create(model="m", voice="v", input="x", response_format="opus"),
        lambda c: c.audio.transcriptions.create(model="m", file=("a.txt", b"x")),
        lambda c: c.audio.transcriptions.create(model="m", file=("a.wav", b"")),
        lambda c: c.audio.transcriptions.create(model="", file=("a.wav", b"x")),
        lambda c: c.audio.transcriptions.create(model="m", file=("a.wav", b"x"), temperature="hot"),
        lambda c: c.post("/chat/completions", cast_to=object, content=b"{"),
        lambda c: c.post("/audio/transcriptions", cast_to=object, body={}),
    ],
)
async def test_bad_requests_are_refused(
    server: OpenAIServer, client: openai.AsyncOpenAI, send: Callable[[Any], Awaitable[object]]
) -> None:
    with pytest.raises(openai.BadRequestError):
        await send(client)
    assert len(server.refused) == 1


@pytest.mark.parametrize("head", ["", 'content-disposition: form-data; name="x"; filename="y"'])
async def test_a_form_that_is_none_is_refused(server: OpenAIServer, head: str) -> None:
    async with httpx.AsyncClient(timeout=30.0) as http:
        answer = await http.post(
            f"{server.base_url}/audio/transcriptions",
            content=f"--b\r\n{head}\r\n\r\nx\r\n--b--",
            headers={"content-type": "multipart/form-data; boundary=b"},
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == server.refused[0]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "too short"),
        ([RESULT], "must follow the tool call"),
        ([CALLING], "without a tool message"),
        ([CALLING, *HELLO], "without a tool message"),
        ([CALLING | {"tool_calls": CALLING["tool_calls"] * 2}, RESULT], "with one id"),
        ([{"role": "assistant", "content": ""}], "must have content"),
        ([{"role": "nobody", "content": "x"}], "role"),
        ([HELLO[0] | {"colour": "red"}], "Param"),
    ],
)
def test_messages_that_openai_refuses_are_refused(messages: list[Any], reason: str) -> None:
    with pytest.raises(RefusedError, match=reason) as caught:
        check_chat({"model": "any", "messages": messages})
    assert caught.value.status == 400


def test_a_tools_name_has_letters_and_digits() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "a.b", "arguments": "{}"}}
    with pytest.raises(RefusedError, match="not a tool's name"):
        check_chat({"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}]})
