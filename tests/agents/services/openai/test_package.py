"""What OpenAI's own package sends and understands, against the same servers."""

from typing import Any

import pybase64
import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import Text
from mediaserver.agents.services.openai.azure import AzureResource
from mediaserver.agents.services.openai.chat import OpenAIChat
from mediaserver.agents.services.openai.recognizer import OpenAIRecognizer
from mediaserver.call import Frame
from mediaserver.testing.openai import AzureGate, OpenAIServer
from mediaserver.testing.openai.realtime import OpenAITranscriptionServer


openai: Any = pytest.importorskip("openai")

pytestmark = pytest.mark.asyncio

GATE = AzureGate()
AUDIO = MULAW_8K.silence * 800
SESSION = {
    "type": "transcription",
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "gpt-transcribe", "keywords": ["Plivo"]},
            "turn_detection": {"type": "server_vad"},
            "noise_reduction": {"type": "far_field"},
        }
    },
}


@pytest.mark.parametrize("azure", [None, GATE])
async def test_our_messages_and_our_address_are_those_of_the_package(
    azure: AzureGate | None,
) -> None:
    server = OpenAITranscriptionServer("Yes.", azure=azure)
    async with server.running():
        where: dict[str, Any] = {"base_url": server.base_url, "api_key": server.api_key}
        if azure is not None:
            where = {"azure": AzureResource(server.base_url, azure_ad_token=azure.token)}
        service = OpenAIRecognizer(
            "gpt-transcribe",
            keyterms=["Plivo"],
            turn_detection={"type": "server_vad"},
            noise_reduction="far_field",
            **where,
        )
        session = await service.listen(MULAW_8K)
        await session.hear(Frame(AUDIO, MULAW_8K))
        await server.wait_for("input_audio_buffer.append")
        await session.close()
        await service.close()
        ours, server.received = server.received, []

        if azure is not None:
            where = {"base_url": f"{server.base_url}/openai/v1", "api_key": azure.token}
        async with openai.AsyncOpenAI(**where) as package:
            query = {"intent": "transcription"}
            async with package.realtime.connect(extra_query=query) as connection:
                await connection.session.update(session=SESSION)
                encoded = pybase64.b64encode(AUDIO).decode()
                await connection.input_audio_buffer.append(audio=encoded)
                kinds = [(await connection.recv()).type for _ in range(2)]
        assert ours == server.received
        assert len(set(server.paths)) == 1
        assert kinds == ["session.created", "session.updated"]
        assert server.refusals == []


async def test_our_requests_to_azure_are_those_of_the_package() -> None:
    hello = {"model": "my-mind", "messages": [{"role": "user", "content": "hello"}]}
    async with OpenAIServer(azure=GATE) as server:
        version = "2024-10-21"
        azure = AzureResource(server.base_url, api_key=GATE.api_key, api_version=version)
        model = OpenAIChat("my-mind", azure=azure, usage=False)
        assert [piece async for piece in model.respond([Text("user", "hello")], [])]
        await model.close()
        async with openai.AsyncAzureOpenAI(
            azure_endpoint=server.base_url, api_version=version, api_key=GATE.api_key
        ) as package:
            answer = await package.chat.completions.create(**hello, stream=True)
            assert [chunk async for chunk in answer]
    ours, theirs = server.chat.received
    assert server.paths[0] == server.paths[1]
    assert ours.params == theirs.params
    assert ours.headers["api-key"] == theirs.headers["api-key"]
    assert "authorization" not in {*ours.headers, *theirs.headers}
