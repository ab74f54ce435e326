import openai

from mediaserver.testing.openai import (
    OpenAIServer,
    hears,
)


async def test_a_transcription_is_streamed_or_not(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    file = ("a.wav", b"RIFF", "audio/wav")
    server.transcription.answer = hears("Good morning.")
    whole = await client.audio.transcriptions.create(model="any", file=file, language="en")
    assert whole.text == "Good morning."
    stream = await client.audio.transcriptions.create(model="any", file=file, stream=True)
    events = [event async for event in stream]
    assert [event.type[16:] for event in events] == ["delta", "delta", "done"]
    assert events[-1].to_dict()["text"] == "Good morning."
    assert server.transcription.received[0].params == {"model": "any", "language": "en"}
    assert server.transcription.received[0].file == b"RIFF"
