import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_16K, L16_24K, MULAW_8K
from mediaserver.call import (
    CallSettings,
    Checkpoint,
    Frame,
    Interrupt,
    Reconnected,
    Session,
    Started,
    StreamEndedError,
    StreamStatus,
    Turn,
)
from mediaserver.protocol import Dtmf, ProtocolError, StreamError
from mediaserver.protocol.event_decoding import MAX_REASON


class Shell:
    """Keeps what the session asks of its shell."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.asked: list[Any] = []
        self.failures: list[Any] = []
        self.notices: list[Any] = []
        self.details: list[Any] = []
        self.turns: list[Any] = []

    def send(self, message: bytes) -> None:
        self.sent.append(json.loads(message))

    def started(self) -> None:
        self.asked.append("started")

    def fail(self, code: int, reason: str) -> None:
        self.failures.append((code, reason))

    def pause_reading(self) -> None:
        self.asked.append("pause reading")

    def resume_reading(self) -> None:
        self.asked.append("resume reading")

    def notice(self, text: str, /, **details: str | int) -> None:
        self.notices.append(text)
        self.details.append(details)

    def reported(self, turn: Turn) -> None:
        self.turns.append(turn)


def noticed(shell: Shell) -> list[tuple[str, Any]]:
    return list(zip(shell.notices, shell.details, strict=True))


@pytest.fixture
def shell() -> Shell:
    return Shell()


@pytest.fixture
def make_session(clock: Any, shell: Shell) -> Callable[..., Any]:
    def make(**settings: Any) -> Session:
        return Session(clock, shell, CallSettings(**settings))

    return make


@pytest.fixture
def session(make_session: Callable[..., Any]) -> Any:
    return make_session()


@pytest.fixture
def live(session: Session) -> Session:
    session.receive(start())
    return session


def message(event: str, **fields: Any) -> str:
    return json.dumps({"event": event, "streamId": "stream", **fields})


def start(
    media_format: dict[str, int | str] | None = None,
    tracks: tuple[str, str] | tuple[str] = ("inbound",),
) -> str:
    media_format = media_format or {"encoding": "audio/x-mulaw", "sampleRate": 8000}
    return message(
        "start",
        sequenceNumber=0,
        start={
            "callId": "call",
            "streamId": "stream",
            "accountId": "account",
            "tracks": list(tracks),
            "mediaFormat": media_format,
        },
    )


L16_16K_START = start({"encoding": "audio/x-l16", "sampleRate": 16000})


def media(payload: bytes = b"\xff" * 160, chunk: int | None = None, track: str = "inbound") -> str:
    fields: dict[str, Any] = {"track": track, "payload": base64.b64encode(payload).decode()}
    if chunk is not None:
        fields["chunk"] = chunk
    return message("media", media=fields)


def dtmf(digit: str = "1") -> str:
    return message("dtmf", dtmf={"track": "inbound", "digit": digit, "timestamp": "1"})


def begun(session: Session) -> Started:
    """Return what the stream has since its start."""
    assert session.started is not None
    return session.started


def events(session: Session) -> Any:
    found = []
    while (event := begun(session).inbox.next_event()) is not None:
        found.append(event)
    return found


# The start.


def test_start_begins_the_stream(session: Session, shell: Shell) -> None:
    session.receive(start())
    assert begun(session).start.call_id == "call"
    assert shell.asked == ["started"]


def test_the_format_is_what_start_says(session: Session) -> None:
    session.receive(L16_16K_START)
    assert begun(session).format == L16_16K


def test_the_format_is_the_default_where_start_says_none(make_session: Callable[..., Any]) -> None:
    session = make_session(default_format=L16_24K)
    session.receive(
        message("start", start={"callId": "call", "streamId": "stream", "tracks": ["inbound"]})
    )
    assert begun(session).format == L16_24K


def test_a_second_start_is_ignored(live: Session, shell: Shell) -> None:
    playout = begun(live).playout
    live.receive(start())
    assert begun(live).playout is playout
    assert shell.asked == ["started"]
    assert "second start" in shell.notices[0]


def test_a_format_that_does_not_exist_ends_the_stream(session: Session, shell: Shell) -> None:
    session.receive(start({"encoding": "audio/x-opus", "sampleRate": 48000}))
    assert session.ended
    assert shell.failures[0][0] == 1008
    assert "opus" in shell.failures[0][1]


def test_the_second_start_is_told_once_and_counted(live: Session, shell: Shell) -> None:
    for _ in range(1_000):
        live.receive(start())
    live.close("over")
    assert [("second start" in text, details) for text, details in noticed(shell)] == [
        (True, {}),
        (True, {"repeated": 999}),
    ]


# Media.


def test_media_becomes_frames(live: Session) -> None:
    live.receive(media(b"\x01\x02", chunk=5))
    (frame,) = events(live)
    assert isinstance(frame, Frame)
    assert (frame.payload, frame.format, frame.track, frame.chunk) == (
        b"\x01\x02",
        MULAW_8K,
        "inbound",
        5,
    )


def test_media_is_counted(live: Session) -> None:
    live.receive(media())
    live.receive(media())
    assert live.counters.frames_in == 2
    assert live.counters.audio_in == pytest.approx(0.04)


def test_empty_media_is_no_frame(live: Session) -> None:
    live.receive(media(b""))
    assert events(live) == []


def test_the_newest_audio_can_be_looked_at(live: Session) -> None:
    live.receive(media(b"\x01"))
    live.receive(media(b"\x02"))
    live.receive(media(b"\x03", track="outbound"))
    assert live.last_payload == b"\x02"
    assert live.last_outbound == b"\x03"


def test_media_before_start_is_kept(session: Session) -> None:
    session.receive(media(chunk=1))
    session.receive(media(chunk=2))
    session.receive(start())
    assert [frame.chunk for frame in events(session)] == [1, 2]


def test_media_before_start_has_the_format_of_start(session: Session) -> None:
    session.receive(media(bytes(640)))
    session.receive(L16_16K_START)
    (frame,) = events(session)
    assert frame.seconds == 0.02


def test_only_so_much_media_before_start_is_kept(make_session: Callable[..., Any]) -> None:
    session = make_session(inbox_length=0.1)
    for chunk in range(8):
        session.receive(media(chunk=chunk))
    session.receive(start())
    assert [frame.chunk for frame in events(session)] == [3, 4, 5, 6, 7]
    assert session.counters.frames_dropped == 3


def test_the_inbox_holds_as_many_seconds_as_set(make_session: Callable[..., Any]) -> None:
    session = make_session(inbox_length=0.1)
    session.receive(L16_16K_START)
    for chunk in range(20):
        session.receive(media(bytes(640), chunk=chunk))
    assert len(events(session)) == 5


def test_a_full_inbox_stops_the_reading_where_set(
    make_session: Callable[..., Any], shell: Shell
) -> None:
    session = make_session(inbox_length=0.1, inbox_overflow="pause")
    session.receive(start())
    for _ in range(6):
        session.receive(media())
    events(session)
    assert shell.asked == ["started", "pause reading", "resume reading"]


@pytest.mark.parametrize(
    ("chunks", "lost"), [([1, 2, 3], 0), ([1, 4], 2), ([7, 8], 0), ([1, 3, 5], 2), ([None, 3], 0)]
)
def test_missing_chunks_are_lost_frames(
    live: Session, chunks: list[int | None] | list[int], lost: int
) -> None:
    for chunk in chunks:
        live.receive(media(chunk=chunk))
    assert live.counters.frames_lost == lost
    assert live.counters.frames_out_of_order == 0


def test_a_frame_that_comes_late_was_not_lost(live: Session) -> None:
    for chunk in (1, 3, 2, 4):
        live.receive(media(chunk=chunk))
    assert live.counters.frames_lost == 0
    assert live.counters.frames_out_of_order == 1


def test_a_frame_that_comes_twice_is_out_of_order(live: Session) -> None:
    for chunk in (1, 1):
        live.receive(media(chunk=chunk))
    assert live.counters.frames_lost == 0
    assert live.counters.frames_out_of_order == 1


def test_each_track_has_its_own_chunks(session: Session) -> None:
    session.receive(start(tracks=("inbound", "outbound")))
    for chunk in (1, 2):
        session.receive(media(chunk=chunk))
        session.receive(media(chunk=chunk, track="outbound"))
    assert session.counters.frames_lost == 0
    assert session.counters.frames_out_of_order == 0


def test_a_sample_cut_in_two_is_put_together(session: Session) -> None:
    session.receive(L16_16K_START)
    session.receive(media(b"\x01\x02\x03"))
    session.receive(media(b"\x04\x05\x06"))
    assert [frame.payload for frame in events(session)] == [b"\x01\x02", b"\x03\x04\x05\x06"]


def test_a_frame_that_was_cut_short_does_not_put_the_next_ones_out_of_step(
    session: Session,
) -> None:
    session.receive(L16_16K_START)
    session.receive(media(bytes(639)))
    session.receive(media(b"\x00\x01" * 320))
    assert [frame.samples[-1] for frame in events(session)] == [0, 256]


def test_samples_cut_in_two_on_both_tracks_stay_apart(session: Session) -> None:
    session.receive(
        start({"encoding": "audio/x-l16", "sampleRate": 16000}, tracks=("inbound", "outbound"))
    )
    session.receive(media(b"\x01\x02\x03"))
    session.receive(media(b"\x11\x12\x13", track="outbound"))
    session.receive(media(b"\x04"))
    session.receive(media(b"\x14", track="outbound"))
    assert [(frame.track, frame.payload) for frame in events(session)] == [
        ("inbound", b"\x01\x02"),
        ("outbound", b"\x11\x12"),
        ("inbound", b"\x03\x04"),
        ("outbound", b"\x13\x14"),
    ]


def test_half_a_sample_is_no_frame(session: Session) -> None:
    session.receive(L16_16K_START)
    session.receive(media(b"\x01"))
    assert events(session) == []


@given(st.binary(max_size=200), st.lists(st.integers(1, 30), max_size=20))
def test_audio_cut_anywhere_comes_out_whole(audio: bytes, cuts: list[int]) -> None:
    session = Session(lambda: 0.0, Shell(), CallSettings())
    session.receive(L16_16K_START)
    first = 0
    for size in [*cuts, len(audio)]:
        session.receive(media(audio[first : first + size]))
        first += size
    heard = b"".join(frame.payload for frame in events(session))
    assert heard == audio[: len(audio) - len(audio) % 2]


# Other events.


def test_a_key_is_an_event(live: Session) -> None:
    live.receive(dtmf("5"))
    (event,) = events(live)
    assert isinstance(event, Dtmf)
    assert event.digit == "5"


def test_an_error_of_plivos_is_an_event_and_a_notice(live: Session, shell: Shell) -> None:
    live.receive(message("error", reason="too bad"))
    (event,) = events(live)
    assert isinstance(event, StreamError)
    assert "error" in shell.notices[0]


def test_a_checkpoint_that_was_played_is_an_event(live: Session, clock: Any) -> None:
    begun(live).playout.play(bytes(800))
    begun(live).playout.checkpoint("end")
    clock.now += 0.1
    live.receive(message("playedStream", name="end"))
    assert events(live) == [Checkpoint("end", played=True)]


def test_an_answer_to_a_clear_is_no_event(live: Session) -> None:
    live.interrupt()
    events(live)
    live.receive(message("clearedAudio"))
    assert events(live) == []
    assert live.counters.unknown_messages == 0


def test_unknown_events_are_counted_and_ignored(live: Session) -> None:
    live.receive(message("mystery"))
    assert live.counters.unknown_messages == 1
    assert events(live) == []


def test_events_before_start_are_counted_and_ignored(session: Session) -> None:
    session.receive(dtmf())
    assert session.counters.unknown_messages == 1


def test_messages_and_bytes_are_counted(session: Session) -> None:
    session.receive(start())
    assert session.counters.messages_in == 1
    assert session.counters.bytes_in == len(start())


@pytest.mark.parametrize("track", ["", "Inbound", "both", "x" * 1_000, "t-1"])
def test_media_of_a_track_that_plivo_does_not_have_is_counted_and_dropped(
    live: Session, shell: Shell, track: str
) -> None:
    for chunk in range(3):
        live.receive(media(b"\x01\x02", chunk=chunk, track=track))
    live.receive(media(b"\x01\x02", chunk=0))
    assert len(events(live)) == 1
    assert (live.counters.frames_in, live.counters.unknown_messages) == (1, 3)
    ((text, details),) = noticed(shell)
    assert "track" in text
    assert len(details["track"]) < 100


def test_media_before_start_is_kept_up_to_some_bytes(make_session: Callable[..., Any]) -> None:
    session = make_session(inbox_length=1.0)
    for chunk in range(20):
        session.receive(media(bytes(20_000), chunk=chunk))
    session.receive(start())
    assert 1 <= session.counters.frames_in * 20_000 <= 96_000


def test_a_long_reason_is_cut(live: Session, shell: Shell) -> None:
    live.receive(message("error", reason="x" * 6_000))
    (event,) = events(live)
    assert isinstance(event, StreamError)
    assert len(event.reason) == MAX_REASON
    assert noticed(shell) == [("Plivo says error", {"reason": "x" * MAX_REASON})]
    live.receive(message("stop", reason="y" * 6_000))
    assert live.end_reason == "y" * MAX_REASON


def test_each_kind_of_error_is_told_once(live: Session, shell: Shell) -> None:
    for number in range(50):
        live.receive(message("error", reason=f"number {number}"))
        live.receive(message("playFailed", reason=f"number {number}"))
    assert [text for text, _ in noticed(shell)] == ["Plivo says error", "Plivo says playFailed"]


# What is too much.


def test_what_is_within_the_budget_may_come(make_session: Callable[..., Any], shell: Shell) -> None:
    session = make_session(messages_per_second=10, bytes_per_second=1_000, burst_seconds=2)
    assert session.budget.spend(20, 2_000)
    assert shell.failures == []


@pytest.mark.parametrize(("messages", "size", "what"), [(21, 0, "messages"), (1, 2_001, "bytes")])
def test_what_is_beyond_the_budget_ends_the_stream(
    make_session: Callable[..., Any], shell: Shell, messages: int, size: int, what: str
) -> None:
    session = make_session(messages_per_second=10, bytes_per_second=1_000, burst_seconds=2)
    session.receive(start())
    assert not session.budget.spend(messages, size)
    session.overspend()
    session.overspend()
    assert session.counters.over_budget == 1
    ((code, reason),) = shell.failures
    assert code == 1008
    assert f"too many {what}" in reason
    assert session.ended


def test_a_long_message_that_is_not_media_is_charged_more(
    make_session: Callable[..., Any], shell: Shell
) -> None:
    session = make_session(messages_per_second=10, bytes_per_second=10**6, burst_seconds=10)
    session.receive(start())
    for _ in range(200):
        session.receive(media(bytes(4_000)))
    assert shell.failures == []
    for _ in range(10):
        session.receive(message("mystery", much="x" * 4_000))
    assert [code for code, _ in shell.failures] == [1008]
    assert session.counters.unknown_messages < 10


def test_what_comes_after_the_end_is_charged_and_fails_nothing(
    make_session: Callable[..., Any], shell: Shell
) -> None:
    session = make_session(messages_per_second=10, bytes_per_second=1_000, burst_seconds=2)
    session.close("over")
    assert not session.budget.spend(21, 0)
    session.overspend()
    assert shell.failures == []


# What is malformed.


def test_a_malformed_message_is_counted_and_ignored(live: Session) -> None:
    live.receive("no json")
    assert live.counters.malformed_messages == 1
    assert not live.ended


def test_the_first_malformed_message_is_noticed(live: Session, shell: Shell) -> None:
    live.receive("no json")
    live.receive("no json either")
    assert len(shell.notices) == 1


def test_too_many_malformed_messages_end_the_stream(
    make_session: Callable[..., Any], shell: Shell
) -> None:
    session = make_session(max_malformed=3)
    session.receive(start())
    for _ in range(4):
        session.receive("no json")
    ((code, reason),) = shell.failures
    assert code == 1007
    assert reason.startswith("more than 3 malformed messages: the message is not JSON")
    assert session.ended


def test_a_message_that_is_too_long_is_malformed(make_session: Callable[..., Any]) -> None:
    session = make_session(max_message_size=400)
    session.receive(media(bytes(400)))
    assert session.counters.malformed_messages == 1


def test_a_binary_message_is_malformed(live: Session) -> None:
    live.refuse_binary(bytes(100))
    assert live.counters.malformed_messages == 1
    assert live.counters.messages_in == 2
    assert not live.ended


def test_a_binary_message_after_the_end_is_only_counted(live: Session) -> None:
    live.close("over")
    live.refuse_binary(bytes(100))
    assert live.counters.malformed_messages == 0
    assert live.counters.messages_in == 2


def test_a_handler_that_reads_no_events_is_cut_off_at_some_number(
    make_session: Callable[..., Any], shell: Shell
) -> None:
    session = make_session(max_control_events=10)
    session.receive(start())
    for _ in range(11):
        session.receive(dtmf())
    assert shell.failures == [(1008, "more events than the handler reads")]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda session: session.refuse_binary(bytes(100)), "binary"),
        (lambda session: session.receive(dtmf() + dtmf()), "one object in each message"),
    ],
)
def test_the_close_reason_tells_the_peer_what_was_malformed(
    make_session: Callable[..., Any], shell: Shell, spoil: Callable[[Session], None], why: str
) -> None:
    session = make_session()
    session.receive(start())
    while not session.ended:
        spoil(session)
    ((code, reason),) = shell.failures
    assert code == 1007
    assert why in reason
    assert len(reason.encode()) <= 123


@pytest.mark.parametrize(
    "text",
    [
        b'{"event":"media","media":{"payload":"AA=="},"junk":"\xff"}',
        b'{"event":"dtmf","dtmf":{"digit":"1"},"\xc3\x28":1}',
        b"\xed\xa0\x80",
    ],
)
def test_text_that_is_not_utf_8_ends_the_stream_at_once(
    live: Session, shell: Shell, text: bytes
) -> None:
    live.receive(text)
    assert shell.failures == [(1007, "the message is not UTF-8")]


@given(st.one_of(st.text(), st.binary(), st.recursive(st.none(), st.lists).map(json.dumps)))
def test_no_message_raises(garbage: str) -> None:
    session = Session(lambda: 0.0, Shell(), CallSettings())
    session.receive(garbage)
    session.receive(start())
    session.receive(garbage)
    assert session.counters.messages_in == 3


# Sending.


def test_audio_goes_to_the_shell(live: Session, shell: Shell) -> None:
    begun(live).playout.play(b"\xff" * 160)
    (sent,) = shell.sent
    assert sent["event"] == "playAudio"
    assert base64.b64decode(sent["media"]["payload"]) == b"\xff" * 160


def test_what_is_sent_is_counted(live: Session) -> None:
    begun(live).playout.play(b"\xff" * 160)
    assert live.counters.messages_out == 1
    assert live.counters.bytes_out > 160


def test_digits_go_to_the_shell(live: Session, shell: Shell) -> None:
    live.send_dtmf("12#")
    assert shell.sent == [{"event": "sendDTMF", "dtmf": "12#"}]


def test_digits_that_are_none_are_refused(live: Session, shell: Shell) -> None:
    with pytest.raises(ProtocolError):
        live.send_dtmf("12x")
    assert shell.sent == []


def test_digits_after_the_end_are_refused(live: Session) -> None:
    live.close("over")
    with pytest.raises(StreamEndedError, match=r"the stream has ended \(over\)"):
        live.send_dtmf("1")


def test_an_interruption_is_an_event(live: Session, clock: Any) -> None:
    begun(live).playout.play(bytes(16_000))
    clock.now += 0.5
    assert live.interrupt() == 1.5
    assert events(live) == [Interrupt(1.5)]


def test_an_interruption_after_the_end_is_no_event(live: Session) -> None:
    live.close("over")
    assert live.interrupt() == 0
    assert events(live) == []


# The end.


def test_stop_ends_the_stream(live: Session) -> None:
    live.receive(message("stop", stop={"reason": "hang-up"}))
    assert live.ended
    assert begun(live).inbox.ended
    assert begun(live).playout.ended


def test_closing_ends_the_stream(live: Session) -> None:
    live.close("the socket closed")
    assert live.ended
    assert live.end_reason == "the socket closed"


def test_a_stream_ends_once(live: Session) -> None:
    live.receive(message("stop"))
    reason = live.end_reason
    live.close("the socket closed")
    assert live.end_reason == reason != ""


def test_a_stream_that_never_started_can_end(session: Session) -> None:
    session.close("the socket closed")
    assert session.ended


def test_nothing_is_received_after_the_end(live: Session) -> None:
    live.close("over")
    live.receive(media())
    live.receive(dtmf())
    assert events(live) == []
    assert live.counters.messages_in == 3


def test_what_was_received_before_the_end_can_be_read(live: Session) -> None:
    live.receive(media(chunk=1))
    live.close("over")
    assert [frame.chunk for frame in events(live)] == [1]


def test_checkpoints_left_at_the_end_are_no_events(live: Session) -> None:
    begun(live).playout.play(bytes(800))
    begun(live).playout.checkpoint("end")
    live.close("over")
    assert events(live) == []


# What comes by other ways than the stream


PLAYED = StreamStatus(kind="played", name="a")


def test_a_status_callback_reaches_the_handler_in_order(live: Session) -> None:
    live.receive(dtmf())
    live.report(PLAYED)
    assert [type(event) for event in events(live)] == [Dtmf, StreamStatus]


def test_before_the_start_and_after_the_end_nobody_is_told_of_status_callbacks(
    session: Session,
) -> None:
    session.report(PLAYED)
    session.receive(start())
    session.close("over")
    session.report(PLAYED)
    assert events(session) == []


def test_status_callbacks_that_nobody_reads_end_no_call(
    make_session: Callable[..., Any], shell: Shell
) -> None:
    session = make_session(max_control_events=10)
    session.receive(start())
    for _ in range(100):
        session.report(PLAYED)
    assert len(events(session)) == 5
    assert shell.failures == []


# Turns, and listening in.


def test_a_turn_is_counted_told_and_an_event(live: Session, shell: Shell) -> None:
    turn = Turn(number=1, audio_heard=0.9)
    live.report_turn(turn)
    assert live.counters.turns.turns == 1
    assert shell.turns == [turn]
    assert begun(live).inbox.next_control() is turn


def test_a_turn_after_the_end_is_counted_and_told(live: Session, shell: Shell) -> None:
    live.close("over")
    live.report_turn(Turn(number=1))
    assert live.counters.turns.turns == 1
    assert len(shell.turns) == 1
    assert begun(live).inbox.next_control() is None


def test_turns_that_nobody_reads_do_not_end_the_call(live: Session, shell: Shell) -> None:
    for number in range(live.settings.max_control_events + 1):
        live.report_turn(Turn(number=number))
    assert not live.ended
    assert begun(live).inbox.unread_control_events == live.settings.max_control_events // 2


def test_a_tap_is_told_of_each_frame(live: Session, clock: Any) -> None:
    class Tap:
        def received(self, frame: Frame, at: float) -> None:
            told.append((frame.payload, at))

    told: list[Any] = []
    tap: Any = Tap()
    begun(live).playout.tap = tap
    begun(live).inbox.ignore_audio()
    clock.now += 1.0
    live.receive(media(b"\x01" * 160))
    assert told == [(b"\x01" * 160, 1001.0)]
    begun(live).playout.tap = None
    live.receive(media(b"\x02" * 160))
    assert len(told) == 1


# Losing the connection, and continuing on another.


def test_a_stream_that_is_opened_again_goes_on(live: Session, shell: Shell) -> None:
    live.receive(media(chunk=7))
    live.suspend()
    live.send_dtmf("5")
    assert shell.sent == []
    live.reopen(msgspec.structs.replace(begun(live).start, stream_id="another"), 2.5)
    assert [each["event"] for each in shell.sent] == ["clearAudio", "sendDTMF"]
    assert shell.sent[0]["streamId"] == "another"
    live.receive(media(chunk=1))
    live.receive(media(chunk=2))
    assert live.counters.frames_lost == live.counters.frames_out_of_order == 0
    (_, reconnected, *frames) = events(live)
    assert reconnected == Reconnected(2.5)
    assert len(frames) == 2


def test_what_has_not_started_cannot_be_lost(session: Session) -> None:
    session.suspend()
    session.receive(start())
    assert not session.ended
