from pathlib import Path
from typing import Any

from mediaserver.call import StreamCounters, Turn, TurnStep, Usage
from mediaserver.records.events import CallOver, RecordEvent, TurnTaken
from mediaserver.records.prices import Price, PriceList
from mediaserver.records.recorded_call import RecordedCall
from tests.records.conftest import began


def record(*turns: Turn, transcripts: bool = False) -> tuple[RecordedCall, list[RecordEvent]]:
    told: list[RecordEvent] = []
    call = RecordedCall(began(), told.append, transcripts=transcripts)
    for turn in turns:
        call.turn(turn, at=1_800_000_002.0)
    return call, told


def end(call: RecordedCall, told: list[RecordEvent], **more: Any) -> CallOver:
    call.over(
        **{
            "at": 1_800_000_010.0,
            "seconds": 10.0,
            "cause": "plivo",
            "reason": "stopped by Plivo",
            "error": None,
            "stream_id": "s1",
            "counters": StreamCounters(),
            "loop_lag": 0.0,
            "first_audio": None,
            "recording": None,
            **more,
        }
    )
    event = told[-1]
    assert isinstance(event, CallOver)
    return event


TALK = Turn(
    number=1,
    caller="Do you have a tandem?",
    agent="Yes, we",
    interrupted=True,
    transcript=0.3,
    first_token=0.61234,
    audio_heard=1.2,
    usage=Usage(tokens_in=50, characters=20),
)


def test_a_turn_is_recorded_without_its_words() -> None:
    _, told = record(TALK)
    (event,) = told
    assert isinstance(event, TurnTaken)
    assert (event.position, event.number, event.interrupted) == (0, 1, True)
    assert (event.transcript, event.first_token, event.end_of_turn) == (0.3, 0.612, None)
    assert (event.caller_words, event.heard_words, event.tokens_in) == (5, 2, 50)
    assert event.caller is event.agent is None


def test_a_turn_and_its_call_have_their_cost_and_the_file_of_the_transcript() -> None:
    usage = Usage(tokens_in=3)
    step = TurnStep(kind="model", name="Chat", began=0.0, usage=usage)
    priced, unpriced = (
        PriceList(currency="EUR", prices={name: Price(million_tokens_in=1e6)})
        for name in ("Chat", "Other")
    )
    used = Turn(number=1, usage=usage, steps=(step,))
    for prices, cost, currency in ((priced, 3.0, "EUR"), (unpriced, None, None)):
        told: list[RecordEvent] = []
        call, counters = RecordedCall(began(), told.append, prices=prices), StreamCounters()
        for _ in range(2):
            counters.turns.count(used)
            call.turn(used, at=1_800_000_002.0)
        over = end(call, told, counters=counters, transcript=Path("calls/a.jsonl"))
        assert isinstance(told[0], TurnTaken)
        assert told[0].cost == cost
        assert (over.cost, over.currency) == (None if cost is None else 2 * cost, currency)
        assert over.transcript == "calls/a.jsonl"


def test_words_are_recorded_if_they_are_wanted() -> None:
    _, told = record(TALK, transcripts=True)
    assert isinstance(told[0], TurnTaken)
    assert (told[0].caller, told[0].agent) == ("Do you have a tandem?", "Yes, we")


def test_what_a_service_said_when_it_failed_is_recorded_only_with_the_words() -> None:
    said = "model: HTTP 400: 'my card is 4111' is not allowed"
    failed = Turn(number=1, error=said, failure="model: HTTP 400")
    own = Turn(number=2, error="no answer for my card is 4111")
    assert [event.error for event in record(failed, own)[1] if isinstance(event, TurnTaken)] == [
        "model: HTTP 400",
        "failed",
    ]
    assert [
        event.error
        for event in record(failed, own, transcripts=True)[1]
        if isinstance(event, TurnTaken)
    ] == [
        said,
        own.error,
    ]


def test_the_end_has_all_that_was_known_at_the_beginning() -> None:
    call, told = record()
    call.begin()
    event = end(call, told)
    assert told[0] == began()
    assert (event.id, event.call_id, event.handler, event.started_at) == (
        "r1",
        "c1",
        "Echo",
        1_800_000_000.0,
    )


def test_the_end_has_what_was_counted() -> None:
    call, told = record(Turn(number=0, audio_heard=9.0), TALK, Turn(number=2, error="no answer"))
    counters = StreamCounters()
    counters.underruns, counters.underrun_seconds = 2, 0.25
    for turn in (Turn(number=0), TALK, Turn(number=2)):
        counters.turns.count(turn)
    counters.turns.count_barge_in(confirmed=True)
    event = end(call, told, counters=counters, loop_lag=0.12345, first_audio=0.25)
    assert event.counts == {"underruns": 2, "underrun_seconds": 0.25}
    assert (event.turns, event.turns_interrupted, event.turns_failed) == (3, 1, 1)
    assert (event.barge_ins, event.false_barge_ins) == (1, 0)
    assert event.usage == {"tokens_in": 50, "characters": 20}
    # The greeting follows nothing that the caller has said.
    assert event.slowest_answer == 1.2
    assert (event.loop_lag, event.first_audio) == (0.1235, 0.25)


def test_of_an_exception_only_the_class_is_recorded() -> None:
    call, told = record()
    error = ValueError("+14155550100 is not in the list")
    event = end(call, told, error=error, recording=Path("calls/1.wav"), stream_id="s2")
    assert event.error == "ValueError"
    assert event.recording == "calls/1.wav"
    assert event.stream_id == "s2"
    assert call.id == "r1"
