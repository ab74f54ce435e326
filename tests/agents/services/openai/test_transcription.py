import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat, decode_wav
from mediaserver.agents.services import ServiceError, Transcript
from mediaserver.agents.services.openai.transcription import OpenAITranscription
from mediaserver.call import Frame
from mediaserver.testing import run_virtual
from mediaserver.testing.openai import Disconnect, Hold, HttpReply, OpenAIServer, hears, streams


async def spoken(format: AudioFormat = MULAW_8K, frames: int = 25) -> AsyncIterator[Any]:
    for number in range(frames):
        samples = np.full(format.rate // 50, number * 100, np.int16)
        yield Frame(format.encode(samples), format)


async def understood(
    service: OpenAITranscription, speech: AsyncIterator[Any] | None = None
) -> list[Transcript]:
    return [transcript async for transcript in service.transcribe(speech or spoken())]


async def test_an_utterance_is_uploaded_as_wav_at_the_calls_rate(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.transcription.will(hears(" Good morning. "))
    service = use(OpenAITranscription, language="en", prompt="Plivo")
    assert await understood(service) == [Transcript("Good morning.", True, 0.5)]
    (request,) = server.transcription.received
    assert request.params == {"model": "gpt-transcribe", "language": "en", "prompt": "Plivo"}
    wav = decode_wav(request.file)
    assert wav.rate == 8000
    sent = [frame.samples async for frame in spoken()]
    assert np.array_equal(wav.samples, np.concatenate(sent))


async def test_16_khz_stays_16_khz(server: OpenAIServer, use: Callable[..., Any]) -> None:
    (transcript,) = await understood(use(OpenAITranscription), spoken(L16_16K, 10))
    assert transcript.seconds == 0.2
    assert decode_wav(server.transcription.received[0].file).rate == 16000


@pytest.mark.parametrize("frames", [0, 1, 4])
async def test_less_than_the_api_takes_is_nothing_said(
    server: OpenAIServer, use: Callable[..., Any], frames: int
) -> None:
    speech = spoken(frames=frames)
    assert await understood(use(OpenAITranscription), speech) == [Transcript("", True)]
    assert not server.transcription.received


async def test_partial_transcripts_are_of_all_that_was_said(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.transcription.will(hears("Good morning to you."))
    transcripts = await understood(use(OpenAITranscription, stream=True))
    assert [t.text for t in transcripts] == [
        "Good",
        "Good morning",
        "Good morning to",
        "Good morning to you.",
        "Good morning to you.",
    ]
    assert [t.final for t in transcripts] == [False, False, False, False, True]
    assert [t.seconds for t in transcripts] == [0, 0, 0, 0, 0.5]


async def test_a_model_that_does_not_stream_is_understood_too(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.transcription.will(HttpReply([b'{"text": "Hello."}']))
    (transcript,) = await understood(use(OpenAITranscription, "whisper-1", stream=True))
    assert transcript.text == "Hello."


async def test_chunks_like_those_of_a_chat_are_understood(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    chunks = [{"choices": [{"delta": {"content": text}}]} for text in ("Good", " day")]
    server.transcription.will(streams(*chunks, {"choices": [{"delta": {}}]}, "[DONE]"))
    transcripts = await understood(use(OpenAITranscription, stream=True))
    assert [t.text for t in transcripts] == ["Good", "Good day", "Good day"]


async def test_further_fields_are_sent(server: OpenAIServer, use: Callable[..., Any]) -> None:
    await understood(use(OpenAITranscription, extra={"temperature": 0, "keywords": ["Plivo"]}))
    params = server.transcription.received[0].params
    assert params["temperature"] == 0
    assert params["keywords"] == ["Plivo"]


def test_fields_that_it_sets_itself_are_refused() -> None:
    with pytest.raises(ValueError, match="OpenAITranscription sets itself"):
        OpenAITranscription(extra={"file": b""})


async def test_utterances_share_a_connection(server: OpenAIServer, use: Callable[..., Any]) -> None:
    service = use(OpenAITranscription)
    for stream in (False, True):
        service = service if not stream else use(OpenAITranscription, stream=True)
        opened = server.opened
        await understood(service)
        await understood(service)
        assert server.opened == opened + 1


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (streams({"type": "transcript.text.delta", "delta": "Good"}), "the answer broke off"),
        (streams({"error": {"message": "no memory"}}), "no memory"),
        (streams("{"), "an answer that cannot be decoded"),
        (HttpReply([b'{"txt": "Hello."}']), "an answer that cannot be decoded"),
        (HttpReply([b""]), "an answer that cannot be decoded"),
        (HttpReply([b"<html>", b"</html>"], "text/html"), "text/html instead of application/json"),
        (HttpReply([b'{"text', Disconnect()]), "connection"),
    ],
)
async def test_an_answer_that_is_none_is_an_error(
    server: OpenAIServer, use: Callable[..., Any], reply: HttpReply, reason: str
) -> None:
    server.transcription.will(reply)
    with pytest.raises(ServiceError, match=reason):
        await understood(use(OpenAITranscription, stream=True))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_slow_answer_is_given_up(
    server: OpenAIServer, use: Callable[..., Any], stream: bool
) -> None:
    hold = Hold()
    server.transcription.will(HttpReply([hold]))
    with pytest.raises(ServiceError, match=r"no answer within 0\.1 s"):
        await understood(use(OpenAITranscription, stream=stream, first_timeout=0.1))
    await asyncio.wait_for(hold.left.wait(), 5)


async def test_a_stall_is_given_up(server: OpenAIServer, use: Callable[..., Any]) -> None:
    hold = Hold()
    server.transcription.will(hears("Good morning", pieces=["Good", hold]))
    with pytest.raises(ServiceError, match="did not go on"):
        await understood(use(OpenAITranscription, stream=True, stall_timeout=0.1))
    await asyncio.wait_for(hold.left.wait(), 5)


def test_the_deadline_does_not_run_while_the_caller_speaks() -> None:
    async def slowly() -> AsyncIterator[Any]:
        async for frame in spoken(frames=1):
            await asyncio.sleep(60)
            yield frame

    async def main() -> None:
        service = OpenAITranscription(first_timeout=0.1)
        assert await understood(service, slowly()) == [Transcript("", True)]

    run_virtual(main())


async def test_cancelling_ends_the_request_at_once(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    hold = Hold()
    server.transcription.will(HttpReply([hold]))
    task = asyncio.create_task(understood(use(OpenAITranscription)))
    await asyncio.wait_for(hold.reached.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(hold.left.wait(), 5)
