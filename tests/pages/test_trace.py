"""What the page makes of the lines of a trace, in a real browser."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.pages.lines import ENDED, EPOCH, START, conversation, line, payload


@pytest.fixture
def traced(opened: Callable[..., Any]) -> Callable[..., Any]:
    """Return what gives lines to a trace, and returns what a script makes of it."""
    page = opened()

    def traced(lines: list[dict[str, Any]], script: str) -> Any:
        return page.evaluate(
            f"""async (lines) => {{
                const {{ Trace, heardLetters }} = await import(location.origin + "/trace.js");
                const trace = new Trace();
                for (const line of lines) trace.take(line);
                const heard = (now) => trace.said.filter((each) => each.side === "agent")
                    .map((reply) => reply.text.slice(0, heardLetters(reply, now)));
                return {script};
            }}""",
            lines,
        )

    return traced


def test_words_are_heard_when_their_audio_is(traced: Callable[..., Any]) -> None:
    lines = [
        START,
        line(1.0, "reply begins", turn=1),
        line(1.0, "says", words="One two. "),
        line(1.1, "says", words="Three."),
        line(1.2, "spoken", words="One", heard_in=0.3),
        line(1.2, "spoken", words=" two. ", heard_in=0.6),
        line(1.4, "spoken", words="Three.", heard_in=1.0),
    ]
    script = "[1.4, 1.5, 1.9, 2.5].map((now) => heard(now)[0])"
    assert traced(lines, script) == ["", "One", "One two.", "One two. Three."]


def test_a_pause_moves_the_words_that_were_not_heard(traced: Callable[..., Any]) -> None:
    lines = [
        START,
        line(1.0, "says", words="One two."),
        line(1.0, "spoken", words="One", heard_in=0.5),
        line(1.0, "spoken", words=" two.", heard_in=1.0),
        line(1.6, "audio cut", heard_at=1.6),
    ]
    assert traced(lines, "heard(9)") == ["One"]
    lines += [line(3.0, "audio sent", heard_at=3.1, payload=payload())]
    assert traced(lines, "[3.4, 3.51].map((now) => heard(now)[0])") == ["One", "One two."]


def test_where_nobody_may_hear_there_is_a_picture(traced: Callable[..., Any]) -> None:
    lines = [
        START,
        line(1.0, "says", words="One two."),
        line(1.0, "spoken", words="One two.", heard_in=0.5),
        line(1.2, "audio cut", heard_at=1.2),
        line(2.0, "loudness", caller=[[1.0, 0.5, 0.25]], agent=[[1.205, *[0.75] * 50]]),
        line(3.0, "loudness", caller=[["x", 1]], agent=[]),
    ]
    script = (
        "[trace.caller.peak(1, 1.01), trace.caller.peak(1.01, 1.02), trace.agent.peak(1.6, 1.7)]"
    )
    assert traced(lines, script) == [0.5, 0.25, 0.75]
    assert traced(lines, "[heard(1.4)[0], heard(1.6)[0], trace.happened.length]") == [
        "",
        "One two.",
        1,
    ]


def test_another_reading_tells_how_a_call_sounds(traced: Callable[..., Any]) -> None:
    loud = line(1.0, "loudness", caller=[], agent=[[0.5, *[0.25] * 20]])
    heard = [
        line(1.1, "audio sent", heard_at=1.2, payload=payload(0.5)),
        line(1.3, "audio cut", heard_at=1.3),
        line(1.31, "audio sent", heard_at=1.4, payload=payload(0.1)),
        line(1.4, "says", words="known already"),
    ]
    late = [line(1.3, "audio cut", heard_at=1.3), line(2, "loudness", caller=[], agent=[[1.3, 1]])]
    script = f"""(() => {{
        for (const line of {json.dumps(heard)}) trace.hear(line);
        for (const line of {json.dumps(late)}) trace.take(line);
        trace.hearNoMore();
        const again = {json.dumps(line(3.0, "loudness", caller=[], agent=[[2.5, 0.75]]))};
        trace.take(again);
        return [0.55, 1.25, 1.32, 1.45, 2.5].map((at) => trace.agent.peak(at, at + 0.01));
    }})()"""
    peaks = traced([START, loud], script)
    assert peaks == [0.25, pytest.approx(0.5, abs=0.05), 0, pytest.approx(0.5, abs=0.05), 0.75]


def test_after_a_turn_the_agents_memory_says_what_was_heard(traced: Callable[..., Any]) -> None:
    lines = [
        START,
        line(1.0, "reply begins", turn=1),
        line(1.0, "says", words="One  two three."),
        line(1.0, "spoken", words="One  two three.", heard_in=0.5),
        line(2.0, "turn", number=1, interrupted=True, error=None, words=["", "One two"]),
    ]
    assert traced(lines, "heard(9)") == ["One  two"]
    assert traced(lines, "trace.said[0].interrupted") is True


def test_words_that_the_agent_drops_are_taken_for_noise(traced: Callable[..., Any]) -> None:
    lines = [
        START,
        line(1.0, "caller speaks", over_agent=True),
        line(2.0, "understood", dropped=True, words="mhm"),
        line(3.0, "understood", dropped=False, words="Yes."),
    ]
    script = "trace.said.map(({ words, noise }) => [words, noise])"
    assert traced(lines, script) == [["mhm", True], ["Yes.", False]]


def test_a_result_is_that_of_the_use_of_a_tool_that_it_belongs_to(
    traced: Callable[..., Any],
) -> None:
    lines = [
        START,
        line(1.0, "tool begins", tool="in_stock", id="1", words="tea"),
        line(1.1, "tool begins", tool="in_stock", id="2", words="milk"),
        line(1.5, "tool ends", tool="in_stock", id="2", error=False, words="3"),
        line(2.0, "tool ends", tool="in_stock", id="1", error=False, words="12"),
    ]
    script = "trace.tools.map(({ asked, result, until }) => [asked, result, until])"
    assert traced(lines, script) == [["tea", "12", 2.0], ["milk", "3", 1.5]]


def test_pieces_of_a_word_are_joined_and_texts_are_parted(traced: Callable[..., Any]) -> None:
    pieces = ["Hel", "lo.", "How", " are", " you?"]
    lines = [START, *(line(1.0, "says", words=piece) for piece in pieces)]
    assert traced(lines, "trace.said[0].text") == "Hello. How are you?"


def test_of_what_comes_often_the_latest_is_kept(traced: Callable[..., Any]) -> None:
    script = """(() => {
        for (let number = 0; number < 130_000; number++) {
            trace.take({ at: number / 10, what: "vad", probability: 0.5 });
            if (number % 10 === 0) trace.take({ at: number / 10, what: "connection lost" });
        }
        const { probabilities, happened, happenedCount } = trace;
        return [probabilities.length, probabilities.at(-1).at, happened.length, happenedCount];
    })()"""
    kept, last, happened, count = traced([START], script)
    assert (kept, last) == (118_000, 12_999.9)
    assert happened <= 2000
    assert count == 13_000


def test_a_whole_conversation(traced: Callable[..., Any]) -> None:
    lines = [*conversation(), ENDED]
    said = traced(lines, "trace.said.map((each) => [each.side, each.words, each.text])")
    assert [[side, text if side == "agent" else words] for side, words, text in said] == [
        ["agent", "Hello, how can I help?"],
        ["caller", "Do you have tea?"],
        ["agent", "Yes, we have twelve kinds of tea."],
        ["caller", "Never mind."],
    ]
    assert traced(lines, "heard(9)") == ["Hello, how can I help?", "Yes, we have twelve"]
    assert traced(lines, "trace.tools.map((tool) => [tool.name, tool.asked, tool.result])") == [
        ["in_stock", '{"item": "tea"}', "12"]
    ]
    assert traced(lines, "trace.marks.map((mark) => mark.kind)") == [
        "wrong",
        "key",
        "barge-in",
        "checkpoint",
    ]
    assert traced(lines, "trace.ended") == "the caller hung up"


def test_audio_is_where_it_was_spoken_and_heard(traced: Callable[..., Any]) -> None:
    lines = [*conversation(), line(0.9, "audio cut", heard_at=0.6)]
    times = "[0.3, 0.55, 0.7, 1.0]"
    assert traced(lines, f"{times}.map((at) => trace.agent.peak(at, at + 0.03) > 0.3)") == [
        True,
        True,
        False,
        False,
    ]
    times = "[1.9, 2.0, 3.1, 3.25]"
    assert traced(lines, f"{times}.map((at) => trace.caller.peak(at, at + 0.03) > 0.3)") == [
        False,
        True,
        True,
        False,
    ]


def test_the_carriers_times_may_count_from_any_beginning(traced: Callable[..., Any]) -> None:
    frames = [
        line(0.02 * (number + 1), "audio received", timestamp=1_800_000_000_000 + 20 * number)
        | {"track": "inbound", "payload": payload()}
        for number in range(50)
    ]
    script = "[trace.caller.end, trace.caller.peak(0.5, 0.6) > 0.3, trace.happened.length]"
    assert traced([START, *frames], script) == [pytest.approx(1.0), True, 0]


def test_a_stall_does_not_move_what_the_caller_said(traced: Callable[..., Any]) -> None:
    def frame(number: int, at: float) -> dict[str, Any]:
        stamp = EPOCH + 20 * number
        return line(at, "audio received", track="inbound", timestamp=stamp, payload=payload())

    ordinary = [frame(number, 0.02 * (number + 1)) for number in range(10)]
    late = [frame(number, 1.5) for number in range(10, 75)]
    after = [frame(number, 0.02 * (number + 1)) for number in range(75, 80)]
    assert traced([START, *ordinary, *late, *after], "trace.caller.end") == pytest.approx(1.6)


def test_lines_that_are_unknown_or_unreadable_harm_nothing(opened: Callable[..., Any]) -> None:
    script = """async () => {
        const { Trace, readLines } = await import(location.origin + "/trace.js");
        const trace = new Trace();
        const text = '{"at":1,"what":"constructor"}\\n\\nnot JSON\\n'
            + '{"at":2,"what":"says","words":"Ä"}';
        const bytes = new TextEncoder().encode(text);
        const pieces = new ReadableStream({ start(controller) {
            for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
            controller.close();
        } });
        for await (const line of readLines(pieces)) trace.take(line);
        return [trace.said.map((each) => each.text), trace.wire.map((line) => line.what)];
    }"""
    said, wire = opened().evaluate(script)
    assert said == ["Ä"]
    assert wire == ["constructor", "unreadable line", "says"]
