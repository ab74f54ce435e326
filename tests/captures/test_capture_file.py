from pathlib import Path

import pytest

from mediaserver.captures import capture_file
from mediaserver.captures.capture_file import open_capture, read_capture, read_capture_head
from mediaserver.captures.capture_lines import (
    CAPTURE_ENDED,
    CaptureError,
    CaptureHead,
    encode_head,
    encode_line,
)
from mediaserver.captures.compression import ZstdCompressor


HEAD = encode_head(CaptureHead(call="call-1"))
ONE = encode_line(1.0, "<", b"one")
END = encode_line(2.0, "!", b'{"what":"' + CAPTURE_ENDED.encode() + b'"}')


def frame(text: bytes) -> bytes:
    return ZstdCompressor().compress(text, ZstdCompressor.FLUSH_FRAME)


def read(folder: Path, data: bytes) -> tuple[list[bytes], bool]:
    path = folder / "call.wire.zst"
    path.write_bytes(data)
    capture = read_capture(path)
    return [line.message for line in capture.lines[:1]], capture.whole


def test_frames_are_read_one_after_the_other(tmp_path: Path) -> None:
    assert read(tmp_path, frame(HEAD + ONE) + frame(END)) == ([b"one"], True)


def test_text_that_is_not_compressed_is_read_as_well(tmp_path: Path) -> None:
    assert read(tmp_path, HEAD + ONE + END) == ([b"one"], True)


@pytest.mark.parametrize("rest", [frame(END)[:-3], frame(END)[:2], b"garbage"])
def test_what_comes_before_a_damaged_frame_is_read(tmp_path: Path, rest: bytes) -> None:
    assert read(tmp_path, frame(HEAD + ONE) + rest) == ([b"one"], False)


def test_a_damaged_first_frame_is_an_error(tmp_path: Path) -> None:
    damaged = bytearray(frame(HEAD + ONE))
    damaged[4] ^= 0xFF
    with pytest.raises(CaptureError, match=r"call\.wire\.zst: .*damaged"):
        read(tmp_path, bytes(damaged))


def test_the_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"call\.wire\.zst: not a capture"):
        read(tmp_path, b"RIFF....WAVE")


def test_a_text_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_file, "MOST_BYTES", 10_000)
    with pytest.raises(CaptureError, match="more than 10,000 bytes"):
        read(tmp_path, frame(HEAD + bytes(20_000)))


@pytest.mark.parametrize("data", [b"", frame(HEAD)[:6], frame(HEAD)[:-2]])
def test_a_capture_that_was_only_begun_is_told_from_other_files(
    tmp_path: Path, data: bytes
) -> None:
    with pytest.raises(CaptureError, match="ends within its first line"):
        read(tmp_path, data)


def test_frames_across_the_pieces_of_a_file_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 7, len(frame(HEAD + ONE))):
        monkeypatch.setattr(capture_file, "_CHUNK", size)
        assert read(tmp_path, frame(HEAD + ONE) + frame(END)) == ([b"one"], True)


@pytest.mark.parametrize("data", [HEAD + ONE, frame(HEAD + ONE), frame(HEAD + ONE) + b"damaged"])
def test_the_first_line_is_read_alone(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "call.wire.zst"
    path.write_bytes(data)
    assert read_capture_head(path) == CaptureHead(call="call-1")


@pytest.mark.parametrize("data", [b"RIFF....WAVE", frame(HEAD)[:4] + b"\xff" * 9, b""])
def test_what_has_no_first_line_is_an_error_that_names_the_file(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "call.wire.zst"
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=r"call\.wire\.zst: "):
        read_capture_head(path)


@pytest.mark.parametrize("size", [1, 7, 65_536])
@pytest.mark.parametrize(
    "data",
    [
        HEAD + ONE + END,
        HEAD,
        frame(HEAD + ONE) + frame(END),
        frame(HEAD + ONE * 1_000) + frame(ONE * 1_000 + END),
        frame(HEAD + ONE) + frame(END)[:-3],
        frame(HEAD + ONE + END[:-5]),
    ],
)
def test_read_line_by_line_a_capture_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, size: int
) -> None:
    path = tmp_path / "call.wire.zst"
    path.write_bytes(data)
    whole = read_capture(path)
    monkeypatch.setattr(capture_file, "_CHUNK", max(4, size))
    monkeypatch.setattr(capture_file, "_PIECE", size)
    head, lines = open_capture(path)
    assert (head, list(lines)) == (whole.head, whole.lines)


def test_lines_are_read_up_to_where_a_capture_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "call.wire.zst"
    for rest, error in [(b"garbage", "compression is damaged"), (frame(b"1.0\n"), "line 3")]:
        path.write_bytes(frame(HEAD + ONE) + rest)
        _, lines = open_capture(path)
        assert next(lines).message == b"one"
        with pytest.raises(CaptureError, match=error):
            next(lines)


def test_a_line_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_file, "_LONGEST_LINE", 1_000)
    monkeypatch.setattr(capture_file, "_PIECE", 100)
    path = tmp_path / "call.wire.zst"
    path.write_bytes(frame(HEAD + ONE + b"2.0 < " + bytes(20_000)))
    _, lines = open_capture(path)
    assert next(lines).message == b"one"
    with pytest.raises(CaptureError, match="line 3 of the capture has more than 1,000 bytes"):
        next(lines)
