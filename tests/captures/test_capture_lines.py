from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.captures.capture_lines import (
    CAPTURE_ENDED,
    SIDES,
    CapturedLine,
    CaptureError,
    CaptureHead,
    decode_capture,
    encode_head,
    encode_line,
)


HEAD = CaptureHead(call="call-1", handler="Echo", settings={"lead_seconds": 0.6})
END = encode_line(9.0, "!", b'{"what":"' + CAPTURE_ENDED.encode() + b'"}')


@given(st.sampled_from(SIDES), st.floats(0, 1e5), st.binary(max_size=60))
def test_every_message_comes_back_as_it_was(side: Any, at: float, message: bytes) -> None:
    capture = decode_capture(encode_head(HEAD) + encode_line(at, side, message))
    assert capture.head == HEAD
    assert capture.lines == [CapturedLine(float(f"{at:.6f}"), side, message)]


def test_a_line_is_the_message_as_it_was_on_the_wire() -> None:
    assert encode_line(1.5, "<", b'{"event":"stop"}') == b'1.500000 < {"event":"stop"}\n'


def test_a_capture_is_whole_if_it_was_finished() -> None:
    lines = encode_head(HEAD) + encode_line(1.0, "<", b"{}")
    assert not decode_capture(lines).whole
    assert decode_capture(lines + END).whole


@pytest.mark.parametrize("message", [b"{", b'{"what":"\xff"}', b"[" * 10_000])
def test_a_last_decision_that_cannot_be_read_ends_nothing(message: bytes) -> None:
    capture = decode_capture(encode_head(HEAD) + encode_line(1.0, "!", message))
    assert not capture.whole


def test_a_line_that_was_cut_off_is_left_out() -> None:
    capture = decode_capture(encode_head(HEAD) + encode_line(1.0, "<", b"{}") + END[:-5])
    assert [line.message for line in capture.lines] == [b"{}"]
    assert not capture.whole
    assert decode_capture(encode_head(HEAD) + b"1.0 <").lines == []


DEEP = b'{"capture":1,"answer":' + b"[" * 10_000 + b"\n"


@pytest.mark.parametrize("text", [b"", b"hello", b"[]\n", b'{"calls":1}\n', b"\xff\xfe\n", DEEP])
def test_something_else_is_no_capture(text: bytes) -> None:
    with pytest.raises(CaptureError, match="not a capture"):
        decode_capture(text)


@pytest.mark.parametrize("version", [2, 0, -1])
def test_an_unknown_version_is_refused(version: int) -> None:
    with pytest.raises(CaptureError, match=rf"version {version}, of which .* up to 1"):
        decode_capture(b'{"capture":%d}\n' % version)


def test_an_error_in_the_first_line_says_what_is_wrong() -> None:
    with pytest.raises(CaptureError, match=r"line 1 .*str.*caller"):
        decode_capture(b'{"capture":1,"caller":5}\n')


@pytest.mark.parametrize(
    "line",
    [
        b"x < {}",
        b"1.0 ? {}",
        b"-1 < {}",
        b"nan < {}",
        b"1e6 < {}",
        b"1.0",
        b"",
        b"1.0 < ~no base64",
    ],
)
def test_an_error_in_a_line_says_which(line: bytes) -> None:
    with pytest.raises(CaptureError, match="line 3"):
        decode_capture(encode_head(HEAD) + encode_line(0, "<", b"{}") + line + b"\n")
