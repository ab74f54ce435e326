from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.services.event_stream import EventStream


def events(*received: Any) -> list[bytes]:
    stream = EventStream()
    return [event for piece in received for event in stream.feed(piece)] + stream.end()


def test_an_event_ends_with_a_blank_line() -> None:
    stream = EventStream()
    assert stream.feed(b"data: one\n") == []
    assert stream.feed(b"\ndata: two") == [b"one"]
    assert stream.feed(b"\n\n") == [b"two"]


def test_lines_may_end_with_cr_lf() -> None:
    assert events(b"data: one\r\n\r\ndata: two\r\n\r\n") == [b"one", b"two"]


def test_several_lines_of_data_are_one_event() -> None:
    assert events(b"data: one\ndata: more\n\n") == [b"one\nmore"]


def test_one_blank_after_the_colon_is_not_data() -> None:
    assert events(b"data:one\n\ndata:  two\n\n") == [b"one", b" two"]


def test_comments_and_other_fields_are_left_out() -> None:
    assert events(b": still working\n\nevent: x\nid: 7\ndata: one\n\n: bye\n\n") == [b"one"]


def test_an_event_that_is_cut_off_after_its_line_counts() -> None:
    assert events(b"data: [DONE]") == [b"[DONE]"]


@given(
    st.lists(st.binary(min_size=1).filter(lambda data: not set(data) & set(b"\r\n")), max_size=5),
    st.sampled_from([b"\n", b"\r\n"]),
    st.data(),
)
def test_where_the_bytes_are_cut_does_not_matter(
    payloads: list[bytes], newline: bytes, data: st.DataObject
) -> None:
    whole = b"".join(b"data: " + payload + newline * 2 for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert events(*pieces) == payloads
