import asyncio

from mediaserver.agents.services.openai.pending_transcripts import Overheard, PendingTranscripts
from mediaserver.agents.services.realtime import CallerText


def asked() -> Overheard:
    return asyncio.get_running_loop().create_future()


def turns(pending: PendingTranscripts, *items: str) -> None:
    for item in items:
        pending.commit(None)
        pending.committed(item, transcribed=True)


def test_each_turn_gets_its_transcript() -> None:
    pending = PendingTranscripts()
    turns(pending, "a", "b")
    assert pending.transcribed("a", CallerText("One.")) == [CallerText("One.")]
    assert pending.transcribed("b", CallerText("Two.")) == [CallerText("Two.")]


def test_a_turn_whose_transcript_is_passed_over_is_empty() -> None:
    pending = PendingTranscripts()
    turns(pending, "a", "b")
    assert pending.transcribed("b", CallerText("Two.")) == [CallerText(""), CallerText("Two.")]
    assert pending.transcribed("a", CallerText("Late.")) == []


async def test_what_is_not_a_turn_goes_to_who_waits_for_it() -> None:
    pending = PendingTranscripts()
    words = asked()
    turns(pending, "a")
    pending.commit(words)
    pending.committed("b", transcribed=True)
    assert pending.transcribed("b", CallerText("Stop!")) == [CallerText("")]
    assert words.result() == ("b", CallerText("Stop!"))


async def test_who_no_longer_waits_is_left_alone() -> None:
    pending = PendingTranscripts()
    words = asked()
    pending.commit(words)
    pending.committed("a", transcribed=True)
    words.cancel()
    assert pending.transcribed("a", CallerText("Stop!")) == []


async def test_when_the_connection_is_lost_nobody_waits_on() -> None:
    pending = PendingTranscripts()
    waits = [asked(), asked()]
    for words in waits:
        pending.commit(words)
    pending.committed("a", transcribed=True)
    pending.lose()
    assert [words.result() for words in waits] == [(None, CallerText(""))] * 2


def test_without_transcription_nothing_is_awaited() -> None:
    pending = PendingTranscripts()
    pending.commit(None)
    pending.committed("a", transcribed=False)
    assert pending.transcribed("a", CallerText("One.")) == []
