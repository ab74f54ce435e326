"""The voice with sessions that tests use."""

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import ServiceError, Voice, WordMark
from mediaserver.testing import run_virtual
from mediaserver.testing.services import Fault
from mediaserver.testing.voice import ToneVoice


def test_it_says_a_text_in_odd_pieces_with_marks() -> None:
    async def main() -> None:
        voice: Voice = ToneVoice(chunk=801)
        session = await voice.connect(MULAW_8K)
        context = session.begin()
        await context.say("One two.")
        await context.end()
        pieces = [piece async for piece in context.speech()]
        assert [each.end for each in pieces if isinstance(each, WordMark)] == [3, 8]
        audio = [each.payload for each in pieces if not isinstance(each, WordMark)]
        assert len(audio[0]) == 801
        assert sum(map(len, audio)) == 4800
        await session.close()

    run_virtual(main())


def test_a_session_is_lost_after_a_number_of_pieces() -> None:
    async def main() -> None:
        voice = ToneVoice(fault=Fault(after=2, error=ServiceError("tones", "lost"), uses=1))
        for fails in (True, False):
            session = await voice.connect(MULAW_8K)
            context = session.begin()
            await context.say("One.")
            await context.end()
            if fails:
                with pytest.raises(ServiceError, match="lost"):
                    assert [piece async for piece in context.speech()] == []
            else:
                assert len([piece async for piece in context.speech()]) > 2
            await session.close()

    run_virtual(main())
