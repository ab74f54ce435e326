"""What AssemblyAI's own package sends to the local server, and understands of its answers."""

import asyncio
from typing import Any

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import CallerFinished, RecognizedWords
from mediaserver.agents.services.assemblyai.recognizer import AssemblyAIRecognizer
from mediaserver.testing.assemblyai import AssemblyAIServer
from tests.agents.services.hearing import hear, spoken, until


streaming: Any = pytest.importorskip("assemblyai.streaming.v3")

pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("ignore")]

MODELS = [
    (
        "universal-3-5-pro",
        {"language_codes": ["en"], "prompt": "A clinic."},
        {"language_codes": ["en"], "prompt": "A clinic."},
    ),
    (
        "universal-streaming-english",
        {"format_turns": True, "end_of_turn_confidence_threshold": 0.7},
        {"format_turns": True, "end_of_turn_confidence_threshold": 0.7},
    ),
]


@pytest.mark.parametrize(("model", "own", "package"), MODELS, ids=lambda each: str(each)[:20])
async def test_a_session_is_used_as_the_package_uses_it(
    model: str, own: dict[str, Any], package: dict[str, Any]
) -> None:
    async with AssemblyAIServer(*["I want a table."] * 2).running() as server:
        ears = AssemblyAIRecognizer(
            model,
            keyterms=["a b", "c"],
            min_turn_silence=0.4,
            max_turn_silence=2,
            vad_threshold=0.5,
            base_url=server.base_url,
            api_key=server.api_key,
            **own,
        )
        session = await ears.listen(MULAW_8K)
        await session.update(keyterms=["d"], max_turn_silence=3)
        await hear(session, spoken(4, 0.3))
        await session.finish()
        ours = await until(session.events(), CallerFinished)
        await session.close()
        sent, sizes = list(server.received), list(server.sizes)
        server.received.clear()
        server.sizes.clear()

        options = streaming.RealTimeTranscriberOptions(
            api_host=server.base_url, api_key=server.api_key
        )
        theirs = streaming.AsyncRealTimeTranscriber(options)
        told: list[Any] = []
        ended = asyncio.Event()

        def tell(_: Any, each: Any) -> None:
            told.append(each)
            if getattr(each, "end_of_turn", False):
                ended.set()

        for event in streaming.RealTimeEvents:
            theirs.on(event, tell)
        await theirs.connect(
            streaming.RealTimeParameters(
                speech_model=model,
                encoding="pcm_mulaw",
                sample_rate=8000,
                keyterms_prompt=["a b", "c"],
                min_turn_silence=400,
                max_turn_silence=2000,
                vad_threshold=0.5,
                **package,
            )
        )
        await theirs.set_params(
            streaming.RealTimeSessionParameters(keyterms_prompt=["d"], max_turn_silence=3000)
        )
        audio = b"".join(frame.payload for frame in spoken(4, 0.3))
        for size in sizes:
            await theirs.stream(audio[:size])
            audio = audio[size:]
        await theirs.force_endpoint()
        async with asyncio.timeout(10):
            await ended.wait()
        await theirs.disconnect(terminate=True)

        assert server.refusals == []
        assert plain(server.queries[0]) == plain(server.queries[1])
        assert server.received == sent
        assert server.sizes == sizes
    assert [each.type for each in told if each.type not in ("Turn", "SpeechStarted")] == [
        "Begin",
        "Termination",
    ]
    last = [each for each in told if each.type == "Turn"][-1]
    words = ours[-2]
    assert isinstance(words, RecognizedWords)
    assert (last.transcript, last.end_of_turn) == (words.text, True)
    assert [(w.text, w.start / 1000, w.end / 1000) for w in last.words] == [
        (w.text, w.start, w.end) for w in words.words
    ]


def plain(query: dict[str, str]) -> dict[str, str]:
    """Return parameters as the server reads them: Python's package writes True, and spaces."""
    return {name: value.lower().replace(", ", ",") for name, value in query.items()}
