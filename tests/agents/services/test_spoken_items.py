import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_24K, MULAW_8K
from mediaserver.agents.services.spoken_items import SpokenItems


@given(st.lists(st.binary(min_size=1, max_size=7), max_size=12))
def test_samples_stay_whole_wherever_the_audio_is_cut(pieces: list[bytes]) -> None:
    items = SpokenItems(L16_24K)
    taken = [items.take("one", piece) for piece in pieces]
    whole = b"".join(pieces)
    assert all(len(each) % 2 == 0 for each in taken)
    assert b"".join(taken) == whole[: len(whole) // 2 * 2]


def test_half_a_sample_is_not_carried_into_the_next_item() -> None:
    items = SpokenItems(L16_24K)
    assert items.take("one", b"\1\2\3") == b"\1\2"
    assert items.take("two", b"\4\5") == b"\4\5"


@pytest.mark.parametrize(
    ("seconds", "kept"), [(0.0, 0), (0.25, 250), (0.5, 500), (7.0, 500), (-1.0, 0)]
)
def test_an_unfinished_item_is_truncated_within_what_came(seconds: float, kept: int) -> None:
    items = SpokenItems(MULAW_8K)
    items.take("one", bytes(4000))
    assert items.truncate("one", seconds) == kept


def test_an_item_that_was_heard_to_its_end_is_not_truncated() -> None:
    items = SpokenItems(MULAW_8K)
    items.take("one", bytes(4000))
    items.complete("one")
    assert items.truncate("one", 0.5) is None


def test_an_item_is_truncated_once() -> None:
    items = SpokenItems(MULAW_8K)
    items.take("one", bytes(4000))
    assert items.truncate("one", 0.1) == 100
    assert items.truncate("one", 0.1) is None


def test_an_item_that_is_not_known_is_not_truncated() -> None:
    items = SpokenItems(MULAW_8K)
    items.complete("one")
    assert items.truncate("one", 0.1) is None


def test_only_the_latest_items_are_remembered() -> None:
    items = SpokenItems(MULAW_8K)
    for count in range(65):
        items.take(str(count), bytes(800))
        items.complete(str(count))
    assert items.truncate("0", 0.05) is None
    assert items.truncate("1", 0.05) == 50
