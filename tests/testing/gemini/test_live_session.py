import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from mediaserver.testing.gemini import GeminiLiveServer
from mediaserver.testing.gemini.live_server import PATH
from mediaserver.testing.realtime_answers import CallTool, RealtimeAnswer


SETUP: dict[str, Any] = {
    "model": "models/a",
    "generationConfig": {"responseModalities": ["AUDIO"]},
}
MANUAL = {"realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}}}
HISTORY = {"historyConfig": {"initialHistoryInClientContent": True}}
OPEN = {"setup": SETUP}
OWN_TURNS = {"setup": {**SETUP, **MANUAL}}
AUDIO = {"data": "AAA=", "mimeType": "audio/pcm;rate=16000"}
SPEECH = {"realtimeInput": {"audio": AUDIO}}
START: dict[str, Any] = {"realtimeInput": {"activityStart": {}}}
END: dict[str, Any] = {"realtimeInput": {"activityEnd": {}}}
TURNS = [{"role": "user", "parts": [{"text": "hello"}]}]
HELLO = {"clientContent": {"turns": TURNS, "turnComplete": True}}
RESULT = {"id": "a", "name": "look", "response": {}}


@asynccontextmanager
async def opened(server: GeminiLiveServer, *messages: Any) -> AsyncIterator[ClientConnection]:
    async with (
        server.running(),
        connect(f"ws{server.base_url[4:]}{PATH}?key=a+test+key") as socket,
    ):
        await socket.send(json.dumps(messages[0]))
        with contextlib.suppress(ConnectionClosedError):
            assert json.loads(await socket.recv()) == {"setupComplete": {}}
        for message in messages[1:]:
            await socket.send(json.dumps(message))
        yield socket


async def until(socket: ClientConnection, key: str) -> list[str]:
    """Return what came up to a message or a content with a field."""
    came = []
    while True:
        message = json.loads(await socket.recv())
        came.extend(message.get("serverContent", message))
        if key in came:
            return came


RULES: list[tuple[list[Any], str]] = [
    ([START], "the first message must be setup"),
    ([{"setup": {**SETUP, "model": "a"}}], "models/a is not found"),
    ([{"setup": {"model": "models/a"}}], "must be AUDIO"),
    ([{"setup": {**SETUP, "sessionResumption": {"handle": "x"}}}], "not found"),
    ([{"setup": {**SETUP, **HISTORY}}, START], "must come first"),
    ([{"setup": {**SETUP, "voice": "Puck"}}], "voice"),
    ([OPEN, OPEN], "first message only"),
    ([OPEN, {**START, **HELLO}], "exactly one field"),
    ([OPEN, START], "Explicit activity control is not supported"),
    ([OPEN, {"realtimeInput": {"audio": {**AUDIO, "mimeType": "audio/pcm"}}}], "not PCM"),
    ([OPEN, {"realtimeInput": {"text": "a", "audioStreamEnd": True}}], "exactly one"),
    ([OPEN, {"toolResponse": {"functionResponses": [RESULT]}}], "no open call"),
    ([OPEN, {"toolResponse": {"functionResponses": []}}], "has no functionResponses"),
    ([OPEN, {"realtimeInput": {"audioStreamEnd": False}}], "needs automatic"),
    ([OPEN, {"realtimeInput": {"audio": {**AUDIO, "data": ""}}}], "not PCM"),
    ([OPEN, {"realtimeInput": {"text": ""}}], "must not be empty"),
    ([OWN_TURNS, START, START], "must alternate"),
    ([OWN_TURNS, {"realtimeInput": {"text": "a"}}], "text outside of an activity"),
    ([OPEN, {"clientContent": {"turns": [{"parts": []}]}}], "must have a role"),
    ([OWN_TURNS, END], "must alternate"),
    ([OWN_TURNS, SPEECH], "outside of an activity"),
    ([OWN_TURNS, {"realtimeInput": {"audioStreamEnd": True}}], "needs automatic"),
]


async def closed(socket: ClientConnection) -> None:
    while True:
        await socket.recv()


@pytest.mark.parametrize(("messages", "said"), RULES)
async def test_what_breaks_the_rules_closes_the_connection(messages: list[Any], said: str) -> None:
    server = GeminiLiveServer()
    async with opened(server, *messages) as socket:
        with pytest.raises(ConnectionClosedError, match="1007"):
            await closed(socket)
    (refusal,) = server.refusals
    assert said in refusal


async def test_a_turn_is_transcribed_and_answered_and_the_state_kept() -> None:
    server = GeminiLiveServer(RealtimeAnswer(text="Yes."), transcripts=["So?"])
    setup = {**SETUP, **MANUAL, "inputAudioTranscription": {}, "sessionResumption": {}}
    async with opened(server, {"setup": setup}, START, SPEECH, END) as socket:
        came = await until(socket, "turnComplete")
        await until(socket, "sessionResumptionUpdate")
    order = [name for name in dict.fromkeys(came) if name != "sessionResumptionUpdate"]
    assert order == [
        "inputTranscription",
        "outputTranscription",
        "modelTurn",
        "generationComplete",
        "turnComplete",
    ]
    assert server.states == {"handle-1": [("user", "So?"), ("model", "Yes.")]}


async def test_the_model_waits_for_tools_until_it_is_interrupted() -> None:
    server = GeminiLiveServer(RealtimeAnswer(calls=[CallTool("look")]), RealtimeAnswer(text="Yes."))
    async with opened(server, OPEN, HELLO) as socket:
        await until(socket, "toolCall")
        await socket.send(json.dumps(HELLO))
        assert "toolCallCancellation" in await until(socket, "turnComplete")


async def test_a_client_can_be_told_to_go() -> None:
    server = GeminiLiveServer()
    async with opened(server, OPEN) as socket:
        await server.sessions[0].go_away(10)
        assert json.loads(await socket.recv()) == {"goAway": {"timeLeft": "10s"}}
        await server.sessions[0].drop()
        with pytest.raises(ConnectionClosedError):
            await socket.recv()


@pytest.mark.parametrize("seconds", [0.0, 5.0])
async def test_nothing_may_be_sent_before_the_setup_is_complete(seconds: float) -> None:
    server = GeminiLiveServer(setup_seconds=seconds)
    async with (
        server.running(),
        connect(f"ws{server.base_url[4:]}{PATH}?key=a+test+key") as socket,
    ):
        await asyncio.gather(socket.send(json.dumps(OPEN)), socket.send(json.dumps(HELLO)))
        with pytest.raises(ConnectionClosedError, match="1007"):
            await socket.recv()
    assert server.refusals == ["nothing may be sent before setupComplete has come"]


async def test_a_typed_text_is_answered_where_the_server_takes_the_turns() -> None:
    server = GeminiLiveServer(RealtimeAnswer(text="Yes."))
    async with opened(server, OPEN, {"realtimeInput": {"text": "So?"}}) as socket:
        await until(socket, "turnComplete")
    assert server.sessions[0].turns == [("user", "So?"), ("model", "Yes.")]
