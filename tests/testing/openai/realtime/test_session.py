import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from audiocodecs import MULAW_8K
from mediaserver.testing.openai.realtime import (
    CallTool,
    JsonDict,
    OpenAIRealtimeServer,
    RealtimeAnswer,
)


MULAW = {"type": "audio/pcmu"}
SESSION = {
    "type": "realtime",
    "audio": {"input": {"format": MULAW}, "output": {"format": MULAW, "voice": "marin"}},
}


class Client:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, kind: str, **values: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **values}))

    async def until(self, kind: str) -> list[JsonDict]:
        events: list[JsonDict] = []
        while not events or events[-1]["type"] != kind:
            events.append(json.loads(await self.socket.recv()))
        return events

    async def refused(self, kind: str, **values: Any) -> tuple[str, str]:
        """Send what is to be refused; return the code of the error, and the message."""
        await self.send(kind, event_id="mine", **values)
        error = (await self.until("error"))[-1]["error"]
        assert error["event_id"] == "mine"
        return error["code"], error["message"]

    async def append(self, seconds: float) -> None:
        audio = base64.b64encode(MULAW_8K.silence * round(8000 * seconds)).decode()
        await self.send("input_audio_buffer.append", audio=audio)


@asynccontextmanager
async def client_of(
    *answers: RealtimeAnswer, **options: Any
) -> AsyncIterator[tuple[Client, OpenAIRealtimeServer]]:
    server = OpenAIRealtimeServer(*answers, **options)
    async with server.running():
        url = server.base_url.replace("http", "ws") + "/realtime?model=any"
        headers = {"Authorization": f"Bearer {server.api_key}"}
        async with connect(url, additional_headers=headers) as socket:
            client = Client(socket)
            await client.until("session.created")
            await client.send("session.update", session=SESSION)
            await client.until("session.updated")
            yield client, server


async def test_an_answer_comes_in_pieces_of_the_sizes_asked_for() -> None:
    async with client_of(RealtimeAnswer(text="Hello there."), chunks=(7, 1000)) as (client, _):
        await client.send("response.create")
        events = await client.until("response.done")
    deltas = [
        base64.b64decode(event["delta"])
        for event in events
        if event["type"] == "response.output_audio.delta"
    ]
    assert [len(delta) for delta in deltas[:4]] == [7, 1000, 7, 1000]
    assert sum(map(len, deltas)) == 4800
    words = [
        event["delta"]
        for event in events
        if event["type"] == "response.output_audio_transcript.delta"
    ]
    assert words == ["Hello ", "there."]


@pytest.mark.parametrize(
    ("kind", "values", "code"),
    [
        ("response.make", {}, "invalid_value"),
        ("response.create", {"respond": {}}, "unknown_parameter"),
        ("response.create", {"response": {"instruction": "Hi."}}, "unknown_parameter"),
        ("session.update", {}, "invalid_type"),
        ("session.update", {"session": {"type": "realtime", "voice": "x"}}, "unknown_parameter"),
        (
            "session.update",
            {"session": {"type": "realtime", "tools": [{"type": "function", "name": "a b"}]}},
            "invalid_value",
        ),
        ("input_audio_buffer.append", {"audio": "%"}, "invalid_value"),
        ("input_audio_buffer.commit", {}, "input_audio_buffer_commit_empty"),
        ("response.cancel", {}, "response_cancel_not_active"),
        (
            "conversation.item.create",
            {"item": {"type": "function_call_output", "call_id": "call_1", "output": ""}},
            "invalid_tool_call_id",
        ),
        (
            "conversation.item.create",
            {
                "item": {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "text", "text": "Hi."}],
                }
            },
            "invalid_type",
        ),
        (
            "conversation.item.truncate",
            {"item_id": "item_1", "content_index": 0, "audio_end_ms": 0},
            "item_truncate_invalid_item_id",
        ),
        ("conversation.item.delete", {"item_id": "item_1"}, "item_delete_invalid_item_id"),
        ("output_audio_buffer.clear", {}, "invalid_value"),
    ],
)
async def test_what_breaks_the_protocol_is_refused(kind: str, values: JsonDict, code: str) -> None:
    async with client_of() as (client, server):
        assert (await client.refused(kind, **values))[0] == code
        # The session goes on.
        await client.send("response.create")
        await client.until("response.done")
        assert [refusal[0] for refusal in server.refusals] == [code]
        assert len(server.of_type("response.create")) == 1


async def test_a_message_that_is_no_json_is_refused() -> None:
    async with client_of() as (client, server):
        await client.socket.send("no json")
        await client.until("error")
        await client.socket.send(b"{}")
        await client.until("error")
    assert [code for code, _ in server.refusals] == ["invalid_json", "invalid_message"]


async def test_a_turn_needs_a_tenth_of_a_second() -> None:
    async with client_of(transcripts=["Hi."]) as (client, _):
        await client.append(0.099)
        code, message = await client.refused("input_audio_buffer.commit")
        assert code == "input_audio_buffer_commit_empty"
        assert "only has 99.00ms" in message
        await client.append(0.001)
        await client.send("input_audio_buffer.commit")
        await client.until("input_audio_buffer.committed")


async def test_a_second_response_at_a_time_is_refused() -> None:
    answer = RealtimeAnswer(text="Hello.", wait_at=1)
    async with client_of(answer) as (client, _):
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        code, _ = await client.refused("response.create")
        assert code == "conversation_already_has_active_response"
        answer.go.set()
        await client.until("response.done")


async def test_only_what_was_said_can_be_truncated() -> None:
    async with client_of(RealtimeAnswer(text="Hello there.")) as (client, server):
        await client.send("response.create")
        events = await client.until("response.done")
        (item_id,) = {event["item_id"] for event in events if "item_id" in event}
        at = {"item_id": item_id, "content_index": 0}
        _, message = await client.refused("conversation.item.truncate", **at, audio_end_ms=601)
        assert message == "Audio content of 600ms is already shorter than 601ms"
        await client.send("conversation.item.truncate", **at, audio_end_ms=250)
        await client.until("conversation.item.truncated")
        code, _ = await client.refused("conversation.item.truncate", **at, audio_end_ms=251)
        assert code == "invalid_value"
        assert server.sessions[0].items[item_id].audio == 2000

        await client.append(1.0)
        await client.send("input_audio_buffer.commit")
        committed = (await client.until("input_audio_buffer.committed"))[-1]
        at["item_id"] = committed["item_id"]
        code, _ = await client.refused("conversation.item.truncate", **at, audio_end_ms=0)
        assert code == "unsupported_content_type"


async def test_a_tool_that_was_used_can_be_answered() -> None:
    async with client_of(RealtimeAnswer(calls=[CallTool("look", {"at": 1})])) as (client, server):
        await client.send("response.create")
        events = await client.until("response.done")
        (call,) = [
            event["item"] for event in events if event["type"] == "response.output_item.done"
        ]
        assert call["arguments"] == '{"at":1}'
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "7"}
        await client.send("conversation.item.create", item=output)
        await client.until("conversation.item.done")
        assert server.refusals == []


async def test_a_cancelled_response_says_so() -> None:
    async with client_of(RealtimeAnswer(text="Hello.", wait_at=1)) as (client, _):
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        await client.send("response.cancel")
        done = (await client.until("response.done"))[-1]["response"]
    assert done["status"] == "cancelled"
    assert done["status_details"]["reason"] == "client_cancelled"


async def test_the_voice_cannot_change_once_it_was_heard() -> None:
    async with client_of(RealtimeAnswer(text="Hello.")) as (client, _):
        await client.send("response.create")
        await client.until("response.done")
        other = {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}
        code, _ = await client.refused("session.update", session=other)
        assert code == "cannot_update_voice"
