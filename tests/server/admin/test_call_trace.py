import base64
import json
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodecs import MULAW_8K
from mediaserver.call import StreamCounters
from mediaserver.call.follower import STREAM_ENDED
from mediaserver.protocol import (
    ClearAudio,
    Dtmf,
    Media,
    PlayAudio,
    ProtocolError,
    SendDtmf,
    SetCheckpoint,
    Start,
    decode_event,
    encode_command,
    encode_event,
)
from mediaserver.server.admin import call_trace
from mediaserver.server.admin.call_trace import CallTrace


STREAM_ID = str(UUID(int=1, version=4))


class Traced:
    """A trace of a call that started at 100 s."""

    def __init__(self, **settings: Any) -> None:
        self.now = 101.0
        self.counters = StreamCounters()
        playout = SimpleNamespace(
            sent=800,
            unheard=0.5,
            round_trip=0.25,
            heard_at=lambda position: 101.5 + position / 8000,
        )
        session: Any = SimpleNamespace(
            counters=self.counters, started=SimpleNamespace(format=MULAW_8K, playout=playout)
        )
        self.trace = CallTrace(
            session, clock=lambda: self.now, began=100.0, lag=lambda since: 0.03, **settings
        )

    def lines(self, *, audio: bool = False) -> list[dict[str, Any]]:
        taken = self.trace.take(0, 10**9, audio=audio)
        return [json.loads(line) for line in taken.lines]


def media(payload: bytes = b"\xff" * 160) -> str:
    return encode_event(
        Media(
            payload,
            track="inbound",
            timestamp=1_705_312_200_000,
            chunk=1,
            stream_id=STREAM_ID,
            sequence_number=2,
        )
    )


def key(digit: str) -> str:
    return encode_event(
        Dtmf(
            digit,
            track="inbound",
            timestamp=1_705_312_200_000,
            stream_id=STREAM_ID,
            sequence_number=3,
        )
    )


def test_messages_in_both_directions_are_lines() -> None:
    traced = Traced()
    traced.trace.received(key("5"))
    traced.trace.sent(encode_command(SetCheckpoint(STREAM_ID, "heard-1")))
    traced.trace.received("nonsense")
    received, sent, wrong = traced.lines()
    assert (received["at"], received["what"], received["event"]) == (1.0, "received", "Dtmf")
    assert (sent["what"], sent["command"], sent["name"]) == ("sent", "SetCheckpoint", "heard-1")
    assert (wrong["event"], wrong["problem"]) == ("?", "not_json")


def test_media_are_summed_up_once_a_second() -> None:
    traced = Traced()
    for _ in range(50):
        traced.trace.received(media())
        traced.now += 0.021
    line, loudness = traced.lines()
    assert loudness["what"] == "loudness"
    assert line == {
        "at": pytest.approx(2.008, abs=0.03),
        "what": "media",
        "received": pytest.approx(48, abs=1),
        "sent": 0,
        "unheard": 0.5,
        "loop_lag": 0.03,
    }


def test_without_audio_a_line_says_how_loud_each_side_is() -> None:
    traced = Traced()
    loud = MULAW_8K.encode(np.full(160, 16_384, np.int16))
    for _ in range(3):
        traced.now += 0.02
        traced.trace.received(media(loud))
    traced.trace.sent(encode_command(PlayAudio(loud + b"\xff" * 240, MULAW_8K)))
    traced.trace.sent(encode_command(ClearAudio(STREAM_ID)))
    _, loudness, cut = traced.lines()
    ((at, *caller),) = loudness["caller"]
    assert at == 1.0
    assert caller == pytest.approx([0.5] * 6, abs=0.02)
    ((heard_at, *agent),) = loudness["agent"]
    assert heard_at == 1.55
    assert agent == pytest.approx([0.5, 0.5, 0, 0, 0], abs=0.02)
    assert cut["what"] == "audio cut"
    traced.trace.received(media(loud))
    traced.trace.decided(STREAM_ENDED, reason="stop")
    assert [line["what"] for line in traced.lines()[3:]] == ["loudness", STREAM_ENDED]


def test_before_the_format_is_known_nothing_is_loud() -> None:
    session: Any = SimpleNamespace(counters=StreamCounters(), started=None)
    trace = CallTrace(session, clock=lambda: 101.0, began=100.0)
    trace.received(media())
    trace.sent(encode_command(PlayAudio(b"\x02" * 400, MULAW_8K)))
    trace.audio = True
    trace.sent(encode_command(PlayAudio(b"\x02" * 400, MULAW_8K)))
    taken = trace.take(0, 10**9, audio=True)
    assert [json.loads(line).get("heard_at") for line in taken.lines] == [1.0]


def test_audio_has_its_payload_and_the_time_at_which_it_is_heard() -> None:
    traced = Traced()
    traced.trace.audio = True
    traced.trace.received(media(b"\x01" * 160))
    traced.trace.sent(encode_command(PlayAudio(b"\x02" * 400, MULAW_8K)))
    traced.trace.sent(encode_command(ClearAudio(STREAM_ID)))
    received, sent, clear, cut = traced.lines(audio=True)
    assert base64.b64decode(received["payload"]) == b"\x01" * 160
    assert (received["track"], received["timestamp"]) == ("inbound", 1_705_312_200_000)
    assert base64.b64decode(sent["payload"]) == b"\x02" * 400
    assert sent["heard_at"] == 1.55
    assert clear["command"] == "ClearAudio"
    assert (cut["what"], cut["heard_at"]) == ("audio cut", 1.25)


def test_audio_is_for_those_who_ask_for_it_and_its_loudness_for_the_others() -> None:
    traced = Traced()
    traced.trace.received(media(b"\x80" * 160))
    traced.trace.audio = True
    traced.trace.received(media(b"\x80" * 160))
    traced.trace.decided(STREAM_ENDED)
    heard = [line["what"] for line in traced.lines(audio=True)]
    assert heard == ["loudness", "audio received", STREAM_ENDED]
    seen = [line["what"] for line in traced.lines()]
    assert seen == ["loudness", "loudness", STREAM_ENDED]
    after, numbers = 0, []
    while after < traced.trace.next:
        after = traced.trace.take(after, 1).next
        numbers.append(after)
    assert numbers == [2, 3, 4]


def test_details_that_are_called_like_a_line_s_own_change_neither() -> None:
    traced = Traced()
    traced.trace.decided("looks up", at=90_000, order=7, what="other")
    assert traced.lines() == [{"at": 1.0, "what": "looks up", "order": 7}]


def test_what_the_counters_say_is_a_line() -> None:
    traced = Traced()
    traced.counters.underruns, traced.counters.underrun_seconds = 2, 0.4
    traced.trace.received("{}")
    traced.trace.received("{}")
    found = [line for line in traced.lines() if line["what"] == "underrun"]
    assert [(line["times"], line["seconds"]) for line in found] == [(2, 0.4)]


@pytest.mark.parametrize("personal_data", [True, False])
def test_words_and_keys_are_shown_with_personal_data_alone(personal_data: bool) -> None:
    traced = Traced(personal_data=personal_data)
    start = Start(
        STREAM_ID,
        STREAM_ID,
        "MA",
        ("inbound",),
        MULAW_8K,
        extra_headers={"card": "4111"},
        sequence_number=1,
    )
    traced.trace.received(encode_event(start))
    traced.trace.received(key("7"))
    traced.trace.sent(encode_command(SendDtmf("77")))
    traced.trace.decided("understood", words="my number is")
    shown = json.dumps(traced.lines())
    for private in ('"4111"', '"7"', '"77"', "my number is"):
        assert (private in shown) is personal_data
    assert "understood" in shown


@pytest.mark.parametrize("personal_data", [True, False])
def test_what_a_malformed_message_said_is_personal_data(personal_data: bool) -> None:
    traced = Traced(personal_data=personal_data)
    with pytest.raises(ProtocolError) as raised:
        decode_event(key("7").replace('"7"', '"4111 1111"'))
    traced.trace.decided("a malformed message was ignored", reason=str(raised.value))
    traced.trace.decided(STREAM_ENDED, reason=str(raised.value))
    assert ("4111" in json.dumps(traced.lines())) is personal_data
    assert "DTMF digits are" in traced.lines()[-1]["reason"]


def test_long_texts_are_cut_and_odd_ones_harm_no_call() -> None:
    traced = Traced(personal_data=True)
    traced.trace.decided("thinks", words="a" * 9_000, of=["b" * 9_000, None, "half of \ud83d"])
    (line,) = traced.lines()
    assert (line["words"], line["of"]) == ("a" * 2_000, ["b" * 2_000, None, "half of \ud83d"])


def test_the_end_of_the_stream_is_the_last_line() -> None:
    traced = Traced()
    told: list[bool] = []
    traced.trace.changed.append(lambda: told.append(traced.trace.ended))
    traced.trace.decided("interrupt", unheard=0.5)
    traced.trace.decided(STREAM_ENDED, reason="stop")
    assert told == [False, True]
    assert traced.lines()[-1]["reason"] == "stop"


def test_nothing_follows_the_end_of_the_stream() -> None:
    traced = Traced()
    traced.trace.decided(STREAM_ENDED, reason="stop")
    traced.trace.decided("turn", number=1)
    traced.trace.received(key("5"))
    traced.trace.sent(encode_command(SetCheckpoint(STREAM_ID, "heard-1")))
    assert traced.trace.ended
    assert [line["what"] for line in traced.lines()] == [STREAM_ENDED]


@given(reads=st.lists(st.integers(0, 40), max_size=10), longest=st.integers(1, 30))
@settings(max_examples=30)
def test_a_reader_knows_each_line_or_that_it_was_missed(reads: list[int], longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call_trace, "MOST_LINES", longest)
        trace = Traced().trace
        known = after = 0
        for written in reads:
            for _ in range(written):
                trace.decided("something")
            lines, missed, after = trace.take(after, 100)
            known += len(lines) + missed
            assert after == known <= trace.next
        while after < trace.next:
            after = trace.take(after, 100).next
        assert after == trace.next == sum(reads)


def test_lines_take_a_bounded_amount_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_trace, "MOST_BYTES", 10_000)
    trace = Traced(personal_data=True).trace
    for _ in range(50):
        trace.decided("understood", words="x" * 100_000)
    lines, missed, _ = trace.take(0, 10**9)
    assert sum(map(len, lines)) <= 10_000
    assert missed == 50 - len(lines)
