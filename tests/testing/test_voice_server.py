import pytest

from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.voice_server import ServedWord, decode_closed, pieces


def test_odd_pieces_end_within_a_sample() -> None:
    audio = bytes(range(12))
    assert pieces(audio, odd=False) == [audio]
    first, second = pieces(audio, odd=True)
    assert len(first) % 2 == 1
    assert first + second == audio


def test_what_is_no_json_or_of_another_type_is_refused() -> None:
    assert decode_closed("[1, 2]", list[int]) == [1, 2]
    with pytest.raises(RefusedError, match="not JSON"):
        decode_closed("[", list[int])
    with pytest.raises(RefusedError, match="invalid message: Expected `int`"):
        decode_closed('["one"]', list[int])
    assert ServedWord("Yes.", b"", 0.0, 0.24).text == "Yes."
