from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import MULAW_8K
from mediaserver.call import Frame, Inbox, StreamCounters
from mediaserver.protocol import Dtmf


LIMIT = 800


def frame(chunk: int | None = None, size: int = 160) -> Frame:
    return Frame(bytes(size), MULAW_8K, chunk=chunk)


def chunk_of(event: object) -> int | None:
    assert isinstance(event, Frame)
    return event.chunk


def key(digit: str = "1") -> Dtmf:
    return Dtmf(digit)


@pytest.fixture
def counters() -> StreamCounters:
    return StreamCounters()


@pytest.fixture
def inbox(counters: StreamCounters) -> Inbox:
    return Inbox(LIMIT, counters)


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def holding(counters: StreamCounters, calls: list[Any]) -> Inbox:
    """An inbox that holds its sender up in place of dropping."""
    return Inbox(
        LIMIT,
        counters,
        hold_up=lambda: calls.append("hold up"),
        let_go=lambda: calls.append("let go"),
    )


def test_frames_come_out_in_order(inbox: Inbox) -> None:
    for chunk in range(3):
        inbox.put_frame(frame(chunk))
    assert [chunk_of(inbox.next_frame()) for _ in range(3)] == [0, 1, 2]


def test_an_empty_inbox_has_no_frame(inbox: Inbox) -> None:
    assert inbox.next_frame() is None


def test_an_empty_inbox_has_no_control_event(inbox: Inbox) -> None:
    assert inbox.next_control() is None


def test_an_empty_inbox_has_no_event(inbox: Inbox) -> None:
    assert inbox.next_event() is None


def test_events_of_both_lanes_come_out_in_order_of_arrival(inbox: Inbox) -> None:
    arrivals: list[Frame | Dtmf] = [frame(1), key("1"), key("2"), frame(2), frame(3), key("3")]
    for event in arrivals:
        inbox.put_frame(event) if isinstance(event, Frame) else inbox.put_control(event)
    assert [inbox.next_event() for _ in arrivals] == arrivals


def test_lanes_can_be_read_apart(inbox: Inbox) -> None:
    inbox.put_control(key("1"))
    inbox.put_frame(frame(1))
    assert chunk_of(inbox.next_frame()) == 1
    assert inbox.next_control() == key("1")


def test_the_oldest_audio_is_dropped_when_full(inbox: Inbox) -> None:
    for chunk in range(7):
        inbox.put_frame(frame(chunk))
    assert chunk_of(inbox.next_frame()) == 2


def test_dropped_audio_is_counted(inbox: Inbox, counters: StreamCounters) -> None:
    for chunk in range(7):
        inbox.put_frame(frame(chunk))
    assert counters.frames_dropped == 2
    assert counters.audio_dropped == pytest.approx(0.04)


def test_a_frame_longer_than_the_limit_is_kept_alone(inbox: Inbox) -> None:
    inbox.put_frame(frame(1))
    inbox.put_frame(frame(2, size=LIMIT + 1))
    assert chunk_of(inbox.next_frame()) == 2
    assert inbox.next_frame() is None


def test_control_events_are_never_dropped(inbox: Inbox) -> None:
    for _ in range(500):
        inbox.put_control(key())
        inbox.put_frame(frame())
    assert inbox.unread_control_events == 500


def test_dropping_audio_keeps_the_order_of_the_rest(inbox: Inbox) -> None:
    inbox.put_frame(frame(0))
    inbox.put_control(key("1"))
    for chunk in range(1, 7):
        inbox.put_frame(frame(chunk))
    assert inbox.next_event() == key("1")
    assert chunk_of(inbox.next_event()) == 2


def test_reading_makes_room(inbox: Inbox, counters: StreamCounters) -> None:
    for chunk in range(20):
        inbox.put_frame(frame(chunk))
        inbox.next_frame()
    assert counters.frames_dropped == 0


def test_the_sender_is_held_up_once_when_full(holding: Inbox, calls: list[Any]) -> None:
    for chunk in range(8):
        holding.put_frame(frame(chunk))
    assert calls == ["hold up"]


def test_nothing_is_dropped_where_the_sender_is_held_up(
    holding: Inbox, counters: StreamCounters
) -> None:
    for chunk in range(8):
        holding.put_frame(frame(chunk))
    assert chunk_of(holding.next_frame()) == 0
    assert counters.frames_dropped == 0


def test_the_sender_is_let_go_when_half_is_left(holding: Inbox, calls: list[Any]) -> None:
    for chunk in range(6):
        holding.put_frame(frame(chunk))
    lefts: list[Any] = []
    while len(calls) == 1:
        holding.next_frame()
        lefts.append(6 - len(lefts) - 1)
    assert calls == ["hold up", "let go"]
    assert lefts[-1] * 160 <= LIMIT / 2 < (lefts[-1] + 1) * 160


def test_the_sender_is_held_up_again_when_full_again(holding: Inbox, calls: list[Any]) -> None:
    for _ in range(2):
        for chunk in range(6):
            holding.put_frame(frame(chunk))
        while holding.next_frame():
            pass
    assert calls == ["hold up", "let go"] * 2


def test_ignored_audio_is_not_kept(inbox: Inbox) -> None:
    inbox.put_frame(frame())
    inbox.ignore_audio()
    inbox.put_frame(frame())
    assert inbox.next_event() is None


def test_ignored_audio_is_not_counted_as_dropped(inbox: Inbox, counters: StreamCounters) -> None:
    inbox.ignore_audio()
    for chunk in range(10):
        inbox.put_frame(frame(chunk))
    assert counters.frames_dropped == 0


def test_audio_that_is_wanted_after_all_is_kept_from_then_on(inbox: Inbox) -> None:
    inbox.ignore_audio()
    inbox.put_frame(frame(1))
    inbox.want_audio()
    inbox.put_frame(frame(2))
    assert chunk_of(inbox.next_frame()) == 2


def test_ignoring_audio_lets_the_sender_go(holding: Inbox, calls: list[Any]) -> None:
    for chunk in range(6):
        holding.put_frame(frame(chunk))
    holding.ignore_audio()
    assert calls == ["hold up", "let go"]


def test_letting_go_is_optional(counters: StreamCounters, calls: list[Any]) -> None:
    inbox = Inbox(LIMIT, counters, hold_up=lambda: calls.append("hold up"))
    for chunk in range(6):
        inbox.put_frame(frame(chunk))
    inbox.ignore_audio()
    assert calls == ["hold up"]


def test_a_frame_is_handed_to_the_reader_that_waits_for_it(
    inbox: Inbox, make_waiter: type[Any]
) -> None:
    inbox.frame_waiter = waiter = make_waiter()
    inbox.put_frame(frame(1))
    assert chunk_of(waiter.result) == 1
    assert inbox.next_frame() is None


def test_only_one_frame_is_handed_to_a_reader(inbox: Inbox, make_waiter: type[Any]) -> None:
    inbox.frame_waiter = make_waiter()
    inbox.put_frame(frame(1))
    inbox.put_frame(frame(2))
    assert chunk_of(inbox.next_frame()) == 2


def test_a_frame_for_a_reader_that_gave_up_is_kept(inbox: Inbox, make_waiter: type[Any]) -> None:
    inbox.frame_waiter = waiter = make_waiter()
    waiter.cancelled = True
    inbox.put_frame(frame(1))
    assert chunk_of(inbox.next_frame()) == 1


def test_a_frame_wakes_a_reader_of_events(inbox: Inbox, make_waiter: type[Any]) -> None:
    inbox.event_waiter = waiter = make_waiter()
    inbox.put_frame(frame(1))
    assert waiter.woken
    assert chunk_of(inbox.next_event()) == 1


def test_a_control_event_wakes_a_reader_of_events(inbox: Inbox, make_waiter: type[Any]) -> None:
    inbox.event_waiter = waiter = make_waiter()
    inbox.put_control(key())
    assert waiter.woken
    assert inbox.next_control() == key()


def test_a_control_event_leaves_a_reader_of_audio_asleep(
    inbox: Inbox, make_waiter: type[Any]
) -> None:
    inbox.frame_waiter = waiter = make_waiter()
    inbox.put_control(key())
    assert not waiter.woken


def test_a_reader_of_events_is_woken_once(inbox: Inbox, make_waiter: type[Any]) -> None:
    inbox.event_waiter = waiter = make_waiter()
    inbox.put_frame(frame())
    inbox.put_control(key())
    assert waiter.woken


def test_a_reader_of_events_that_gave_up_is_left_alone(
    inbox: Inbox, make_waiter: type[Any]
) -> None:
    inbox.event_waiter = waiter = make_waiter()
    waiter.cancelled = True
    inbox.put_control(key())
    assert not waiter.woken


def test_frames_handed_over_count_in_the_order_of_arrival(
    inbox: Inbox, make_waiter: type[Any]
) -> None:
    inbox.frame_waiter = make_waiter()
    inbox.put_frame(frame(1))
    inbox.put_control(key("1"))
    inbox.put_frame(frame(2))
    assert inbox.next_event() == key("1")


def test_the_end_wakes_a_reader_of_audio_for_good(inbox: Inbox, make_waiter: type[Any]) -> None:
    inbox.frame_waiter = waiter = make_waiter()
    inbox.end()
    assert waiter.woken
    assert waiter.result is None


def test_the_end_wakes_a_reader_of_events(inbox: Inbox, make_waiter: type[Any]) -> None:
    inbox.event_waiter = waiter = make_waiter()
    inbox.end()
    assert waiter.woken


def test_the_end_leaves_a_reader_that_gave_up_alone(inbox: Inbox, make_waiter: type[Any]) -> None:
    inbox.frame_waiter = waiter = make_waiter()
    waiter.cancelled = True
    inbox.end()
    assert not waiter.woken


def test_what_came_before_the_end_can_still_be_read(inbox: Inbox) -> None:
    inbox.put_frame(frame(1))
    inbox.end()
    assert inbox.ended
    assert chunk_of(inbox.next_frame()) == 1


@given(
    st.lists(
        st.one_of(
            st.integers(1, 400).map(lambda size: ("frame", size)),
            st.just(("key", 0)),
            st.just(("read", 0)),
        )
    )
)
def test_audio_stays_within_the_limit_and_order_is_kept(steps: list[tuple[str, int]]) -> None:
    counters = StreamCounters()
    inbox = Inbox(LIMIT, counters)
    put: list[Frame | Dtmf] = []
    read: list[object] = []
    for kind, size in steps:
        if kind == "frame":
            put.append(audio := frame(len(put), size))
            inbox.put_frame(audio)
        elif kind == "key":
            put.append(digit := key())
            inbox.put_control(digit)
        elif (event := inbox.next_event()) is not None:
            read.append(event)
    rest = []
    while (event := inbox.next_event()) is not None:
        rest.append(event)
    kept = [id(event) for event in (*read, *rest)]
    assert kept == [id(event) for event in put if id(event) in set(kept)]
    assert len(kept) + counters.frames_dropped == len(put)
    assert sum(len(event.payload) for event in rest if isinstance(event, Frame)) <= LIMIT


def test_an_abandoned_inbox_keeps_no_control_event_that_nobody_asked_for(inbox: Inbox) -> None:
    inbox.put_control(key())
    inbox.put_frame(frame(1))
    inbox.abandon()
    assert inbox.unread_control_events == 0
    assert chunk_of(inbox.next_frame()) == 1


def test_an_abandoned_inbox_keeps_control_events_that_somebody_reads(inbox: Inbox) -> None:
    inbox.put_control(key("1"))
    inbox.put_control(key("2"))
    assert inbox.next_event() == key("1")
    inbox.abandon()
    assert inbox.next_control() == key("2")
