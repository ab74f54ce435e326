import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, MULAW_8K
from mediaserver.call import Frame, WholeSamples


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_however_it_is_cut_all_whole_samples_come(audio: bytes, cuts: list[int]) -> None:
    whole = WholeSamples()
    edges = [0, *sorted(min(cut, len(audio)) for cut in cuts), len(audio)]
    taken = [whole.take(audio[a:b], L16_8K) for a, b in itertools.pairwise(edges)]
    assert all(len(piece) % 2 == 0 for piece in taken)
    assert b"".join(taken) == audio[: len(audio) // 2 * 2]
    assert whole.waits == bool(len(audio) % 2)


def test_a_format_of_one_byte_a_sample_is_always_whole() -> None:
    piece = b"\1\2\3"
    assert WholeSamples().take(piece, MULAW_8K) is piece


@pytest.mark.parametrize("format", [L16_16K, MULAW_8K])
def test_a_piece_of_another_format_does_not_continue_the_last(format: object) -> None:
    whole = WholeSamples()
    whole.take(b"\1", L16_8K)
    assert whole.take(b"\2\3", format) == b"\2\3"  # type: ignore[arg-type]
    assert not whole.waits


def test_another_run_begins_whole() -> None:
    whole = WholeSamples()
    whole.take(b"\1", L16_8K)
    whole.forget()
    assert whole.take(b"\2\3", L16_8K) == b"\2\3"


def test_a_frame_keeps_what_it_is() -> None:
    whole = WholeSamples()
    first = whole.frame(Frame(b"\1\2\3", L16_8K, "outbound", 20, 1))
    assert (first.payload, first.format, first.track) == (b"\1\2", L16_8K, "outbound")
    assert (first.timestamp, first.chunk) == (20, 1)
    assert whole.frame(Frame(b"\4", L16_8K)).payload == b"\3\4"
    last = Frame(b"\5\6", L16_8K)
    assert whole.frame(last) is last
