import openai

from audiocodecs import decode_wav
from mediaserver.testing.openai import (
    OpenAIServer,
    speaks,
)


async def test_speech_sounds_without_being_told(client: openai.AsyncOpenAI) -> None:
    speech = await client.audio.speech.create(
        model="any", voice="any", input="hi", response_format="wav"
    )
    assert decode_wav(speech.content).seconds == 0.5


async def test_speech_is_what_it_is_told(server: OpenAIServer, client: openai.AsyncOpenAI) -> None:
    server.speech.will(speaks(b"ab", b"cd"))
    speech = await client.audio.speech.create(
        model="any", voice="any", input="hi", response_format="pcm"
    )
    assert speech.content == b"abcd"
    assert speech.response.headers["content-type"] == "audio/pcm"
