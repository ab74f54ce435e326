import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from audiocodecs import Samples
from mediaserver.call import Turn
from mediaserver.demo.display import Display, print_checks, print_files, print_turns, silhouette
from mediaserver.demo.moment import Moment
from mediaserver.demo.verdict import Check


@pytest.fixture
def screen() -> Any:
    return io.StringIO()


@pytest.fixture
def console(screen: Any) -> Console:
    return Console(file=screen, width=100)


def voice(seconds: float, start: float, end: float) -> Samples:
    """Return 8 kHz of noise between two times, silence elsewhere."""
    samples = np.random.default_rng(0).integers(-8000, 8000, round(seconds * 8000), np.int16)
    samples[: round(start * 8000)] = 0
    samples[round(end * 8000) :] = 0
    return samples


def test_moments_are_printed_as_they_are_told(console: Console, screen: Any) -> None:
    with Display(console, 10.0) as display:
        display.tell(Moment(1.234, "agent", "greets", "greets", "Hello!"))
        assert screen.getvalue().split() == ["1.23", "s", "agent", "greets:", '"Hello!"']


def test_what_is_told_stays_in_its_column_in_a_narrow_terminal(screen: Any) -> None:
    console = Console(file=screen, width=40)
    with Display(console, 10.0) as display:
        display.tell(Moment(1.0, "caller", "speaks", "says", "word " * 12))
        lines = screen.getvalue().splitlines()
    assert len(lines) > 2
    assert all(line.startswith(" " * 18) for line in lines[1:])
    assert all(len(line) <= 40 for line in lines)


def test_both_voices_are_drawn_where_they_were_heard(console: Console, screen: Any) -> None:
    recording = np.stack([voice(8.0, 4.0, 6.0), voice(8.0, 0.0, 2.0)], axis=1)
    with Display(console, 8.0) as display:
        display.update(8.0, recording, 8000)
    caller, agent, bar = screen.getvalue().splitlines()[-3:]
    cells = slice(10, 70)
    assert [char != " " for char in caller[cells]] == [False] * 30 + [True] * 15 + [False] * 15
    assert [char != " " for char in agent[cells]] == [True] * 15 + [False] * 45
    assert bar.rstrip().endswith("8.0 s")


def test_a_call_longer_than_expected_still_fits(console: Console, screen: Any) -> None:
    recording = np.stack([voice(9.0, 0.0, 9.0)] * 2, axis=1)
    with Display(console, 3.0) as display:
        display.update(9.0, recording, 8000)
    assert all(len(line) <= 100 for line in screen.getvalue().splitlines())
    assert "9.0 s" in screen.getvalue()


def test_a_terminal_without_unicode_is_given_none() -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii"), width=80)
    with Display(console, 1.0) as display:
        display.update(1.0, np.stack([voice(1.0, 0.0, 1.0)] * 2, axis=1), 8000)
    print_checks(console, [Check("it works", True, "yes")])
    console.file.flush()
    assert raw.getvalue().isascii()
    assert b"ok  it works" in raw.getvalue()


def test_a_terminal_is_animated() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    with Display(console, 10.0) as display:
        display.update(5.0, np.zeros((40_000, 2), np.int16), 8000)
        display.tell(Moment(5.0, "caller", "speaks", "says"))
    assert "\x1b[2K" in screen.getvalue()
    assert "5.0 s" in screen.getvalue()


def test_a_silhouette_rises_with_the_level() -> None:
    tone = np.sin(np.arange(8000) * 0.5)
    steps = np.concatenate([tone * level for level in (0, 1000, 3000, 6000, 30000)])
    assert silhouette(steps.astype(np.int16), 8000, "12345678") == " 2588"


def test_a_silhouette_waits_for_whole_pieces() -> None:
    assert silhouette(np.full(150, 9000, np.int16), 100, "ab") == "b"
    assert silhouette(np.zeros(0, np.int16), 100, "ab") == ""


def test_checks_are_listed_with_what_was_found(console: Console, screen: Any) -> None:
    print_checks(console, [Check("it works", True, "20 ms"), Check("it lasts", False, "never")])
    lines = [line.rstrip() for line in screen.getvalue().splitlines() if line.strip()]
    assert lines == ["      ok  it works  20 ms", "  not ok  it lasts  never"]


def test_turns_are_listed_with_their_times_and_what_became_of_them(screen: Any) -> None:
    turns = [
        Turn(number=0),
        Turn(number=1, interrupted=True, end_of_turn=0.6, transcript=0.71, audio_sent=1.25),
        Turn(number=2, error="out of words", end_of_turn=0.6),
    ]
    print_turns(Console(file=screen, width=80), turns)
    heading, first, second = (line for line in screen.getvalue().splitlines() if line.strip())
    assert heading.split() == [
        "turn",
        "end",
        "of",
        "turn",
        "transcript",
        "first",
        "token",
        "sent",
        "heard",
    ]
    assert " ".join(first.split()) == "1 600 ms 710 ms 1250 ms interrupted"
    assert " ".join(second.split()) == "2 600 ms out of words"


def test_files_are_listed(console: Console, screen: Any) -> None:
    print_files(console, [(Path("demo-output/call.wav"), "what was heard")])
    assert screen.getvalue().split() == ["wrote", "demo-output/call.wav", "what", "was", "heard"]
