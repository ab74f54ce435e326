import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from mediaserver.server.framing import LONGEST_HEADER, MASKED_16, TEXT_FINAL, frame_end


SIZES = st.one_of(
    st.integers(0, 200), st.sampled_from([125, 126, 127, 65_535, 65_536, 65_537, 70_000])
)


def length_known_at(payload_size: int) -> int:
    """Bytes of a header up to the end of its length."""
    return 2 if payload_size < 126 else 4 if payload_size < 65_536 else 10


@given(
    opcode=st.sampled_from(Opcode),
    fin=st.booleans(),
    reserved=st.integers(0, 7),
    size=SIZES,
    masked=st.booleans(),
    before=st.binary(max_size=20),
    cut=st.integers(0, 20),
)
@example(Opcode.TEXT, True, 0, 65_536, True, b"", 10)
def test_the_end_is_known_as_soon_as_the_length_is(
    opcode: Opcode, fin: bool, reserved: int, size: int, masked: bool, before: bytes, cut: int
) -> None:
    if opcode >= 8:
        size, fin = min(size, 125), True  # websockets makes no others
    frame = Frame(opcode, bytes(size), fin).serialize(mask=masked)
    frame = bytes([frame[0] | reserved << 4]) + frame[1:]
    received = before + frame[:cut]
    if min(cut, len(frame)) < length_known_at(size):
        assert frame_end(received, len(before)) is None
    else:
        assert frame_end(received, len(before)) == len(before) + len(frame)


@given(size=SIZES, masked=st.booleans(), after=st.binary(max_size=50))
def test_what_follows_a_frame_does_not_move_its_end(size: int, masked: bool, after: bytes) -> None:
    frame = Frame(Opcode.TEXT, bytes(size)).serialize(mask=masked)
    assert frame_end(frame + after, 0) == len(frame)


@pytest.mark.parametrize("length", [2**31, 2**63 - 1, 2**64 - 1])
def test_the_end_of_an_absurd_frame_is_known_too(length: int) -> None:
    header = bytes([TEXT_FINAL, 0xFF]) + length.to_bytes(8, "big")
    assert frame_end(header, 0) == LONGEST_HEADER + length


def test_a_short_length_may_be_written_long() -> None:
    assert frame_end(b"\x81\xfe\x00\x05", 0) == 4 + 4 + 5
    assert frame_end(b"\x81\xff" + (5).to_bytes(8, "big"), 0) == LONGEST_HEADER + 5


@pytest.mark.parametrize("size", [126, 65_535])
def test_the_bytes_that_the_fast_path_looks_for_are_those_of_a_media_frame(size: int) -> None:
    frame = Frame(Opcode.TEXT, bytes(size)).serialize(mask=True)
    assert (frame[0], frame[1]) == (TEXT_FINAL, MASKED_16)
