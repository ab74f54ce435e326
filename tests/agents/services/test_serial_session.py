import pytest

from audiocodecs import L16_8K
from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.serial_session import SerialSession
from mediaserver.agents.services.serial_text import SerialText
from mediaserver.call import Frame
from mediaserver.testing import in_virtual_time


class Session(SerialSession):
    """Its service speaks when the test says so."""

    expires_after = None

    async def go_on(self) -> None:
        while self._texts:
            text = self._texts[0]
            text.take(longest=100)
            if not text.done:
                return
            self._over(text)

    async def forget(self, text: SerialText, *, sent: bool) -> None:
        self._texts.remove(text)

    async def close(self) -> None:
        pass

    def play(self, audio: bytes) -> None:
        self._play(audio)

    async def flushed(self) -> None:
        await self._one_flushed()

    def lose(self, reason: str) -> None:
        self._lose(ServiceError("voice", reason))


async def spoken(text: SerialText) -> list[Frame]:
    return [frame async for frame in text.speech()]


async def begun(session: Session, words: str) -> SerialText:
    text = session.begin()
    await text.say(words)
    await text.end()
    return text


@in_virtual_time
async def test_audio_is_that_of_the_first_text_in_whole_samples() -> None:
    session = Session(L16_8K)
    session.play(b"nobody")
    first, second = await begun(session, "One."), await begun(session, "Two.")
    for audio in (b"a", b"bc", b"d", b"e"):
        session.play(audio)
    await session.flushed()
    session.play(b"fg")
    await session.flushed()
    assert [(each.payload, each.track) for each in await spoken(first)] == [
        (b"ab", "outbound"),
        (b"cd", "outbound"),
    ]
    assert [each.payload for each in await spoken(second)] == [b"fg"]


@in_virtual_time
async def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    session = Session(L16_8K)
    text = session.begin()
    await text.say("One.")
    await session.flushed()
    assert not text.done
    await text.end()
    await session.flushed()
    assert await spoken(text) == []


@in_virtual_time
async def test_the_first_loss_is_raised_by_every_text() -> None:
    session = Session(L16_8K)
    texts = [await begun(session, "One."), session.begin()]
    session.lose("it broke")
    session.lose("something else")
    for text in [*texts, session.begin()]:
        with pytest.raises(ServiceError, match="it broke"):
            await spoken(text)
