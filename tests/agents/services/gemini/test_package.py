"""What ``google-genai`` sends to the local servers, beside what we send: the same."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from audiocodecs import L16_16K
from mediaserver.agents.services import Message, Text, ToolCall, ToolResult, ToolSpec
from mediaserver.agents.services.gemini.contents import GO_ON
from mediaserver.agents.services.gemini.live import GeminiLive
from mediaserver.agents.services.gemini.model import GeminiModel
from mediaserver.call import Frame
from mediaserver.testing.gemini import GeminiLiveServer, GeminiServer, GeminiToolCall, answers
from mediaserver.testing.realtime_answers import CallTool, RealtimeAnswer


genai = pytest.importorskip("google.genai")
types = genai.types

LOOK = ToolSpec("look", "Looks.", {"type": "object", "properties": {"at": {"type": "integer"}}})
SIGNATURE = base64.b64encode(b"signature").decode()
CONVERSATION: list[Message] = [
    Text("system", "Be kind."),
    Text("user", "Look at one."),
    ToolCall("a", "look", '{"at": 1}', {"thoughtSignature": SIGNATURE}),
    ToolResult("a", "rain"),
]


def plain(value: Any) -> Any:
    """Leave out what the package adds and the API does without: the role of a prompt."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: plain(each) for name, each in value.items()}
    if isinstance(prompt := kept.get("systemInstruction"), dict):
        prompt.pop("role", None)
    return kept


def declared(**behavior: Any) -> Any:
    function = types.FunctionDeclaration(
        name="look", description="Looks.", parameters_json_schema=LOOK.parameters, **behavior
    )
    return types.Tool(function_declarations=[function])


@pytest.fixture
async def client_of() -> AsyncIterator[Any]:
    made = []

    def client(server: Any) -> Any:
        options = types.HttpOptions(base_url=server.base_url, api_version="v1beta")
        made.append(genai.Client(api_key=server.api_key, http_options=options))
        return made[-1]

    yield client
    for each in made:
        await each.aio.aclose()


async def test_a_request_to_a_language_model_is_the_same(
    gemini: GeminiServer, client_of: Any
) -> None:
    reply = answers("Let me ", "see.", calls=[GeminiToolCall("look", {"at": 2}, "b", SIGNATURE)])
    gemini.generate.will(reply, reply)
    model = GeminiModel(
        "any",
        temperature=0.5,
        max_output_tokens=100,
        extra={
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
        },
        base_url=gemini.base_url,
        api_key=gemini.api_key,
    )
    ours = [piece async for piece in model.respond(CONVERSATION, [LOOK])]
    await model.close()

    part = types.Part
    contents = [
        types.Content(role="user", parts=[part(text="Look at one.")]),
        types.Content(
            role="model",
            parts=[
                part(
                    function_call=types.FunctionCall(id="a", name="look", args={"at": 1}),
                    thought_signature=b"signature",
                )
            ],
        ),
        types.Content(
            role="user",
            parts=[
                part(
                    function_response=types.FunctionResponse(
                        id="a", name="look", response={"output": "rain"}
                    )
                )
            ],
        ),
    ]
    config = types.GenerateContentConfig(
        system_instruction="Be kind.",
        tools=[declared()],
        temperature=0.5,
        max_output_tokens=100,
        thinking_config=types.ThinkingConfig(thinking_level="LOW"),
        safety_settings=[
            types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE")
        ],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    stream = await client_of(gemini).aio.models.generate_content_stream(
        model="any", contents=contents, config=config
    )
    parts = [
        part
        async for chunk in stream
        for candidate in chunk.candidates
        for part in candidate.content.parts
    ]
    mine, theirs = (plain(dict(each.params)) for each in gemini.generate.received)
    assert mine == theirs
    assert gemini.refused == []
    assert [part.text for part in parts if part.text] == ours[:2]
    (called,) = [part for part in parts if part.function_call is not None]
    assert ours[2] == ToolCall("b", "look", '{"at": 2}')
    assert base64.b64encode(called.thought_signature).decode() == ours[2].extra["thoughtSignature"]


async def test_a_live_session_is_the_same(client_of: Any) -> None:
    server = GeminiLiveServer(
        *[
            RealtimeAnswer(calls=[CallTool("look", {"at": 1})]),
            RealtimeAnswer(text="Rain."),
            RealtimeAnswer(text="Well."),
        ]
        * 2
    )
    audio = b"\1\0" * 1600
    async with server.running():
        await converse_ours(server, audio)
        ours, server.received = server.received, []
        config = types.LiveConnectConfig(
            response_modalities=["AUDIO"],
            speech_config=types.SpeechConfig(
                voice_config=types.VoiceConfig(
                    prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name="Puck")
                )
            ),
            system_instruction="Be kind.",
            tools=[declared(behavior="BLOCKING")],
            realtime_input_config=types.RealtimeInputConfig(
                automatic_activity_detection=types.AutomaticActivityDetection(disabled=True)
            ),
            input_audio_transcription=types.AudioTranscriptionConfig(),
            output_audio_transcription=types.AudioTranscriptionConfig(),
            session_resumption=types.SessionResumptionConfig(),
            context_window_compression=types.ContextWindowCompressionConfig(
                sliding_window=types.SlidingWindow()
            ),
            history_config=types.HistoryConfig(initial_history_in_client_content=True),
        )
        async with client_of(server).aio.live.connect(model="any", config=config) as session:
            await converse_theirs(session, audio)
    assert plain(server.received) == plain(ours)
    assert server.refusals == []


async def converse_ours(server: GeminiLiveServer, audio: bytes) -> None:
    model = GeminiLive(model="any", base_url=server.base_url, api_key=server.api_key)
    session = await model.connect(
        prompt="Be kind.",
        tools=[LOOK],
        format=L16_16K,
        conversation=[Text("user", "hello"), Text("assistant", "Hello.")],
    )
    await session.hear(Frame(audio, L16_16K))
    await session.tell(Text("user", "1"))
    await session.end_turn()
    events = session.events()
    call = await anext(events)
    while not isinstance(call, ToolCall):
        call = await anext(events)
    await anext(events)  # its transcript
    await anext(events)  # its end
    await session.tell(ToolResult(call.id, "rain"))
    await session.respond()
    while type(await anext(events)).__name__ != "ResponseDone":
        pass
    await session.update(prompt="Be brief.", tools=[LOOK])
    await session.respond()
    while type(await anext(events)).__name__ != "ResponseDone":
        pass
    await session.close()
    await model.close()


async def converse_theirs(session: Any, audio: bytes) -> None:
    part = types.Part
    await session.send_client_content(
        turns=[
            types.Content(role="user", parts=[part(text="hello")]),
            types.Content(role="model", parts=[part(text="Hello.")]),
        ],
        turn_complete=True,
    )
    await session.send_realtime_input(activity_start=types.ActivityStart())
    blob = types.Blob(data=audio, mime_type="audio/pcm;rate=16000")
    await session.send_realtime_input(audio=blob)
    await session.send_realtime_input(text="1")
    await session.send_realtime_input(activity_end=types.ActivityEnd())
    async for message in session.receive():
        if message.tool_call is not None:
            (call,) = message.tool_call.function_calls
            assert call.args == {"at": 1}
            response = types.FunctionResponse(
                id=call.id, name=call.name, response={"output": "rain"}
            )
            await session.send_tool_response(function_responses=[response])
    await session.send_context_update(
        system_instruction="Be brief.", tools=[declared(behavior="BLOCKING")]
    )
    go_on = types.Content(role="user", parts=[part(text=GO_ON)])
    await session.send_client_content(turns=[go_on], turn_complete=True)
    heard = b"".join([message.data or b"" async for message in session.receive()])
    assert len(heard) == round(0.3 * 24_000) * 2
