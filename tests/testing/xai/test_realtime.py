"""The local server of xAI's voice agent is closed."""

from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.testing.xai.realtime import XAIRealtimeServer, XAISettings


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.update", "session": {"voise": "ara"}},
        {"type": "session.update", "session": {"audio": {"input": {"format": {"type": "pcm"}}}}},
        {
            "type": "session.update",
            "session": {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 11025}}}},
        },
        {"type": "session.update", "session": {"turn_detection": {"type": "semantic_vad"}}},
        {"type": "conversation.item.truncate", "item_id": "item_1"},
        {"type": "response.create", "response": {"tool_choice": "none"}},
        {"type": "input_audio_buffer.commit"},  # the server takes the turns by default
    ],
)
async def test_what_the_reference_does_not_have_is_refused(event: dict[str, Any]) -> None:
    async with XAIRealtimeServer().running() as server:
        url = server.base_url.replace("http", "ws") + "/realtime?model=grok-voice-latest"
        key = {"Authorization": f"Bearer {server.api_key}"}
        async with connect(url, additional_headers=key) as socket:
            await socket.recv()
            await socket.send(msgspec.json.encode(event).decode())
            answer = msgspec.json.decode(await socket.recv())

    assert answer["type"] == "error"
    assert server.received == []
    assert len(server.refusals) == 1


async def test_an_unknown_query_parameter_is_refused() -> None:
    async with XAIRealtimeServer().running() as server:
        url = server.base_url.replace("http", "ws") + "/realtime?model=m&vioce=ara"
        key = {"Authorization": f"Bearer {server.api_key}"}
        with pytest.raises(InvalidStatus, match="400"):
            await connect(url, additional_headers=key)


def test_audio_is_of_the_format_that_was_set() -> None:
    settings = XAISettings()
    assert settings.wire("input") == AudioFormat("l16", 24000)

    settings.change({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, spoke=False)

    assert settings.wire("input") == MULAW_8K
    assert settings.wire("output") == AudioFormat("l16", 24000)
