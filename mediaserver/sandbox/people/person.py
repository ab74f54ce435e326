"""A person on the phone, who follows a script in a call.

    Person([Say("Hello?"), WaitForAgent(), TalkOver(1.5, "Stop!"), Press("1#"), HangUp()])

A script can also be a coroutine function that takes the `Handset`, or be read from YAML or from
an option; see `mediaserver.sandbox.people.script`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from audiocodecs import AudioError, Wav, read_wav, resample
from mediaserver.sandbox.audio.handset import Handset
from mediaserver.sandbox.audio.keys import check_digits
from mediaserver.sandbox.errors import CallEnded
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from mediaserver.sandbox.wire.network import StreamNetwork


_VOICE = "en-gb-x-rp"

Pickup: TypeAlias = Literal["answer", "busy", "no answer", "reject"]
"""How a person answers a call."""

PICKUPS: tuple[Pickup, ...] = ("answer", "busy", "no answer", "reject")


class ScriptError(ValueError):
    """A script cannot be followed; the message says where, what is wrong, and what is allowed."""


class ScriptStep(Protocol):
    """One thing that a person does in a call."""

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do the step, and return when it is done.

        Args:
            handset: The person's end of the line.
            voice: The eSpeak NG voice of the person.

        Raises:
            CallEnded: The call ended first.

        """


@dataclass(frozen=True, slots=True)
class Say:
    """Say `text` with a synthesised voice, and wait until it is said.

    Attributes:
        text: What to say.
        voice: An eSpeak NG voice; the person's if left out.

    """

    text: str
    voice: str | None = None

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do the step; see `ScriptStep`."""
        await _say(handset, await _spoken(self.text, self.voice or voice), self.text)


@dataclass(frozen=True, slots=True)
class Play:
    """Play a WAV file, or a clip, into the phone, and wait until it has ended."""

    clip: Path | Wav

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do the step; see `ScriptStep`."""
        clip = self.clip
        if isinstance(clip, Wav):
            await _say(handset, clip)
        else:
            await _say(handset, await _read(clip), f"({clip.name})")


@dataclass(frozen=True, slots=True)
class WaitForAgent:
    """Wait until the agent has spoken and finished.

    Speech that began during the step before counts if it still goes on.

    Attributes:
        silence: Seconds without a sound after which the agent has finished.
        timeout: Longest wait in seconds, whatever the agent does.

    """

    silence: float = 0.8
    timeout: float = 30.0

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do the step; see `ScriptStep`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timeout):
                await handset.wait_for_speech(within=math.inf)
                await handset.wait_for_silence(self.silence, within=math.inf)


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for a number of seconds."""

    seconds: float

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do the step; see `ScriptStep`."""
        await handset.wait(self.seconds)


@dataclass(frozen=True, slots=True)
class TalkOver:
    """Interrupt the agent once it has been speaking for a while.

    Attributes:
        after: Seconds that the agent must have been speaking in one turn.
        text: Text to say; nothing if empty.
        clip: WAV file or clip to play in place of the text.
        digits: Keys to press; none if empty.
        timeout: Longest wait in seconds; after it the person does not interrupt.

    """

    after: float = 1.5
    text: str = "Wait, stop please."
    clip: Path | Wav | None = None
    digits: str = ""
    timeout: float = 30.0

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do the step; see `ScriptStep`."""
        # Synthesised first: it must be ready at the moment of the interruption.
        clip = await _clip(self.clip, self.text, voice)
        try:
            async with asyncio.timeout(self.timeout):
                await handset.wait_for_speech(self.after, within=math.inf)
        except TimeoutError:
            return
        if self.digits:
            handset.press(self.digits)
        await _say(handset, clip, "" if self.clip is not None else self.text)


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys, 0.1 s apart, and wait until they are pressed.

    Raises:
        ValueError: A digit is not one of `0`-`9`, `*`, `#`, `A`-`D`.

    """

    digits: str

    def __post_init__(self) -> None:
        check_digits(self.digits)

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do the step; see `ScriptStep`."""
        handset.press(self.digits)
        await handset.wait_spoken()


@dataclass(frozen=True, slots=True)
class HangUp:
    """Put the phone down."""

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do the step; see `ScriptStep`."""
        handset.hang_up()


@dataclass(frozen=True, slots=True)
class Converse:
    """Take turns with the agent: let it finish, reply, and so on, until it stays silent.

    Attributes:
        replies: Texts to say, one after each turn of the agent.
        silence: Seconds without a sound after which the agent has finished its turn.
        patience: Seconds without speech after which the person stops waiting for the agent.

    """

    replies: Sequence[str] = ("Yes, please.", "That sounds good.", "Thank you. Goodbye.")
    silence: float = 0.8
    patience: float = 5.0

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do the step; see `ScriptStep`."""
        for reply in self.replies:
            if not await self._hear(handset):
                return
            await _say(handset, await _spoken(reply, voice), reply)
        await self._hear(handset)

    async def _hear(self, handset: Handset) -> bool:
        """Wait until the agent has spoken and finished; return whether it spoke."""
        try:
            await handset.wait_for_speech(within=self.patience)
        except TimeoutError:
            return False
        await handset.wait_for_silence(self.silence, within=math.inf)
        return True


@dataclass(frozen=True, slots=True)
class RingingCall:
    """A call that rings at a person's phone.

    Attributes:
        call_uuid: Plivo's CallUUID.
        caller: Number that calls.
        called: Number that was called.
        caller_name: Name of the caller; empty if it is not shown.

    """

    call_uuid: str
    caller: str
    called: str
    caller_name: str = ""


DecidePickup: TypeAlias = Callable[[RingingCall], Awaitable[Pickup]]
"""Decides, while the phone rings, what a call comes to. It is cancelled when the ringing ends."""

Script: TypeAlias = Sequence[ScriptStep] | Callable[[Handset], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Person:
    """A person with a phone and a script.

    A person keeps no state of a call, and can be in several at once. After the last step the person
    stays on the phone and is silent.

    Attributes:
        script: Steps, or a coroutine function that takes the `Handset` and may let `CallEnded`
            pass.
        voice: An eSpeak NG voice.
        answer: What a call to this person comes to.
        ring: Seconds that the phone rings first.
        machine: Whether this is an answering machine, for machine detection to find.
        max_seconds: Seconds after which the person hangs up, wherever the script is; None: never.
        misbehaviour: What the streams of this person's calls do wrong.
        pick_up: Decides while the phone rings, in place of `answer` and `ring`.
        network: What the messages of those streams meet on their way.

    Raises:
        ValueError: `answer` is not one of the four, or a number of seconds is out of range.

    """

    script: Script = ()
    _: KW_ONLY
    voice: str = _VOICE
    answer: Pickup = "answer"
    ring: float = 1.0
    machine: bool = False
    max_seconds: float | None = None
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    pick_up: DecidePickup | None = None
    network: StreamNetwork | None = None

    def __post_init__(self) -> None:
        if self.answer not in PICKUPS:
            raise ValueError(f"answer must be one of {', '.join(PICKUPS)}, got {self.answer!r}")
        if not 0 <= self.ring < math.inf:
            raise ValueError(f"ring must be 0 seconds or more, got {self.ring!r}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"max_seconds must be above 0 seconds, got {self.max_seconds!r}")

    @classmethod
    def default(cls, *, max_seconds: float = 60.0) -> Person:
        """Return a person who says hello, replies to the agent briefly, and hangs up.

        The person hangs up after three replies, when the agent stays silent, or after
        `max_seconds`.
        """
        return cls((Say("Hello?"), Converse(), HangUp()), max_seconds=max_seconds)

    async def prepare(self) -> None:
        """Read and synthesise all that the script says, so that no call waits for it.

        Raises:
            ScriptError: A file cannot be read, or a text cannot be synthesised.

        """
        if callable(self.script):
            return
        for step in self.script:
            match step:
                case Say(text=text, voice=voice):
                    await _spoken(text, voice or self.voice)
                case Play(clip=Path() as path):
                    await _read(path)
                case TalkOver(clip=clip, text=text):
                    await _clip(clip, text, self.voice)
                case Converse(replies=replies):
                    for reply in replies:
                        await _spoken(reply, self.voice)

    async def talk(self, handset: Handset) -> None:
        """Follow the script on an answered line; returns when the call has ended.

        Raises:
            ScriptError: As from `prepare`, after the person has hung up.

        """
        try:
            async with asyncio.timeout(self.max_seconds) as limit:
                await self._follow(handset)
                await handset.wait_ended(within=math.inf)
        except CallEnded:
            pass
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            handset.hang_up()

    async def _follow(self, handset: Handset) -> None:
        if callable(self.script):
            await self.script(handset)
            return
        for step in self.script:
            await step.perform(handset, self.voice)


async def _say(handset: Handset, clip: Wav | None, words: str = "") -> None:
    if clip is not None:
        handset.say(clip.mono(), clip.rate, words=words)
    await handset.wait_spoken()


async def _clip(clip: Path | Wav | None, text: str, voice: str) -> Wav | None:
    if isinstance(clip, Path):
        return await _read(clip)
    if clip is not None:
        return clip
    return await _spoken(text, voice) if text else None


async def _read(path: Path) -> Wav:
    try:
        clip = await asyncio.get_running_loop().run_in_executor(None, read_wav, path)
        resample(clip.samples[:0], clip.rate, clip.rate)
    except (OSError, AudioError) as error:
        raise ScriptError(f"cannot play {path}: {error}") from error
    return clip


async def _spoken(text: str, voice: str) -> Wav:
    return await asyncio.get_running_loop().run_in_executor(None, _cached_speech, text, voice)


@lru_cache(maxsize=256)
def _cached_speech(text: str, voice: str) -> Wav:
    try:
        from mediaserver.espeak import SpeechError, speak
    except ImportError as error:
        raise ScriptError(
            f"saying {text!r} needs eSpeak NG: pip install '.[sandbox]'; "
            "playing a WAV file does not"
        ) from error
    try:
        return speak(text, voice)
    except SpeechError as error:
        raise ScriptError(f"cannot say {text!r}: {error}") from error
