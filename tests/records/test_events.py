from mediaserver.records.events import RecordEvent, decode_events, encode_events
from tests.records.conftest import began, over, turn


def test_events_survive_their_lines() -> None:
    events: list[RecordEvent] = [
        began(),
        turn(error="a\nb", caller="¿qué?"),
        over(counts={"underruns": 2}),
    ]
    lines = encode_events(events)
    assert lines.count(b"\n") == 3
    assert decode_events(lines) == (events, 0)


def test_lines_that_cannot_be_read_are_counted_and_left_out() -> None:
    lines = b'{"type":"began"}\nnonsense\n' + encode_events([turn()]) + b'{"type":"over","id":"r'
    assert decode_events(lines) == ([turn()], 3)
