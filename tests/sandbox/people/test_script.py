from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.sandbox.people import script
from mediaserver.sandbox.people.person import (
    Converse,
    HangUp,
    Person,
    Play,
    Press,
    Say,
    ScriptError,
    TalkOver,
    Wait,
    WaitForAgent,
)
from mediaserver.sandbox.people.script import (
    files_below,
    names_file,
    person_from_option,
    person_from_text,
    person_from_yaml,
)
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour


WHOLE = """\
voice: en-us
answer: answer
ring: 1.5
machine: true
max_seconds: 60
misbehave: [drop@30, garbage]
script:
  - wait_for_agent
  - wait for agent: {silence: 0.5, timeout: 20}
  - say: I would like a table for two.
  - say: {text: Bonjour, voice: fr}
  - interrupt
  - interrupt: 2
  - interrupt: {after: 1.5, say: "No, stop.", timeout: 9}
  - interrupt: {play: stop.wav}
  - interrupt: {press: 5}
  - play: answers/eight.wav
  - press: 0123 *#
  - wait: 2
  - converse
  - converse: {replies: [Yes., No.], silence: 0.7, patience: 3}
  - hang-up
"""


def test_every_step_and_setting_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "person.yaml"
    path.write_text(WHOLE)
    assert person_from_yaml(path) == Person(
        (
            WaitForAgent(),
            WaitForAgent(0.5, 20.0),
            Say("I would like a table for two."),
            Say("Bonjour", "fr"),
            TalkOver(),
            TalkOver(2.0),
            TalkOver(1.5, "No, stop.", timeout=9.0),
            TalkOver(clip=tmp_path / "stop.wav"),
            TalkOver(text="", digits="5"),
            Play(tmp_path / "answers/eight.wav"),
            Press("0123*#"),
            Wait(2.0),
            Converse(),
            Converse(("Yes.", "No."), 0.7, 3.0),
            HangUp(),
        ),
        voice="en-us",
        ring=1.5,
        machine=True,
        max_seconds=60.0,
        misbehaviour=Misbehaviour(drop=30, garbage=True),
    )


def test_the_example_in_the_documentation_is_a_script() -> None:
    example = script.__doc__.split("\n\n")[1]
    person = person_from_text(example)
    assert isinstance(person.script, Sequence)
    assert len(person.script) == 8
    assert (person.max_seconds, person.misbehaviour) == (60.0, Misbehaviour(drop=30))


def test_a_file_can_be_the_list_of_steps_alone() -> None:
    assert person_from_text("- say: Hi\n- hang up\n") == Person((Say("Hi"), HangUp()))


def test_somebody_who_does_not_answer_needs_no_script() -> None:
    assert person_from_text("answer: no answer") == Person(answer="no answer")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "script is empty"),
        ("# nothing\n", "script is empty"),
        ("- say: [", "line 1: not YAML: "),
        ("- say: Hi\n  press: 1\n", "line 1: a step has one name"),
        ("script:\n - say: Hi\n - shout: Hi\n", "line 3: unknown step 'shout'; allowed: conv"),
        ("- hangup\n", "unknown step 'hangup'; allowed: .*; did you mean hang_up"),
        ("- {}\n", "line 1: a step has one name"),
        ("- [say, Hi]\n", "line 1: a step is a name"),
        ("- ? [a]\n  : b\n", "line 1: a step is a name"),
        ("hello", "line 1: a list of steps, or a mapping with script is expected, with script, v"),
        ("scripts: []\n", "unknown setting 'scripts'; allowed: .*; did you mean script"),
        ("? [a]\n: b\n", "unknown setting"),
        ("script: say\n", "line 1: script is a list of steps"),
        ("ring: 1\nring: 2\n", "line 2: ring is given twice"),
        ("ring: soon\n", "line 1: ring needs a number of seconds, 0 or more"),
        ("ring: -1\n", "ring needs a number of seconds, 0 or more"),
        ("ring: .inf\n", "ring needs a number of seconds, 0 or more"),
        ("max_seconds: 0\n", "max_seconds needs a number of seconds, above 0"),
        ("answer: never\n", "answer must be one of answer, busy, no answer, reject; got 'never'"),
        ("ring: 1\nmisbehave: [sulk]\n", "line 2: unknown misbehaviour 'sulk'"),
        ("misbehave: [[]]\n", "misbehave needs text"),
        ("machine: perhaps\n", "machine must be one of true, false; got 'perhaps'"),
        ("voice: []\n", "voice needs text"),
        ("- say\n", "line 1: say needs text"),
        ("- say:\n", "line 1: say needs text"),
        ("- say: {}\n", "say needs text"),
        ("- say: {words: Hi}\n", "unknown setting 'words'; allowed: text, voice"),
        ("- play:\n", "play needs text"),
        ("- wait\n", "wait needs a number of seconds"),
        ("- wait: [1]\n", "wait needs a number of seconds"),
        ("- press: 12w\n", "line 1: keys must be of 0-9, .* got '12W'"),
        ("- press\n", "keys must be of 0-9"),
        ("- wait_for_agent: 5\n", "wait_for_agent is expected, with silence, timeout"),
        ("- interrupt: [1]\n", "interrupt is expected, with after, say, play, press, timeout"),
        ("- interrupt: {press: x}\n", "keys must be of"),
        ("- converse: {replies: Yes}\n", "replies is a list of texts"),
        ("- converse: {replies: [[]]}\n", "a reply needs text"),
        ("- hang_up: now\n", "hang_up takes no setting"),
        ("- say: \x00\n", "not YAML"),
        ("[" * 1_000, "not YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        person_from_text(text)


@given(st.text(max_size=60) | st.text("-: {}[]\nsaypreswit0123\"'&*!|>?#", max_size=60))
def test_any_text_is_a_script_or_a_script_error(text: str) -> None:
    try:
        person = person_from_text(text)
    except ScriptError:
        return
    assert isinstance(person, Person)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfa"])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "person.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ScriptError, match=r"cannot read .*person\.yaml"):
        person_from_option(str(path))


def test_an_option_can_hold_every_step() -> None:
    text = (
        "wait agent; Say Hello, it is me; wait for agent; interrupt; interrupt 1.5 ; "
        "interrupt 2 No, stop.; press 12 #; wait 2.5; play a file.wav; converse; hang up;"
    )
    assert person_from_option(text) == Person(
        (
            WaitForAgent(),
            Say("Hello, it is me"),
            WaitForAgent(),
            TalkOver(),
            TalkOver(1.5),
            TalkOver(2.0, "No, stop."),
            Press("12#"),
            Wait(2.5),
            Play(Path("a file.wav")),
            Converse(),
            HangUp(),
        )
    )


@pytest.mark.parametrize("text", ["hangup", "hang_up", "Hang Up"])
def test_hanging_up_can_be_spelled_in_three_ways(text: str) -> None:
    assert person_from_option(text) == Person((HangUp(),))


@pytest.mark.parametrize(
    ("option", "step"),
    [
        ("my greeting.wav", Play(Path("my greeting.wav"))),
        ("/tmp/Hello.FLAC", Play(Path("/tmp/Hello.FLAC"))),
        ("play hello.wav", Play(Path("hello.wav"))),
    ],
)
def test_an_option_can_be_a_file_to_play(option: str, step: Play) -> None:
    assert person_from_option(option) == Person((step,))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("", "a script needs a step; allowed: say TEXT"),
        (" ; ", "a script needs a step"),
        ("say Hi; shout Hi", "unknown step 'shout Hi'; allowed: say TEXT, play FILE"),
        ("say", "unknown step 'say'"),
        ("play", "unknown step 'play'"),
        ("hang", "unknown step 'hang'"),
        ("wait", "'wait': '' is not a number of seconds"),
        ("wait a bit", "'wait a bit': 'a bit' is not a number"),
        ("wait -1", "not a number of seconds"),
        ("wait nan", "not a number of seconds"),
        ("interrupt Stop", "'Stop' is not a number"),
        ("press x", "'press x': keys must be of"),
        ("press", "'press': keys must be of"),
    ],
)
def test_what_is_wrong_with_an_option_is_said(option: str, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        person_from_option(option)


def test_files_below_a_folder_are_found_and_no_others(tmp_path: Path) -> None:
    find = files_below(tmp_path)

    assert find("a/b.wav") == tmp_path / "a" / "b.wav"
    assert find(str(tmp_path / "c.wav")) == tmp_path / "c.wav"
    for outside in ("../x.wav", "/etc/x.wav", "a/../../x.wav"):
        with pytest.raises(ScriptError, match="not below"):
            find(outside)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link.wav").symlink_to(tmp_path / "outside.wav")

    with pytest.raises(ScriptError, match="not below"):
        files_below(tmp_path / "inside")("link.wav")


def test_without_a_folder_no_file_is_found() -> None:
    with pytest.raises(ScriptError, match="write steps"):
        person_from_option("play x.wav", find=files_below(None))


@pytest.mark.parametrize(
    ("text", "is_file"),
    [("a.yaml", True), ("a b.WAV ", True), ("say a.wav", False), ("a.wav; hang up", False)],
)
def test_files_are_told_from_steps(text: str, is_file: bool) -> None:
    assert names_file(text) is is_file
