import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioError, encode_wav
from mediaserver import Frame
from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.openai.speech import OpenAISpeech
from mediaserver.testing.openai import (
    Disconnect,
    Hold,
    HttpReply,
    OpenAIServer,
    fails,
    speaks,
)


TONE = (9000 * np.sin(np.arange(12000) / 9)).astype(np.int16)
PCM = L16_24K.encode(TONE)
MP3 = (b"\xff\xf3\x84\xc4" + bytes(188)) * 9


async def spoken(service: OpenAISpeech, text: str = "Good morning.") -> list[Frame]:
    return [frame async for frame in service.speak(text, MULAW_8K)]


def payload(frames: list[Frame]) -> bytes:
    return b"".join(frame.payload for frame in frames)


async def test_pcm_is_24_khz(server: OpenAIServer, use: Callable[..., Any]) -> None:
    server.speech.will(speaks(PCM))
    frames = await spoken(use(OpenAISpeech, "marin", instructions="Calmly.", speed=1.1))
    assert {frame.format for frame in frames} == {L16_24K}
    assert payload(frames) == PCM
    assert max(frame.seconds for frame in frames) <= 0.1
    assert server.speech.received[0].params == {
        "input": "Good morning.",
        "model": "gpt-4o-mini-tts",
        "voice": "marin",
        "response_format": "pcm",
        "instructions": "Calmly.",
        "speed": 1.1,
    }


async def test_a_frame_is_played_while_the_rest_is_still_made(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    hold = Hold()
    server.speech.will(speaks(PCM[:1001], hold, PCM[1001:]))
    frames = use(OpenAISpeech).speak("Good morning.", MULAW_8K)
    assert (await anext(frames)).payload == PCM[:1000]
    hold.release()
    assert payload([frame async for frame in frames]) == PCM[1000:]


@settings(max_examples=10)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=20))
def test_odd_pieces_are_the_same_samples(sizes: list[int]) -> None:
    async def main() -> None:
        pieces, taken = [], 0
        for size in sizes:
            pieces.append(PCM[taken : taken + size])
            taken += size
        async with OpenAIServer() as server:
            service = OpenAISpeech(base_url=server.base_url)
            server.speech.will(speaks(*filter(None, [*pieces, PCM[taken:]])))
            assert payload(await spoken(service)) == PCM
            await service.close()

    asyncio.run(main())


async def test_wav_is_played_at_the_rate_that_it_says(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.speech.will(speaks(encode_wav(TONE, 16000)))
    frames = await spoken(use(OpenAISpeech, response_format="wav"))
    assert {frame.format for frame in frames} == {L16_16K}
    assert payload(frames) == PCM


async def test_wav_in_place_of_pcm_is_understood(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.speech.will(speaks(encode_wav(TONE, 8000), content_type="audio/wav"))
    assert {frame.format for frame in await spoken(use(OpenAISpeech))} == {L16_8K}


async def test_mulaw_is_asked_for_at_the_telephones_rate_and_played_as_it_comes() -> None:
    async with OpenAIServer(dialect="groq") as server:
        server.speech.will(speaks(b"\x55" * 801))
        service = OpenAISpeech("tara", response_format="mulaw", base_url=server.base_url)
        frames = await spoken(service)
        await service.close()
    assert {frame.format for frame in frames} == {MULAW_8K}
    assert payload(frames) == b"\x55" * 801
    assert server.speech.received[0].params["sample_rate"] == 8000


async def test_a_rate_can_be_asked_for() -> None:
    async with OpenAIServer(dialect="groq") as server:
        service = OpenAISpeech(response_format="wav", sample_rate=16000, base_url=server.base_url)
        frames = await spoken(service)
        await service.close()
    assert {frame.format for frame in frames} == {L16_16K}


async def test_a_rate_in_the_content_type_counts(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.speech.will(speaks(PCM, content_type="audio/pcm; rate=16000"))
    assert {frame.format for frame in await spoken(use(OpenAISpeech))} == {L16_16K}


async def test_audio_without_a_content_type_is_played(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.speech.will(speaks(PCM, content_type=""))
    assert payload(await spoken(use(OpenAISpeech))) == PCM


@pytest.mark.parametrize(
    ("settings", "error", "reason"),
    [
        ({"response_format": "mp3"}, ValueError, "one of .*'pcm', 'wav', 'mulaw'.*, not 'mp3'"),
        ({"sample_rate": 4000}, AudioError, "4000"),
        ({"response_format": "mulaw", "sample_rate": 16000}, AudioError, "mulaw"),
        ({"response_format": "wav", "sample_rate": 1}, AudioError, "rate 1"),
        ({"extra": {"voice": "x"}}, ValueError, "OpenAISpeech sets itself"),
        ({"first_timeout": -1}, ValueError, "first_timeout"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(
    settings: dict[str, dict[str, str]] | dict[str, int | str] | dict[str, int] | dict[str, str],
    error: type[AudioError] | type[ValueError],
    reason: str,
) -> None:
    with pytest.raises(error, match=reason):
        OpenAISpeech(**settings)


async def test_speech_is_asked_for_as_it_is(server: OpenAIServer, use: Callable[..., Any]) -> None:
    await spoken(use(OpenAISpeech), "Good morning.")
    assert server.speech.received[0].headers["accept-encoding"] == "identity"


async def test_nothing_to_say_is_not_sent(server: OpenAIServer, use: Callable[..., Any]) -> None:
    assert await spoken(use(OpenAISpeech), " \n") == []
    assert not server.speech.received


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (HttpReply([b'{"error": "no voice"}']), "application/json instead of audio/ .*no voice"),
        (
            HttpReply([b"<html>Sign in</html>"], "text/html"),
            "text/html instead of audio/ .*Sign in",
        ),
        (HttpReply([b"<html>Sign in</html>"], "audio/pcm"), "text came .*Sign in"),
        (HttpReply([MP3], "audio/mpeg"), "audio/mpeg came instead of pcm"),
        (HttpReply([MP3], "audio/pcm"), "MP3 came"),
        (HttpReply([PCM], "audio/pcm;rate=4000"), "4000"),
        (HttpReply([PCM], "audio/pcm", headers={"content-encoding": "gzip"}), "encoded as gzip"),
        (HttpReply([b""], "audio/pcm"), "no audio came"),
        (HttpReply([b"\0"], "audio/pcm"), "no audio came"),
        (fails(401, "no"), "401"),
        (fails(500, "on fire"), "500: on fire"),
    ],
)
async def test_what_is_no_audio_is_an_error_and_never_played(
    server: OpenAIServer, use: Callable[..., Any], reply: HttpReply, reason: str
) -> None:
    server.speech.will(reply)
    frames = []
    with pytest.raises(ServiceError, match=reason):  # noqa: PT012
        async for frame in use(OpenAISpeech).speak("Good morning.", MULAW_8K):
            frames.append(frame)  # noqa: PERF401
    assert frames == []


async def test_what_came_before_a_lost_connection_was_played(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.speech.will(speaks(PCM[:960], Disconnect()))
    frames = use(OpenAISpeech).speak("Good morning.", MULAW_8K)
    assert (await anext(frames)).payload == PCM[:960]
    with pytest.raises(ServiceError, match=r"the connection .* was lost"):
        await anext(frames)


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [((), r"no answer within 0\.1 s"), ((PCM[:960],), r"did not go on within 0\.1 s")],
)
async def test_a_service_that_falls_silent_is_given_up(
    server: OpenAIServer, use: Callable[..., Any], pieces: tuple[()] | tuple[bytes], reason: str
) -> None:
    hold = Hold()
    server.speech.will(speaks(*pieces, hold))
    service = use(OpenAISpeech, first_timeout=0.1, stall_timeout=0.1)
    with pytest.raises(ServiceError, match=reason):
        await spoken(service)
    await asyncio.wait_for(hold.left.wait(), 5)


async def test_closing_ends_the_request_at_once_and_the_next_one_works(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    hold = Hold()
    server.speech.will(speaks(PCM[:960], hold))
    service = use(OpenAISpeech)
    frames = service.speak("Good morning.", MULAW_8K)
    await anext(frames)
    await frames.aclose()
    await asyncio.wait_for(hold.left.wait(), 5)
    assert await spoken(service)


async def test_cancelling_ends_the_request_at_once(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    hold = Hold()
    server.speech.will(speaks(PCM[:960], hold))
    task = asyncio.create_task(spoken(use(OpenAISpeech)))
    await asyncio.wait_for(hold.reached.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(hold.left.wait(), 5)


async def test_sentences_share_a_connection(server: OpenAIServer, use: Callable[..., Any]) -> None:
    service = use(OpenAISpeech)
    await service.prewarm()
    await spoken(service)
    await spoken(service)
    assert server.opened == 1
