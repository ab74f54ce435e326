from pathlib import Path

from mediaserver import Stream
from mediaserver.replay.noted_decisions import NotedDecisions
from mediaserver.testing import joined, run_virtual


def test_decisions_of_the_first_call_are_noted_in_the_form_of_a_capture() -> None:
    async def think(stream: Stream) -> None:
        stream.decided("thinks", place=Path("/here"), words=("a", "b"))

    async def call() -> NotedDecisions:
        async with joined(think, start=False) as line:
            noted = NotedDecisions(line.runtime.clock)
            line.runtime.observers.add(noted)
            await line.phone.start()
            await line.phone.wait_closed()
        return noted

    noted = run_virtual(call())
    first, *_, last = noted.decisions
    assert (first.at, first.what) == (0.0, "thinks")
    assert first.details == {"place": "/here", "words": ["a", "b"]}
    assert last.what == "stream ended"
    assert noted.end_reason == "the handler returned"
