"""The carrier's side of a stream, with the time, the audio and the server's messages given."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from audiocodecs import L16_8K, MULAW_8K
from mediaserver.protocol import (
    ClearAudio,
    Command,
    PlayAudio,
    SendDtmf,
    SetCheckpoint,
    encode_command,
)
from mediaserver.sandbox.audio.playback import Cleared, Overflowed, PlaybackBuffer, Played
from mediaserver.sandbox.wire.ledger import CallLedger, TimelineEntry
from mediaserver.sandbox.wire.messages import StreamIdentity
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from mediaserver.sandbox.wire.session import CarrierSession, DigitsReceived, FaultDue


IDENTITY = StreamIdentity.new()
STREAM = IDENTITY.stream_id
EPOCH_MS = 1_705_312_200_000
ORIGIN = 1_000.0
FRAME = MULAW_8K.silence * 160
TONE = bytes([0x20]) * 160


class Carrier:
    """A session whose stream began at `ORIGIN`, and all that came of it."""

    def __init__(self, *wrong: str, limit: float = 60.0, **options: Any) -> None:
        self.ledger = CallLedger()
        self.buffer = PlaybackBuffer(MULAW_8K, origin=ORIGIN, limit=limit)
        self.tracks: tuple[str, ...] = options.get("tracks", ("inbound",))
        self.session = CarrierSession(
            IDENTITY,
            MULAW_8K,
            buffer=self.buffer,
            ledger=self.ledger,
            epoch_ms=EPOCH_MS,
            misbehaviour=Misbehaviour.parse(*wrong),
            **options,
        )
        self.sent: list[dict[str, Any]] = []
        self.happened: list[Any] = []
        self.do(self.session.start)

    def do(self, step: Callable[..., None], *arguments: Any) -> None:
        """Take a step, and keep what came of it."""
        step(*arguments)
        self.sent += [json.loads(message) for message in self.session.messages()]
        self.happened += self.session.happenings()

    def receive(self, command: Command | str | bytes, seconds: float = 0.0) -> None:
        text = command if isinstance(command, str | bytes) else encode_command(command).decode()
        self.do(self.session.receive, text, ORIGIN + seconds)

    def frames(self, ticks: int) -> None:
        for _ in range(ticks):
            now = ORIGIN + (self.session.ticks + 1) / 50
            self.do(self.session.advance, now)
            self.do(self.session.frame, [FRAME] * len(self.tracks), now)

    def kinds(self) -> list[str]:
        return [message["event"] for message in self.sent]

    def errors(self) -> list[str]:
        return list(self.ledger.errors)


def test_a_stream_opens_with_start() -> None:
    carrier = Carrier(extra_headers_text="{X-PH-agent: 7}")
    (start,) = carrier.sent
    assert (start["event"], start["sequenceNumber"]) == ("start", 1)
    assert start["start"]["streamId"] == STREAM
    assert start["extra_headers"] == "{X-PH-agent: 7}"
    assert carrier.ledger.entries == [TimelineEntry(0.0, "stream_started", str(MULAW_8K))]


def test_what_was_handed_over_is_not_handed_over_again() -> None:
    carrier = Carrier()
    carrier.receive(ClearAudio(STREAM))
    assert carrier.session.messages() == []
    assert carrier.session.happenings() == []


def test_a_checkpoint_is_acknowledged_when_the_audio_before_it_has_been_played() -> None:
    carrier = Carrier()
    carrier.receive(PlayAudio(TONE * 5, MULAW_8K))
    carrier.receive(SetCheckpoint(STREAM, "greeting"))
    carrier.frames(7)
    # It begins to play with the tick that follows its arrival.
    assert carrier.kinds() == ["start", *["media"] * 5, "playedStream", "media", "media"]
    (played,) = carrier.happened
    assert isinstance(played, Played)
    assert (played.name, played.time) == ("greeting", pytest.approx(ORIGIN + 0.12))
    (checkpoint,) = carrier.ledger.checkpoints
    assert checkpoint.played == pytest.approx(0.12)


def test_a_clear_is_answered_and_drops_what_waits() -> None:
    carrier = Carrier()
    carrier.receive(PlayAudio(TONE * 50, MULAW_8K))
    carrier.receive(SetCheckpoint(STREAM, "greeting"))
    carrier.receive(ClearAudio(STREAM), 0.5)
    carrier.frames(60)
    assert carrier.kinds().count("clearedAudio") == 1
    assert "playedStream" not in carrier.kinds()
    (cleared,) = carrier.happened
    assert isinstance(cleared, Cleared)
    assert cleared.checkpoints == ("greeting",)
    assert carrier.ledger.checkpoints[0].cleared == pytest.approx(0.5)


def test_digits_from_the_server_happen() -> None:
    carrier = Carrier()
    carrier.receive(SendDtmf("12#"), 1.5)
    assert carrier.happened == [DigitsReceived("12#")]
    assert [key.digit for key in carrier.ledger.dtmf_received] == ["1", "2", "#"]


def test_a_key_is_sent_with_its_time() -> None:
    carrier = Carrier()
    carrier.do(carrier.session.press, "5", ORIGIN + 1.25)
    assert carrier.sent[-1]["dtmf"] == {
        "track": "inbound",
        "digit": "5",
        "timestamp": str(EPOCH_MS + 1250),
    }
    assert [(key.time, key.digit) for key in carrier.ledger.keys_pressed] == [(1.25, "5")]


def test_audio_beyond_the_limit_is_an_error() -> None:
    carrier = Carrier(limit=0.1)
    carrier.receive(PlayAudio(TONE * 6, MULAW_8K))
    assert carrier.errors() == ["playback queue full (0.1 s): audio is dropped"]
    (overflowed,) = carrier.happened
    assert isinstance(overflowed, Overflowed)
    assert (overflowed.time, overflowed.seconds) == (ORIGIN, pytest.approx(0.02))


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"{}", "binary frame"),
        ("hello", "not_json: the message is not JSON"),
        ('{"event":"sing"}', "unknown command 'sing'"),
        (SetCheckpoint("another", "x"), "checkpoint for another stream"),
        (ClearAudio("another"), "clearAudio for another stream"),
        (PlayAudio(bytes(320), L16_8K), "incorrectPayload: audio/x-l16"),
    ],
)
def test_what_cannot_be_obeyed_is_written_down(message: Command | str | bytes, error: str) -> None:
    carrier = Carrier()
    carrier.receive(message)
    (found,) = carrier.errors()
    assert error in found
    assert carrier.kinds() == ["start"]
    assert carrier.happened == []
    assert carrier.ledger.messages_received == 1


def test_a_stream_that_is_not_bidirectional_obeys_nothing() -> None:
    carrier = Carrier(bidirectional=False)
    carrier.receive(PlayAudio(TONE, MULAW_8K))
    assert carrier.errors() == ["command on a stream that is not bidirectional"]
    assert carrier.buffer.received == 0


def test_a_checkpoint_whose_answer_would_be_too_long_is_an_error_and_takes_no_number() -> None:
    carrier = Carrier()
    command = {"event": "checkpoint", "streamId": "", "name": "é" * 32_740}
    carrier.receive(json.dumps(command, ensure_ascii=False, separators=(",", ":")))
    carrier.frames(2)
    assert carrier.errors()[0].startswith("checkpoint cannot be acknowledged")
    assert [message["sequenceNumber"] for message in carrier.sent] == [1, 2, 3]


def test_after_close_nothing_is_obeyed_and_nothing_answered() -> None:
    carrier = Carrier()
    carrier.receive(PlayAudio(TONE, MULAW_8K))
    carrier.receive(SetCheckpoint(STREAM, "greeting"))
    carrier.session.close()
    carrier.receive(ClearAudio(STREAM))
    carrier.do(carrier.session.advance, ORIGIN + 1.0)
    assert carrier.kinds() == ["start"]
    assert carrier.ledger.messages_received == 3


def test_faults_of_the_connection_are_due_once_each_soonest_first() -> None:
    carrier = Carrier("drop@0.1", "stop-reading@0.04", "half-close@0.04")
    carrier.frames(10)
    assert carrier.happened == [FaultDue("stop-reading"), FaultDue("half-close"), FaultDue("drop")]
    noted = [entry for entry in carrier.ledger.entries if entry.kind == "misbehaviour"]
    assert [(round(entry.time, 3), entry.text) for entry in noted] == [
        (0.04, "stop-reading"),
        (0.04, "half-close"),
        (0.1, "drop"),
    ]


@pytest.mark.parametrize(
    ("wrong", "missing"), [("no-acks", "playedStream"), ("no-cleared", "clearedAudio")]
)
def test_answers_can_be_missing(wrong: str, missing: str) -> None:
    carrier = Carrier(wrong)
    carrier.receive(SetCheckpoint(STREAM, "greeting"))
    carrier.frames(2)
    carrier.receive(ClearAudio(STREAM), 0.05)
    assert {"playedStream", "clearedAudio"} - set(carrier.kinds()) == {missing}
    assert carrier.ledger.checkpoints[0].played is not None


class CarrierMachine(RuleBasedStateMachine):
    """Whatever the server, the caller and the clock do, the events are those of Plivo."""

    @initialize(tracks=st.sampled_from([("inbound",), ("outbound",), ("inbound", "outbound")]))
    def begin(self, tracks: tuple[str, ...]) -> None:
        self.carrier = Carrier(tracks=tracks, bidirectional=tracks == ("inbound",), limit=1.0)
        self.now = 0.0
        self.asked: list[str] = []
        self.clears = 0

    @rule(ticks=st.integers(1, 30))
    def frame(self, ticks: int) -> None:
        self.carrier.frames(ticks)
        self.now = self.carrier.session.ticks / 50

    @rule(digit=st.sampled_from("0123456789*#ABCD"))
    def press(self, digit: str) -> None:
        self.carrier.do(self.carrier.session.press, digit, ORIGIN + self.now)

    @rule(ticks=st.integers(0, 70), odd=st.integers(0, 159))
    def play(self, ticks: int, odd: int) -> None:
        self.carrier.receive(PlayAudio(TONE * ticks + TONE[:odd], MULAW_8K), self.now)

    @rule()
    def checkpoint(self) -> None:
        name = str(len(self.asked))
        self.carrier.receive(SetCheckpoint(STREAM, name), self.now)
        if self.carrier.tracks == ("inbound",):
            self.asked.append(name)

    @rule()
    def clear(self) -> None:
        self.carrier.receive(ClearAudio(STREAM), self.now)
        self.clears += self.carrier.tracks == ("inbound",)

    @rule(message=st.text(max_size=20) | st.binary(max_size=20))
    def babble(self, message: str | bytes) -> None:
        self.carrier.receive(message, self.now)

    @invariant()
    def numbers_have_no_gaps(self) -> None:
        sent = self.carrier.sent
        assert [message["sequenceNumber"] for message in sent] == list(range(1, len(sent) + 1))
        for track in self.carrier.tracks:
            media = [
                message["media"]
                for message in sent
                if message["event"] == "media" and message["media"]["track"] == track
            ]
            assert [each["chunk"] for each in media] == list(range(1, len(media) + 1))
            times = [EPOCH_MS, *(int(each["timestamp"]) + 20 for each in media)]
            assert all(later - earlier == 20 for earlier, later in itertools.pairwise(times))

    @invariant()
    def each_command_is_answered_once_and_in_order(self) -> None:
        sent = self.carrier.sent
        assert self.carrier.kinds().count("clearedAudio") == self.clears
        acknowledged = [int(each["name"]) for each in sent if each["event"] == "playedStream"]
        assert acknowledged == sorted(set(acknowledged))
        ledger = self.carrier.ledger
        assert [each.name for each in ledger.checkpoints] == self.asked
        played = [int(each.name) for each in ledger.checkpoints if each.played is not None]
        assert acknowledged == played
        assert not [each for each in ledger.checkpoints if each.played and each.cleared]

    @invariant()
    def audio_is_kept_or_accounted_for(self) -> None:
        buffer = self.carrier.buffer
        kept = buffer.played + buffer.queued + buffer.cleared
        assert buffer.received == pytest.approx(kept)
        assert buffer.queued <= buffer.limit


TestCarrierSession = CarrierMachine.TestCase
TestCarrierSession.settings = settings(stateful_step_count=25)
