"""Whole calls to agents of xAI's services, over their protocols, in virtual time."""

from mediaserver.agents.services import ToolCall
from mediaserver.agents.services.xai.realtime import XAIRealtime
from mediaserver.agents.services.xai.voice import XAIVoice
from mediaserver.testing.services import TimedModel, TimedTranscription, Timing
from mediaserver.testing.xai import XAIRealtimeServer, XAIVoiceServer
from tests.agents.clerks import (
    HEARD,
    LONG,
    SPOKEN,
    LiveClerk,
    WritingClerk,
    calling,
    check_turns,
    converse,
)


async def test_a_call_with_xais_voice_agent() -> None:
    server = XAIRealtimeServer(
        *SPOKEN,
        transcripts=HEARD,
    )
    async with server.running():
        model = XAIRealtime(base_url=server.base_url, api_key=server.api_key)
        async with calling(LiveClerk, model=model) as (phone, agent):
            turns = await converse(phone, agent)
        await model.close()
    check_turns(turns)
    (told,) = server.of_type("conversation.item.truncate")
    assert told["audio_end_ms"] > 0
    assert server.refusals == []


async def test_a_call_with_a_voice_of_xais() -> None:
    async with XAIVoiceServer(timing=Timing(0.2, 0.25)) as server:
        answers: list[str | ToolCall] = [
            "What can I do for you?",
            ToolCall("a", "weather", '{"town": "Rome"}'),
            "It rains in Rome.",
            LONG,
            "Sorry.",
        ]
        async with calling(
            WritingClerk,
            language_model=TimedModel(answers),
            speech_to_text=TimedTranscription(HEARD),
            text_to_speech=XAIVoice(base_url=server.base_url, api_key=server.api_key),
        ) as (phone, agent):
            turns = await converse(phone, agent)
        check_turns(turns)
    said, *phrases = ([each["type"] for each in one.received] for one in server.sessions)
    utterance = ["text.delta", "text.done"]
    assert said == [*utterance * 3, "text.clear", *utterance]
    assert phrases == [utterance] * len(phrases)
    assert server.refused == []
