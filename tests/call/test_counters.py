from mediaserver.call import StreamCounters


def test_every_count_starts_at_zero() -> None:
    assert set(StreamCounters().as_dict().values()) == {0}


def test_add_adds_every_count() -> None:
    ones, totals = StreamCounters(), StreamCounters()
    for name in ones.as_dict():
        setattr(ones, name, 1)
    totals.add(ones)
    totals.add(ones)
    assert set(totals.as_dict().values()) == {2}


def test_add_leaves_the_other_alone() -> None:
    one, totals = StreamCounters(), StreamCounters()
    one.underruns = 1
    totals.add(one)
    totals.underruns += 5
    assert one.underruns == 1


def test_as_dict_names_what_was_counted() -> None:
    counters = StreamCounters()
    counters.audio_in = 0.02
    assert counters.as_dict()["audio_in"] == 0.02


def test_turns_are_added_only_where_a_call_had_some() -> None:
    silent, talking, totals = StreamCounters(), StreamCounters(), StreamCounters()
    talking.turns.turns = 3
    for one in (silent, talking, talking):
        totals.add(one)
    assert totals.turns.turns == 6
