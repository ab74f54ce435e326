import pytest

from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.serial_text import SerialText
from mediaserver.testing import in_virtual_time


class Session:
    """Notes what texts ask of it."""

    def __init__(self) -> None:
        self.went_on = 0
        self.forgot: list[bool] = []

    async def go_on(self) -> None:
        self.went_on += 1

    async def forget(self, text: SerialText, *, sent: bool) -> None:
        self.forgot.append(sent)


@in_virtual_time
async def test_a_text_is_taken_in_pieces_that_are_not_too_long() -> None:
    session = Session()
    text = SerialText(session)
    await text.say("One two three")
    assert text.take(longest=5) == (["One t", "wo th", "ree"], False)
    assert session.went_on == 1
    assert not text.done


@in_virtual_time
async def test_space_waits_for_a_word_and_is_never_flushed_alone() -> None:
    text = SerialText(Session())
    await text.say(" ")
    await text.flush()
    assert text.take(longest=9) == ([], False)
    await text.say("you")
    await text.end()
    assert text.take(longest=9) == ([" you"], True)


@in_virtual_time
async def test_a_flush_that_is_not_allowed_is_left_out_but_the_last_one_is_not() -> None:
    text = SerialText(Session())
    await text.say("One")
    await text.flush()
    assert text.take(longest=9, may_flush=False) == (["One"], False)
    await text.end()
    assert text.take(longest=9, may_flush=False) == ([], True)


@in_virtual_time
async def test_a_text_is_done_when_every_flush_was_answered() -> None:
    text = SerialText(Session())
    await text.say("One")
    await text.flush()
    text.take(longest=9)
    await text.say("two")
    await text.end()
    text.take(longest=9)
    states = []
    for _ in range(2):
        text.flushed()
        states.append((text.flushing, text.done))
    assert states == [(True, False), (False, True)]


@in_virtual_time
async def test_clearing_says_whether_the_service_has_some_of_the_text() -> None:
    session = Session()
    kept, sent = SerialText(session), SerialText(session)
    await kept.say("One")
    await kept.clear()
    await kept.clear()
    await sent.say("One")
    sent.take(longest=9)
    await sent.clear()
    assert session.forgot == [False, True]
    assert kept.take(longest=9) == ([], False)
    assert [frame async for frame in kept.speech()] == []
    assert kept.done


@in_virtual_time
async def test_an_error_is_raised_by_the_speech() -> None:
    text = SerialText(Session())
    text.frames.put_nowait(ServiceError("a voice", "it was lost"))
    with pytest.raises(ServiceError, match="it was lost"):
        await anext(text.speech())
