import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from audiocodecs import decode_wav
from mediaserver.testing.openai import (
    At,
    ChatToolCall,
    Hold,
    OpenAIServer,
    RefusedError,
    check_chat,
    fails,
    hears,
    says,
    speaks,
)


HELLO = [{"role": "user", "content": "hello"}]
CALLING = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "x"}


@pytest.fixture
async def server() -> AsyncIterator[Any]:
    async with OpenAIServer() as server:
        yield server


@pytest.fixture
async def client(server: OpenAIServer) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
        yield client


async def test_a_chat_is_answered_in_one_piece(server: OpenAIServer, client: AsyncOpenAI) -> None:
    server.chat.will(says("Good ", "morning.", calls=[ChatToolCall("look", '{"at": 1}', None)]))
    answer = await client.chat.completions.create(model="any", messages=HELLO)
    (choice,) = answer.choices
    assert choice.message.content == "Good morning."
    assert choice.message.tool_calls[0].function.arguments == '{"at": 1}'
    assert choice.finish_reason == "tool_calls"
    assert answer.usage.total_tokens == 30


async def test_a_chat_is_streamed_as_openais_own_client_reads_it(
    server: OpenAIServer, client: AsyncOpenAI
) -> None:
    server.chat.will(says("Good ", "morning.", calls=[ChatToolCall("look")]))
    stream = await client.chat.completions.create(
        model="any", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Good morning."
    assert any(delta.tool_calls for delta in deltas)
    assert chunks[-1].usage.prompt_tokens == 20


async def test_answers_come_in_the_order_given_and_then_the_usual_one(
    server: OpenAIServer, client: AsyncOpenAI
) -> None:
    server.chat.answer = says("usual")
    server.chat.will(says("first"), fails(500), says("third"))
    answers = []
    for _ in range(5):
        try:
            answer = await client.chat.completions.create(model="any", messages=HELLO)
        except openai.InternalServerError:
            answers.append(None)
        else:
            answers.append(answer.choices[0].message.content)
    assert answers == ["first", None, "third", "usual", "usual"]
    assert len(server.chat.received) == 5


async def test_a_transcription_is_streamed_or_not(
    server: OpenAIServer, client: AsyncOpenAI
) -> None:
    file = ("a.wav", b"RIFF", "audio/wav")
    server.transcription.answer = hears("Good morning.")
    whole = await client.audio.transcriptions.create(model="any", file=file, language="en")
    assert whole.text == "Good morning."
    stream = await client.audio.transcriptions.create(model="any", file=file, stream=True)
    events = [event async for event in stream]
    assert [event.type[16:] for event in events] == ["delta", "delta", "done"]
    assert events[-1].text == "Good morning."
    assert server.transcription.received[0].params == {"model": "any", "language": "en"}
    assert server.transcription.received[0].file == b"RIFF"


async def test_speech_sounds_without_being_told(client: AsyncOpenAI) -> None:
    speech = await client.audio.speech.create(
        model="any", voice="any", input="hi", response_format="wav"
    )
    assert decode_wav(speech.content).seconds == 0.5


async def test_speech_is_what_it_is_told(server: OpenAIServer, client: AsyncOpenAI) -> None:
    server.speech.will(speaks(b"ab", b"cd"))
    speech = await client.audio.speech.create(
        model="any", voice="any", input="hi", response_format="pcm"
    )
    assert speech.content == b"abcd"
    assert speech.response.headers["content-type"] == "audio/pcm"


async def test_an_answer_can_have_its_own_time(server: OpenAIServer, client: AsyncOpenAI) -> None:
    server.chat.will(says("a", At(0.02), "b", At(0.01), "c"))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    stream = await client.chat.completions.create(model="any", messages=HELLO, stream=True)
    pieces = [chunk.choices[0].delta.content async for chunk in stream]
    assert [piece for piece in pieces if piece] == ["a", "b", "c"]
    assert loop.time() - begun >= 0.019


async def test_a_key_is_asked_for_if_there_is_one() -> None:
    async with OpenAIServer(api_key="right") as server:
        for key, right in (("wrong", False), ("right", True)):
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key=key) as client:
                try:
                    await client.models.list()
                except openai.AuthenticationError:
                    assert not right
                else:
                    assert right
    assert server.refused == ["Incorrect API key provided."]


async def test_a_client_is_told_what_it_did_wrong(
    server: OpenAIServer, client: AsyncOpenAI
) -> None:
    with pytest.raises(openai.BadRequestError, match="speed"):
        await client.audio.speech.create(model="any", voice="any", input="hi", speed="fast")
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
    server: OpenAIServer, client: AsyncOpenAI, send: Callable[..., Any]
) -> None:
    with pytest.raises(openai.BadRequestError):
        await send(client)
    assert len(server.refused) == 1


@pytest.mark.parametrize("head", ["", 'content-disposition: form-data; name="x"; filename="y"'])
async def test_a_form_that_is_none_is_refused(server: OpenAIServer, head: str) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{server.base_url}/audio/transcriptions",
            content=f"--b\r\n{head}\r\n\r\nx\r\n--b--",
            headers={"content-type": "multipart/form-data; boundary=b"},
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == server.refused[0]


async def test_what_is_not_there_is_404_or_405(server: OpenAIServer, client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.post("/nothing", cast_to=object)
    with pytest.raises(openai.APIStatusError, match="DELETE is not allowed"):
        await client.delete("/models", cast_to=object)


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
def test_messages_that_openai_refuses_are_refused(
    messages: list[dict[str, list[Any] | str] | dict[str, str]]
    | list[dict[str, list[Any] | str]]
    | list[dict[str, str]],
    reason: str,
) -> None:
    with pytest.raises(RefusedError, match=reason) as caught:
        check_chat({"model": "any", "messages": messages})
    assert caught.value.status == 400


def test_a_tools_name_has_letters_and_digits() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "a.b", "arguments": "{}"}}
    with pytest.raises(RefusedError, match="not a tool's name"):
        check_chat({"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}]})


async def test_it_closes_although_an_answer_is_held() -> None:
    async with OpenAIServer() as server:
        hold = Hold()
        server.chat.will(says("a", hold))
        client = openai.AsyncOpenAI(base_url=server.base_url, api_key="any")
        stream = await client.chat.completions.create(model="any", messages=HELLO, stream=True)
        await hold.reached.wait()
    assert hold.left.is_set()
    await stream.close()
    await client.close()
