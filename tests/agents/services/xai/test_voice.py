"""Voices of xAI, against the local server."""

from typing import Any

import pytest

from audiocodecs import AudioFormat
from mediaserver.agents.services import MisconfiguredServiceError, ServiceError, WordMark
from mediaserver.agents.services.xai.voice import XAIVoice
from mediaserver.testing import in_virtual_time
from mediaserver.testing.services import Timing
from mediaserver.testing.xai import XAIVoiceServer
from tests.agents.services.voices import heard, spoken


MULAW = AudioFormat("mulaw", 8000)


def voice(server: XAIVoiceServer, **settings: Any) -> XAIVoice:
    return XAIVoice(**{"api_key": "key", "base_url": server.base_url, **settings})


@pytest.mark.parametrize(
    ("format", "codec", "rate"),
    [
        (MULAW, "mulaw", "8000"),
        (AudioFormat("alaw", 8000), "alaw", "8000"),
        (AudioFormat("l16", 8000), "pcm", "8000"),
        (AudioFormat("l16", 16000), "pcm", "16000"),
        (AudioFormat("l16", 32000), "pcm", "24000"),
    ],
)
@in_virtual_time
async def test_the_formats_of_telephones_are_asked_for_as_they_are(
    format: AudioFormat, codec: str, rate: str
) -> None:
    async with XAIVoiceServer() as server:
        session = await voice(server).connect(format)
        assert (await heard((await spoken(session, "Yes.")).speech()))[0] == 0.3
        await session.close()
        assert server.sessions[0].query == {
            "voice": "eve",
            "language": "auto",
            "codec": codec,
            "sample_rate": rate,
            "with_timestamps": "true",
        }


@in_virtual_time
async def test_the_settings_reach_the_service() -> None:
    async with XAIVoiceServer() as server:
        session = await voice(
            server,
            voice="Ara",
            language="pt-BR",
            speed=1.1,
            optimize_streaming_latency=2,
            text_normalization=True,
            with_timestamps=False,
            replace={"Miller's": "Millers"},
        ).connect(MULAW)
        _, marks = await heard((await spoken(session, "Yes.")).speech())
        await session.close()
        assert marks == []
        (served,) = server.sessions
        assert served.query == {
            "voice": "Ara",
            "language": "pt-BR",
            "codec": "mulaw",
            "sample_rate": "8000",
            "speed": "1.1",
            "optimize_streaming_latency": "2",
            "text_normalization": "true",
        }
        assert served.received[0] == {"type": "session.update", "replace": {"Miller's": "Millers"}}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"voice": "two words"}, "voice must be a word"),
        ({"language": "English"}, "language must be like 'en'"),
        ({"speed": 2}, "speed must be a number from 0.7 to 1.5"),
        ({"optimize_streaming_latency": 3}, "optimize_streaming_latency must be 0, 1 or 2"),
        ({"replace": {f"word{n}": "x" for n in range(201)}}, "201 phrases"),
        ({"replace": {" ": "x"}}, "1 to 100 characters"),
        ({"replace": {"x" * 101: "x"}}, "1 to 100 characters"),
        ({"replace": {"C++": "see plus plus"}}, "letters, digits, apostrophes and spaces"),
        ({"replace": {"x": "y" * 129}}, "129 characters"),
        ({"replace": {"ACME  mobile": "x", "Acme Mobile": "y"}}, "are the same phrase"),
        ({"base_url": "https://api.x.ai"}, "base_url must look like wss://"),
    ],
)
def test_a_setting_that_xai_does_not_take_is_refused(settings: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("+", r"\+")):
        XAIVoice(**settings)


@in_virtual_time
async def test_the_times_of_a_text_with_several_utterances_count_from_its_first_sample() -> None:
    async with XAIVoiceServer(timing=Timing(0.1, 0.05), odd=True) as server:
        session = await voice(server).connect(MULAW)
        context = session.begin()
        for sentence in ("One two. ", "Three. ", "Four five."):
            await context.say(sentence)
            await context.flush()
        await context.end()
        seconds, marks = await heard(context.speech())
        await session.close()
        assert seconds == 1.5
        ends = [3, 8, 15, 20, 26]
        assert marks == [
            WordMark(end, round(0.3 * index + 0.24, 6)) for index, end in enumerate(ends)
        ]
        assert [each["type"] for each in server.sessions[0].received] == [
            "text.delta",
            "text.done",
            "text.delta",
            "text.done",
        ]
        assert not server.refused


@in_virtual_time
async def test_a_misspelt_field_is_refused_and_told() -> None:
    async with XAIVoiceServer() as server:
        session = await voice(server).connect(MULAW)
        context = await spoken(session, "Yes.")
        await session.send(['{"type": "text.delta", "dleta": "No."}'])
        with pytest.raises(ServiceError, match="unknown field `dleta`"):
            await heard(context.speech())
        await session.close()


@in_virtual_time
async def test_an_unknown_voice_is_found_by_the_check() -> None:
    async with XAIVoiceServer() as server:
        with pytest.raises(MisconfiguredServiceError, match="unknown voice evo"):
            await voice(server, voice="evo").check()
        await voice(server).check()
        assert server.sessions[0].received == []


@in_virtual_time
async def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XAI_API_KEY", raising=False)
    with pytest.raises(MisconfiguredServiceError, match="set XAI_API_KEY"):
        await XAIVoice().connect(MULAW)


def test_a_session_is_replaced_before_xai_ends_it() -> None:
    assert XAIVoice().request(MULAW, "key").protocol.expires_after == 600
