from pathlib import Path

import pytest

from audiocodecs import L16_16K, MULAW_8K
from mediaserver.agents import Echo
from mediaserver.captures.capture_lines import Capture, CapturedLine, CaptureError, CaptureHead
from mediaserver.protocol import Start, decode_event
from mediaserver.replay.captured_call import CapturedCall
from tests.replay.captured import captured_call, two_seconds


START = CapturedLine(
    0.5, "<", b'{"event":"start","start":{"callId":"c","streamId":"s","accountId":"a"}}'
)


def read(*lines: CapturedLine, **head: object) -> CapturedCall:
    return CapturedCall.read(Capture(CaptureHead(settings=dict(head)), list(lines)))


def decision(at: float, text: bytes) -> CapturedLine:
    return CapturedLine(at, "!", text)


def test_what_the_carrier_did_by_itself_is_told_from_its_answers() -> None:
    key = CapturedLine(1.0, "<", b'{"event":"dtmf","dtmf":{"digit":"5"}}')
    answers = [
        CapturedLine(1.5, "<", b'{"event":"playedStream","name":"end","streamId":"s"}'),
        CapturedLine(1.6, "<", b'{"event":"clearedAudio","streamId":"s"}'),
    ]
    nonsense = CapturedLine(1.7, "<", b"nonsense")
    call = read(START, key, *answers, nonsense)
    assert [(each.at, each.message) for each in call.sent] == [
        (0.5, START.message),
        (1.0, key.message),
        (1.7, b"nonsense"),
    ]


def test_a_call_is_timed_from_the_start_of_its_stream(tmp_path: Path) -> None:
    call = captured_call(tmp_path, Echo, two_seconds, format=L16_16K)
    assert call.format == L16_16K
    assert call.seconds == pytest.approx(2.0, abs=0.01)
    assert len(call.caller_frames) == 100
    assert isinstance(decode_event(call.sent[0].message), Start)
    assert call.commands


def test_a_format_that_the_start_does_not_name_is_the_default_of_then() -> None:
    assert read(START, default_format="audio/x-l16;rate=16000").format == L16_16K
    assert read(START).format == MULAW_8K


@pytest.mark.parametrize(
    ("reason", "by_server"),
    [
        ("closed by the handler", True),
        ("the handler returned", True),
        ("hung up by an operator", True),
        ("stop", False),
        ("the connection was lost", False),
    ],
)
def test_the_reason_tells_who_ended_the_call(reason: str, by_server: bool) -> None:
    end = decision(3.0, b'{"what":"stream ended","reason":"%s"}' % reason.encode())
    call = read(START, end, decision(4.0, b'{"what":"capture ended"}'))
    assert (call.ended, call.ended_by_server, call.end_reason) == (3.0, by_server, reason)


def test_a_capture_without_an_end_ends_with_its_last_line() -> None:
    call = read(START, CapturedLine(2.0, "<", b"nonsense"))
    assert (call.ended, call.ended_by_server) == (2.0, False)


def test_losses_of_the_connection_are_known() -> None:
    call = read(
        START,
        decision(1.0, b'{"what":"connection lost"}'),
        decision(1.4, b'{"what":"reconnected","seconds":0.4}'),
        decision(2.0, b'{"what":"connection lost"}'),
    )
    assert call.losses == [(1.0, 1.4), (2.0, None)]


def test_a_decision_that_cannot_be_read_is_kept_without_its_name() -> None:
    for message in (b"redacted", b'{"what":"a","b":' + b"[" * 10_000):
        assert [each.what for each in read(START, decision(1.0, message)).decisions] == ["?"]


def test_a_call_that_never_started_cannot_be_replayed() -> None:
    with pytest.raises(CaptureError, match="never started"):
        read(CapturedLine(0.0, "<", b"nonsense"))


def test_a_setting_that_was_not_captured_is_the_default() -> None:
    assert read(START, lead_seconds=1.0).settings().lead_seconds == 1.0
    assert read(START).settings().lead_seconds == 0.6


def test_the_answer_webhook_is_known_if_it_was_captured() -> None:
    head = CaptureHead(answer={"caller": "+1415", "direction": "inbound", "unknown": 5})
    call = CapturedCall.read(Capture(head, [START]))
    assert call.answer is not None
    assert (call.answer.call_id, call.answer.direction) == ("c", "inbound")
    assert read(START).answer is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default_format", "audio/x-opus"),
        ("default_format", 7),
        ("lead_seconds", "long"),
        ("lead_seconds", -5),
        ("inbox_overflow", "burst"),
        ("reconnect_playback", []),
    ],
)
def test_a_setting_that_cannot_be_is_an_error(name: str, value: object) -> None:
    with pytest.raises(CaptureError, match=f"line 1 .*{name}"):
        read(START, **{name: value})


def test_settings_that_do_not_decide_when_audio_is_sent_are_not_those_of_then() -> None:
    assert read(START, secret="x", capture="/elsewhere").sending == {}


@pytest.mark.parametrize("answer", [{"caller": 7}, {"headers": 7}, {"fields": ["a"]}])
def test_an_answer_that_cannot_be_is_an_error(answer: dict[str, object]) -> None:
    with pytest.raises(CaptureError, match=r"line 1 .*answer"):
        CapturedCall.read(Capture(CaptureHead(answer=answer), [START]))


def test_a_stream_does_not_end_before_it_starts() -> None:
    assert read(START, decision(0.1, b'{"what":"stream ended"}')).seconds == 0
