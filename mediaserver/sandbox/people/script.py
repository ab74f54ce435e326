"""Scripts for the person on the phone, written as YAML or as an option.

    voice: en-gb-x-rp        # an eSpeak NG voice
    ring: 1.5                # seconds; and answer: busy, no answer or reject, machine: true
    max_seconds: 60          # hangs up by then
    misbehave: drop@30       # what the streams of the call do wrong; one, or a list
    script:
      - wait_for_agent
      - say: I would like a table for two.
      - interrupt: {after: 1.5, say: "No, stop."}
      - wait_for_agent: {silence: 0.8, timeout: 20}
      - play: answers/eight.wav          # beside this file
      - press: 12#
      - wait: 2
      - hang_up

A file may also be the list of steps alone. As an option the same steps are separated by
semicolons: `wait agent; say Hello; interrupt 1.5 No, stop; press 12#; hang up`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from mediaserver.sandbox.people.person import (
    PICKUPS,
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
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour


_YAML_SUFFIXES = (".yaml", ".yml")
_AUDIO_SUFFIXES = (".wav", ".flac")

# YAML 1.1 reads more words than these as booleans; a script means these.
_BOOLEANS = {"true": True, "false": False}


def person_from_yaml(path: Path) -> Person:
    """Return the person that a file describes.

    Raises:
        ScriptError: The file cannot be read, is not YAML, or has something that is not allowed;
            the message has the line.

    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(f"cannot read {path}: {error}") from error
    return person_from_text(text, source=str(path), folder=path.parent)


def person_from_text(text: str, *, source: str = "script", folder: Path | None = None) -> Person:
    """Return the person that YAML text describes.

    Args:
        text: The YAML.
        source: Its name in errors.
        folder: Folder of relative paths of WAV files; the current folder if left out.

    Raises:
        ScriptError: The text is not YAML, or has something that is not allowed; the message has
            the line.

    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ScriptError(f"{source}{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ScriptError(f"{source}: not YAML: {error}") from error
    if root is None:
        raise ScriptError(f"{source} is empty; a script is a list of steps")
    return _Reader(source, folder or Path()).person(root)


def files_below(folder: Path | None) -> Callable[[str], Path]:
    """Return a resolver of file names that is restricted to files below `folder`.

    The resolver raises `ScriptError` for other files, and for all files if `folder` is None.
    """

    def find(name: str) -> Path:
        if folder is None:
            raise ScriptError(
                f"{name!r} is a file, and files may not be named here: write steps, separated by"
                " semicolons"
            )
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ScriptError(f"{name!r} is not below the folder whose files may be named")
        return path

    return find


def names_file(text: str) -> bool:
    """Return whether the description of a person is the name of a file, and not steps."""
    suffix = Path(text.strip()).suffix.lower()
    return (
        suffix in _YAML_SUFFIXES + _AUDIO_SUFFIXES
        and ";" not in text
        and not _is_step(text.strip())
    )


def person_from_option(text: str, *, find: Callable[[str], Path] = Path) -> Person:
    """Return the person that an option describes: by a WAV file, a YAML file, or steps.

    `greeting.wav` plays it and stays on the phone. Steps are separated by semicolons:
    `say Hello; wait agent; interrupt 1.5 Stop; press 12#; wait 2; play x.wav; hang up`.

    Args:
        text: The option.
        find: Returns the path of a file that the option names, or raises `ScriptError`.

    Raises:
        ScriptError: The option is not one of the three, or a file cannot be read.

    """
    text = text.strip()
    if names_file(text):
        path = find(text)
        if path.suffix.lower() in _YAML_SUFFIXES:
            return person_from_yaml(path)
        return Person((Play(path),))
    steps = [_option_step(piece.strip(), find) for piece in text.split(";") if piece.strip()]
    if not steps:
        raise ScriptError("a script needs a step; allowed: " + _OPTION_FORMS)
    return Person(tuple(steps))


_OPTION_FORMS = (
    "say TEXT, play FILE, wait agent, wait SECONDS, interrupt SECONDS TEXT, press KEYS, converse, "
    "hang up"
)


def _is_step(text: str) -> bool:
    return text.partition(" ")[0] in ("say", "play", "interrupt", "press", "wait")


def _option_step(text: str, find: Callable[[str], Path]) -> ScriptStep:
    name, _, rest = text.partition(" ")
    rest = rest.strip()
    match name.lower(), rest.lower():
        case "say", words if words:
            return Say(rest)
        case "play", file if file:
            return Play(find(rest))
        case "wait", "agent" | "for agent":
            return WaitForAgent()
        case "wait", _:
            return Wait(_option_seconds(text, rest))
        case "interrupt", "":
            return TalkOver()
        case "interrupt", _:
            after, _, words = rest.partition(" ")
            seconds = _option_seconds(text, after)
            return TalkOver(seconds, words.strip()) if words.strip() else TalkOver(seconds)
        case "press", _:
            try:
                return Press(rest.replace(" ", "").upper())
            except ValueError as error:
                raise ScriptError(f"{text!r}: {error}") from None
        case "converse", "":
            return Converse()
        case ("hang", "up") | ("hangup" | "hang_up", ""):
            return HangUp()
    raise ScriptError(f"unknown step {text!r}; allowed: {_OPTION_FORMS}")


def _option_seconds(step: str, text: str) -> float:
    seconds = _number(text)
    if seconds is None or seconds < 0:
        raise ScriptError(f"{step!r}: {text!r} is not a number of seconds")
    return seconds


class _Reader:
    """Reads one YAML document; its errors say what is wrong, and in which line."""

    def __init__(self, source: str, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._steps: dict[str, Callable[[Node | None, Node], ScriptStep]] = {
            "say": self._say,
            "play": self._play,
            "wait": self._wait,
            "wait_for_agent": self._wait_for_agent,
            "interrupt": self._interrupt,
            "press": self._press,
            "converse": self._converse,
            "hang_up": self._hang_up,
        }

    def person(self, root: Node) -> Person:
        if isinstance(root, SequenceNode):
            return Person(self._script(root))
        allowed = ("script", "voice", "answer", "ring", "machine", "max_seconds", "misbehave")
        fields = self._mapping(root, allowed, "a list of steps, or a mapping with script")
        options: dict[str, Any] = {}
        if "voice" in fields:
            options["voice"] = self._text(fields["voice"], "voice")
        if "answer" in fields:
            options["answer"] = self._one_of(fields["answer"], "answer", PICKUPS)
        if "machine" in fields:
            words = self._one_of(fields["machine"], "machine", _BOOLEANS)
            options["machine"] = _BOOLEANS[words]
        for name in ("ring", "max_seconds"):
            if name in fields:
                options[name] = self._seconds(fields[name], name, positive=name == "max_seconds")
        if "misbehave" in fields:
            options["misbehaviour"] = self._misbehaviour(fields["misbehave"])
        script = self._script(fields["script"]) if "script" in fields else ()
        return Person(script, **options)

    def _misbehaviour(self, node: Node) -> Misbehaviour:
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        try:
            return Misbehaviour.parse(*(self._text(each, "misbehave") for each in nodes))
        except ScriptError:
            raise
        except ValueError as error:
            self._fail(node, str(error))

    def _script(self, node: Node) -> tuple[ScriptStep, ...]:
        if not isinstance(node, SequenceNode):
            self._fail(node, "script is a list of steps")
        return tuple(self._step(entry) for entry in node.value)

    def _step(self, node: Node) -> ScriptStep:
        argument: Node | None = None
        name_node = node
        if isinstance(node, MappingNode):
            if len(node.value) != 1:
                self._fail(node, "a step has one name; begin each step with a dash")
            name_node, argument = node.value[0]
        if not isinstance(name_node, ScalarNode):
            self._fail(name_node, "a step is a name, or a name with what it needs")
        if isinstance(argument, ScalarNode) and argument.tag == "tag:yaml.org,2002:null":
            argument = None
        name = name_node.value.strip().replace(" ", "_").replace("-", "_")
        read = self._steps.get(name)
        if read is None:
            self._fail(name_node, _unknown("step", name_node.value, self._steps))
        return read(argument, name_node)

    def _say(self, node: Node | None, step: Node) -> ScriptStep:
        if isinstance(node, MappingNode):
            fields = self._mapping(node, ("text", "voice"), "say")
            if "text" not in fields:
                self._fail(node, "say needs text")
            voice = self._text(fields["voice"], "voice") if "voice" in fields else None
            return Say(self._text(fields["text"], "text"), voice)
        return Say(self._text(node or step, "say", missing=node is None))

    def _play(self, node: Node | None, step: Node) -> ScriptStep:
        return Play(self._path(node or step, missing=node is None))

    def _wait(self, node: Node | None, step: Node) -> ScriptStep:
        return Wait(self._seconds(node or step, "wait"))

    def _wait_for_agent(self, node: Node | None, _step: Node) -> ScriptStep:
        fields = self._mapping(node, ("silence", "timeout"), "wait_for_agent")
        return WaitForAgent(**self._all_seconds(fields))

    def _interrupt(self, node: Node | None, _step: Node) -> ScriptStep:
        if isinstance(node, ScalarNode):
            return TalkOver(self._seconds(node, "interrupt"))
        allowed = ("after", "say", "play", "press", "timeout")
        fields = self._mapping(node, allowed, "interrupt")
        times = {name: node for name, node in fields.items() if name in ("after", "timeout")}
        options: dict[str, Any] = self._all_seconds(times)
        if "press" in fields:
            options["digits"] = self._keys(fields["press"])
            options["text"] = ""
        if "say" in fields:
            options["text"] = self._text(fields["say"], "say")
        if "play" in fields:
            options["clip"] = self._path(fields["play"])
        return TalkOver(**options)

    def _press(self, node: Node | None, step: Node) -> ScriptStep:
        return Press(self._keys(node or step))

    def _converse(self, node: Node | None, _step: Node) -> ScriptStep:
        fields = self._mapping(node, ("replies", "silence", "patience"), "converse")
        replies = fields.pop("replies", None)
        options: dict[str, Any] = self._all_seconds(fields)
        if replies is not None:
            if not isinstance(replies, SequenceNode):
                self._fail(replies, "replies is a list of texts")
            options["replies"] = tuple(self._text(reply, "a reply") for reply in replies.value)
        return Converse(**options)

    def _hang_up(self, node: Node | None, _step: Node) -> ScriptStep:
        if node is not None:
            self._fail(node, "hang_up takes no setting")
        return HangUp()

    def _mapping(self, node: Node | None, allowed: Iterable[str], what: str) -> dict[str, Node]:
        if node is None:
            return {}
        allowed = tuple(allowed)
        if not isinstance(node, MappingNode):
            self._fail(node, f"{what} is expected, with {', '.join(allowed)}")
        fields: dict[str, Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else "?"
            if name not in allowed:
                self._fail(key, _unknown("setting", name, allowed))
            if name in fields:
                self._fail(key, f"{name} is given twice")
            fields[name] = value
        return fields

    def _text(self, node: Node, what: str, *, missing: bool = False) -> str:
        if missing or not isinstance(node, ScalarNode) or not node.value.strip():
            self._fail(node, f"{what} needs text")
        return str(node.value)

    def _path(self, node: Node, *, missing: bool = False) -> Path:
        return self._folder / self._text(node, "play", missing=missing)

    def _keys(self, node: Node) -> str:
        keys = self._text(node, "press").replace(" ", "").upper()
        try:
            return Press(keys).digits
        except ValueError as error:
            self._fail(node, str(error))

    def _all_seconds(self, fields: dict[str, Node]) -> dict[str, float]:
        return {name: self._seconds(node, name) for name, node in fields.items()}

    def _seconds(self, node: Node, what: str, *, positive: bool = False) -> float:
        seconds = _number(node.value) if isinstance(node, ScalarNode) else None
        if seconds is None or seconds < 0 or (positive and not seconds):
            least = "above 0" if positive else "0 or more"
            self._fail(node, f"{what} needs a number of seconds, {least}")
        return seconds

    def _one_of(self, node: Node, what: str, allowed: Collection[str]) -> str:
        given = self._text(node, what)
        if given not in allowed:
            self._fail(node, f"{what} must be one of {', '.join(allowed)}; got {given!r}")
        return given

    def _fail(self, node: Node, reason: str) -> NoReturn:
        raise ScriptError(f"{self._source}, line {node.start_mark.line + 1}: {reason}")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown {kind} {name!r}; allowed: {', '.join(known)}{hint}"
