"""The speech of a text, for all that listen to it."""

import asyncio

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.conversing.served import speech
from mediaserver.agents.conversing.synthesis import Synthesis
from mediaserver.agents.services import ServiceError
from mediaserver.testing import run_virtual
from mediaserver.testing.services import Fault, TimedSpeech, Timing


def test_all_who_listen_hear_all_of_it() -> None:
    async def main() -> None:
        made = Synthesis(speech(TimedSpeech(), "One two.", MULAW_8K, patience=5.0))
        first, second = await asyncio.gather(*(heard(made) for _ in range(2)))
        assert first == second == made.speech
        assert len(first) > 2
        assert made.done

    run_virtual(main())


def test_it_is_made_though_nobody_listens() -> None:
    async def main() -> None:
        made = Synthesis(speech(TimedSpeech(), "One two.", MULAW_8K, patience=5.0))
        await asyncio.sleep(1.0)
        assert made.done

    run_virtual(main())


def test_a_failure_comes_after_the_audio_that_came() -> None:
    async def main() -> None:
        service = TimedSpeech(fault=Fault(after=2, error=ServiceError("tts", "gone")), marks=False)
        made = Synthesis(speech(service, "One two.", MULAW_8K, patience=5.0))
        with pytest.raises(ServiceError, match="gone"):
            await heard(made)
        assert len(made.speech) == 2

    run_virtual(main())


@pytest.mark.parametrize("after", [0.0, 1.0])
def test_who_listens_is_told_that_it_was_cancelled(after: float) -> None:
    async def main() -> None:
        service = TimedSpeech(timing=Timing(0.5, 30.0))
        made = Synthesis(speech(service, "One two.", MULAW_8K, patience=60.0))
        listening = asyncio.create_task(heard(made))
        await asyncio.sleep(after)
        await made.cancel()
        async with asyncio.timeout(1.0):
            await listening
        assert service.open == 0

    run_virtual(main())


async def heard(made: Synthesis) -> list[object]:
    return [piece async for piece in made.listen()]
