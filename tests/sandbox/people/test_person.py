from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiocodecs import Samples, Wav, silence, write_wav
from mediaserver.sandbox.audio.handset import Handset
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.people.person import (
    Converse,
    HangUp,
    Person,
    Play,
    Press,
    Say,
    ScriptError,
    ScriptStep,
    TalkOver,
    Wait,
    WaitForAgent,
)
from mediaserver.testing import run_virtual


RATE = 16_000


def voice(seconds: float) -> Samples:
    return np.random.default_rng(1).normal(0, 4_000, round(seconds * RATE)).astype(np.int16)


def clip(seconds: float) -> Wav:
    return Wav(voice(seconds), RATE)


async def nobody(line: Line) -> None:
    await line.wait_ended()


def in_a_call(person: Person, agent: Callable[..., Any] = nobody, *, until: float = 60.0) -> Line:
    """Let a person talk to an agent that plays to the line; return the line."""

    async def scenario() -> Line:
        line = Line()
        line.start()
        talking = asyncio.create_task(person.talk(line.handset))
        speaking = asyncio.create_task(agent(line))
        await asyncio.wait([talking], timeout=until)
        line.hang_up("test")
        await talking
        speaking.cancel()
        return line

    return run_virtual(scenario())


def spoken(line: Line) -> list[tuple[float, float]]:
    return [(round(start, 2), round(end, 2)) for start, end in line.handset.said]


def test_steps_follow_each_other() -> None:
    script: list[ScriptStep] = [Play(clip(0.5)), Wait(1.0), Play(clip(0.3)), Press("1#"), HangUp()]
    line = in_a_call(Person(script))
    assert spoken(line) == [(0.0, 0.5), (1.5, 1.8)]
    assert [(round(key.time, 2), key.digit) for key in line.handset.keys] == [
        (1.8, "1"),
        (1.9, "#"),
    ]
    assert line.ended_by == "person"
    assert line.time == pytest.approx(1.92, abs=0.03)


def test_a_person_with_no_more_to_say_stays_on_the_phone() -> None:
    line = in_a_call(Person([Play(clip(0.5))]), until=30.0)
    assert (line.ended_by, line.time) == ("test", pytest.approx(30.0))


def test_a_person_hangs_up_in_the_end_wherever_the_script_is() -> None:
    line = in_a_call(Person([WaitForAgent(timeout=100)], max_seconds=7.0))
    assert (line.ended_by, line.time) == ("person", pytest.approx(7.0))


def test_waiting_for_the_agent_is_waiting_until_it_has_finished() -> None:
    async def agent(line: Line) -> None:
        await asyncio.sleep(1.0)
        line.play(voice(2.0))

    line = in_a_call(Person([WaitForAgent(silence=0.8), Play(clip(0.5)), HangUp()]), agent)
    assert spoken(line)[0][0] == pytest.approx(3.8, abs=0.05)


def test_an_agent_that_says_nothing_is_not_waited_for_for_ever() -> None:
    line = in_a_call(Person([WaitForAgent(timeout=4.0), HangUp()]))
    assert line.time == pytest.approx(4.0, abs=0.05)


def test_silence_sent_as_audio_is_no_speech() -> None:
    async def agent(line: Line) -> None:
        line.play(silence(60, RATE))

    line = in_a_call(Person([WaitForAgent(timeout=4.0), HangUp()]), agent)
    assert line.time == pytest.approx(4.0, abs=0.05)


def test_an_interruption_comes_so_many_seconds_into_the_agents_speech() -> None:
    async def agent(line: Line) -> None:
        await asyncio.sleep(1.0)
        line.play(voice(10.0))

    interrupt = TalkOver(1.5, clip=clip(0.4), digits="9")
    line = in_a_call(Person([interrupt, HangUp()]), agent)
    assert spoken(line) == [(pytest.approx(2.5, abs=0.05), pytest.approx(2.9, abs=0.05))]
    assert [key.digit for key in line.handset.keys] == ["9"]


def test_an_agent_that_is_brief_is_not_interrupted() -> None:
    async def agent(line: Line) -> None:
        for _ in range(3):
            line.play(voice(1.0))
            line.play(silence(1.0, RATE))

    interrupt = TalkOver(1.5, clip=clip(0.4), timeout=8.0)
    line = in_a_call(Person([interrupt, HangUp()]), agent)
    assert spoken(line) == []
    assert line.time == pytest.approx(8.0, abs=0.05)


def test_text_is_said() -> None:
    line = in_a_call(Person([Say("One, two, three."), HangUp()]))
    assert 0.5 < sum(end - start for start, end in line.handset.said) < 4.0


def test_a_wav_of_any_rate_with_two_channels_is_played_mixed(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    write_wav(path, np.full((11_025 * 2, 2), 3_000, np.int16), 22_050)
    line = in_a_call(Person([Play(path), HangUp()]))
    assert spoken(line) == [(0.0, pytest.approx(1.0, abs=0.03))]


def test_a_conversation_takes_turns() -> None:
    async def agent(line: Line) -> None:
        for start in (1.0, 4.0, 7.0):
            await asyncio.sleep(start - line.time)
            line.play(voice(1.0))

    person = Person([Converse(("Yes.", "No."), silence=0.5, patience=5.0), HangUp()])
    line = in_a_call(person, agent)
    starts = [start for start, _ in line.handset.said]
    assert len(starts) == 2
    assert starts[0] == pytest.approx(2.5, abs=0.15)
    assert starts[1] == pytest.approx(5.5, abs=0.15)
    assert line.time == pytest.approx(8.5, abs=0.1)


def test_an_agent_that_stays_silent_is_given_up_on() -> None:
    line = in_a_call(Person([Converse(patience=3.0), HangUp()]))
    assert spoken(line) == []
    assert line.time == pytest.approx(3.0, abs=0.05)


def test_the_default_person_holds_a_call_with_an_agent() -> None:
    async def agent(line: Line) -> None:
        await line.handset.wait_for_silence(1.0)
        for start in (2.5, 7.0, 12.0, 17.0):
            await asyncio.sleep(start - line.time)
            line.play(voice(1.5))

    line = in_a_call(Person.default(), agent)
    assert line.ended_by == "person"
    assert 18.0 < line.time < 25.0
    assert len(line.handset.said) >= 4


def test_the_default_person_leaves_an_agent_that_never_stops() -> None:
    async def agent(line: Line) -> None:
        line.play(voice(100))

    assert in_a_call(Person.default(max_seconds=12.0), agent).time == pytest.approx(12.0)


def test_a_script_can_be_a_coroutine_function() -> None:
    async def script(handset: Handset) -> None:
        handset.say(voice(0.5))
        await handset.wait_spoken()
        handset.press("7")
        await handset.wait(1.0)
        handset.hang_up()

    line = in_a_call(Person(script))
    assert line.time == pytest.approx(1.5, abs=0.05)
    assert [key.digit for key in line.handset.keys] == ["7"]


@pytest.mark.parametrize("error", [TimeoutError("mine"), KeyError("mine")])
def test_an_error_in_a_script_comes_out_and_hangs_up(error: KeyError | TimeoutError) -> None:
    lines = []

    async def script(handset: Handset) -> None:
        raise error

    async def scenario() -> None:
        line = Line()
        lines.append(line)
        line.start()
        with pytest.raises(type(error), match="mine"):
            await Person(script, max_seconds=9.0).talk(line.handset)

    run_virtual(scenario())
    assert lines[0].ended_by == "person"


def test_one_person_can_be_in_two_calls() -> None:
    person = Person([Play(clip(0.5)), HangUp()])
    assert [in_a_call(person).time for _ in range(2)] == [pytest.approx(0.5, abs=0.05)] * 2


@pytest.mark.parametrize("name", ["missing.wav", "text.wav", "odd.wav"])
def test_a_file_that_cannot_be_played_is_found_beforehand(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    write_wav(tmp_path / "odd.wav", voice(0.1), 4_000)
    for step in (Play(tmp_path / name), TalkOver(clip=tmp_path / name)):
        with pytest.raises(ScriptError, match=f"cannot play .*{name}"):
            run_virtual(Person([step]).prepare())


def test_a_voice_there_is_none_of_is_found_beforehand() -> None:
    for step in (Say("x"), TalkOver(), Converse()):
        with pytest.raises(ScriptError, match="there is no voice 'klingon'"):
            run_virtual(Person([step], voice="klingon").prepare())


def test_without_a_synthesiser_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mediaserver.espeak", None)
    with pytest.raises(ScriptError, match=r"pip install .\.\[sandbox\]"):
        run_virtual(Person([Say("something never said before")]).prepare())


def test_preparing_what_needs_nothing_does_nothing() -> None:
    async def script(handset: Handset) -> None:
        raise AssertionError

    run_virtual(Person(script).prepare())
    run_virtual(Person([Wait(1), Play(clip(1)), TalkOver(text=""), HangUp()]).prepare())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answer": "maybe"}, "answer, busy, no answer, reject, got 'maybe'"),
        ({"ring": -1}, "0 seconds or more"),
        ({"max_seconds": 0}, "above 0 seconds"),
    ],
)
def test_a_person_that_cannot_be_is_refused(
    options: dict[str, int] | dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Person(**options)


def test_keys_no_phone_has_are_refused() -> None:
    with pytest.raises(ValueError, match="got '1x'"):
        Press("1x")
