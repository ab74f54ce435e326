import json
from typing import Any

import pytest

from audiocodecs import MULAW_8K
from mediaserver.captures.capture_lines import CaptureHead, decode_capture
from mediaserver.captures.kept_wire import KeptWire
from mediaserver.captures.wire_redaction import WireRedaction


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def kept(clock: Any, *names: Any) -> KeptWire:
    return KeptWire(CaptureHead(call="call-1"), clock, WireRedaction(names, MULAW_8K))


def lines(wire: KeptWire) -> list[tuple[float, str, bytes]]:
    capture = decode_capture(wire.first_line() + wire.lines(wire.take()))
    return [(line.at, line.side, line.message) for line in capture.lines]


def test_messages_and_decisions_are_kept_with_their_times(clock: Clock) -> None:
    wire = kept(clock)
    clock.now += 0.5
    wire.received('{"event":"stop"}')
    wire.received(bytearray(b"\xff"))
    clock.now += 0.25
    wire.sent(b"{}")
    wire.decided("barge-in", confirmed=True)
    assert lines(wire) == [
        (0.5, "<", b'{"event":"stop"}'),
        (0.5, "<", b"\xff"),
        (0.75, ">", b"{}"),
        (0.75, "!", b'{"what":"barge-in","confirmed":true}'),
    ]
    assert lines(wire) == []


@pytest.mark.parametrize("message", [b"{\n}", b"~e30=", b"one\ntwo\r\n", b"~", b"\r", b'{"a":"~"}'])
def test_a_message_of_several_lines_or_like_base64_is_kept_as_it_was(
    clock: Clock, message: bytes
) -> None:
    wire = kept(clock)
    wire.received(message)
    wire.sent(b"{}")
    assert lines(wire) == [(0.0, "<", message), (0.0, ">", b"{}")]


@pytest.mark.parametrize("names", [(), ("words",)])
def test_binary_messages_are_kept_as_such(clock: Clock, names: Any) -> None:
    wire = kept(clock, *names)
    message = b'{"event":"stop"}'
    wire.received_binary(message)
    wire.received(message)
    wire.full = True
    wire.received_binary(b"lost")
    capture = decode_capture(wire.first_line() + wire.lines(wire.take()))
    assert [(line.message, line.binary) for line in capture.lines] == [
        (message, True),
        (message, False),
    ]
    assert b'"count":1' in lines(wire)[0][2]


def test_what_must_not_be_kept_is_taken_out(clock: Clock) -> None:
    wire = kept(clock, "words")
    wire.decided("understood", words="my number is 17")
    assert json.loads(lines(wire)[0][2]) == {"what": "understood", "words": "…"}


def test_the_id_of_a_call_may_become_known_later(clock: Clock) -> None:
    wire = kept(clock)
    wire.name("call-2")
    assert decode_capture(wire.first_line()).head.call == "call-2"


def test_nothing_follows_the_end(clock: Clock) -> None:
    wire = kept(clock)
    wire.end("stop")
    wire.decided("turn")
    capture = decode_capture(wire.first_line() + wire.lines(wire.take()))
    assert capture.whole
    assert len(capture.lines) == 1


def test_a_capture_that_ends_before_its_call_says_so(clock: Clock) -> None:
    wire = kept(clock)
    clock.now += 0.5
    capture = decode_capture(wire.first_line() + wire.last_line())
    assert (capture.full, capture.whole) == (True, False)
    assert [line.at for line in capture.lines] == [0.5]


def test_messages_are_counted_while_too_many_wait(clock: Clock) -> None:
    wire = kept(clock)
    wire.sent(b"one")
    assert 0 < wire.waiting < 1_000
    wire.full = True
    wire.sent(b"two")
    wire.sent(b"three")
    assert [message for _, _, message in lines(wire)] == [b"one"]
    wire.sent(b"four")
    assert [message for _, _, message in lines(wire)] == [
        b'{"what":"messages lost","count":2}',
        b"four",
    ]


def test_a_call_that_ends_while_too_many_messages_wait_has_its_end(clock: Clock) -> None:
    wire = kept(clock)
    wire.sent(b"one")
    wire.full = True
    wire.sent(b"two")
    wire.end("stop")
    wire.sent(b"three")
    capture = decode_capture(wire.first_line() + wire.lines(wire.take()))
    assert [line.message for line in capture.lines[:2]] == [
        b"one",
        b'{"what":"messages lost","count":1}',
    ]
    assert capture.whole
    assert wire.take() == []


def test_text_that_is_no_unicode_harms_no_call(clock: Clock) -> None:
    wire = kept(clock)
    wire.decided("understood", words="\ud800", what_else=object)
    assert json.loads(lines(wire)[0][2])["words"] == "\ud800"
