from collections import Counter
from typing import Any

import pytest

from mediaserver.plivo.callbacks import StreamStatusRequest
from mediaserver.server import statuses as statuses_module
from mediaserver.server.statuses import EARLY_EACH, Statuses


def status(kind: Any = "played", stream_id: Any = "s1", **more: Any) -> StreamStatusRequest:
    return StreamStatusRequest(kind=kind, call_id="c1", stream_id=stream_id, **more)


def make() -> tuple[Statuses, Counter[Any]]:
    counts: Counter[Any] = Counter()
    return Statuses(counts, clock=lambda: 0.0), counts


def test_a_callback_that_comes_again_is_no_news() -> None:
    statuses, counts = make()
    assert statuses.take(status(name="a"))
    assert not statuses.take(status(name="a", error="worded otherwise"))
    assert counts == {"played": 1}


def test_other_checkpoints_streams_and_events_are_news() -> None:
    statuses, counts = make()
    assert statuses.take(status(name="a"))
    assert statuses.take(status(name="b"))
    assert statuses.take(status(name="a", stream_id="s2"))
    assert statuses.take(status("stopped"))
    assert counts == {"played": 3, "stopped": 1}


def test_callbacks_that_come_before_their_stream_wait_for_it() -> None:
    statuses, _ = make()
    early = status("connected")
    statuses.keep(early)
    assert statuses.kept("s2") == []
    assert statuses.kept("s1") == [early]
    assert statuses.kept("s1") == []


def test_few_wait_for_one_stream() -> None:
    statuses, _ = make()
    for number in range(EARLY_EACH + 1):
        statuses.keep(status(name=str(number)))
    assert len(statuses.kept("s1")) == EARLY_EACH


def test_many_that_wait_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statuses_module, "_EARLY_BYTES", 20_000)
    statuses, _ = make()
    for number in range(20):
        fields = {
            "CallUUID": "c",
            "StreamID": f"s{number}",
            "Event": "StartStream",
            "x": "x" * 2_500,
        }
        statuses.keep(StreamStatusRequest.parse(fields))
    kept = [bool(statuses.kept(f"s{number}")) for number in range(20)]
    assert 3 <= sum(kept) <= 8
    assert kept == sorted(kept)


def test_a_large_flood_of_others_does_not_make_a_callback_news_again() -> None:
    statuses, _ = make()
    statuses.take(status(name="a"))
    for number in range(40_000):
        statuses.take(status(name=f"{number}"))
    assert not statuses.take(status(name="a"))
