"""Who is on the phone: what a person does with a call, step by step.

    Person([Say("Hello?"), WaitForAgent(), TalkOver(1.5, "Stop!"), Press("1#"), HangUp()])

A script can also be a coroutine function that is given the `Handset`, or be read from YAML or
from an option; see `mediaserver.sandbox.people.script`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from audiocodecs import AudioError, Wav, read_wav, resample
from mediaserver.protocol import DIGITS
from mediaserver.sandbox.audio.handset import Handset
from mediaserver.sandbox.errors import CallEnded


_VOICE = "en-gb-x-rp"

Pickup: TypeAlias = Literal["answer", "busy", "no answer", "reject"]
"""What becomes of a call to this person."""

PICKUPS: tuple[Pickup, ...] = ("answer", "busy", "no answer", "reject")


class ScriptError(ValueError):
    """A script that cannot be followed: says where, what is wrong, and what is allowed."""


class ScriptStep(Protocol):
    """One thing that a person does in a call."""

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do it; returns when it is done.

        Raises:
            CallEnded: The call ended first.

        """


@dataclass(frozen=True, slots=True)
class Say:
    """Say `text`, synthesised, and wait until it is said.

    Attributes:
        text: What to say.
        voice: An eSpeak NG voice; the person's if left out.

    """

    text: str
    voice: str | None = None

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do it; see `ScriptStep`."""
        await _say(handset, await _spoken(self.text, self.voice or voice))


@dataclass(frozen=True, slots=True)
class Play:
    """Play a WAV file, or a clip, into the phone, and wait until it is over."""

    clip: Path | Wav

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do it; see `ScriptStep`."""
        clip = self.clip
        await _say(handset, clip if isinstance(clip, Wav) else await _read(clip))


@dataclass(frozen=True, slots=True)
class WaitForAgent:
    """Wait until the agent has spoken and finished.

    An agent that spoke while the step before was done counts if it is not over yet.

    Attributes:
        silence: Seconds without a sound after which the agent has finished.
        timeout: Seconds after which the person waits no longer, whatever the agent does.

    """

    silence: float = 0.8
    timeout: float = 30.0

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do it; see `ScriptStep`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timeout):
                await handset.wait_for_speech()
                await handset.wait_for_silence(self.silence)


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do it; see `ScriptStep`."""
        await handset.wait(self.seconds)


@dataclass(frozen=True, slots=True)
class TalkOver:
    """Cut in once the agent has been speaking for a while.

    Attributes:
        after: Seconds the agent must have been speaking in one turn.
        text: What to say, if anything.
        clip: What to play, if anything.
        digits: What to press, if anything.
        timeout: Seconds after which the person cuts in no more.

    """

    after: float = 1.5
    text: str = "Wait, stop please."
    clip: Path | Wav | None = None
    digits: str = ""
    timeout: float = 30.0

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do it; see `ScriptStep`."""
        # Speech has to be there in time.
        clip = await _clip(self.clip, self.text, voice)
        try:
            async with asyncio.timeout(self.timeout):
                await handset.wait_for_speech(self.after)
        except TimeoutError:
            return
        if self.digits:
            handset.press(self.digits)
        await _say(handset, clip)


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys, 0.1 s apart, and wait until they are pressed.

    Raises:
        ValueError: A digit is not one of `0`-`9`, `*`, `#`, `A`-`D`.

    """

    digits: str

    def __post_init__(self) -> None:
        if not self.digits or not DIGITS.issuperset(self.digits):
            raise ValueError(f"keys must be of 0-9, *, # and A-D, got {self.digits!r}")

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do it; see `ScriptStep`."""
        handset.press(self.digits)
        await handset.wait_spoken()


@dataclass(frozen=True, slots=True)
class HangUp:
    """Put the phone down."""

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do it; see `ScriptStep`."""
        handset.hang_up()


@dataclass(frozen=True, slots=True)
class Converse:
    """Take turns with the agent: let it finish, answer, and so on; silence ends it.

    Attributes:
        replies: What to say, one after each turn of the agent's.
        silence: Seconds without a sound after which the agent has finished its turn.
        patience: Seconds without a word from the agent after which the person gives up.

    """

    replies: Sequence[str] = ("Yes, please.", "That sounds good.", "Thank you. Goodbye.")
    silence: float = 0.8
    patience: float = 5.0

    async def perform(self, handset: Handset, voice: str) -> None:
        """Do it; see `ScriptStep`."""
        for reply in self.replies:
            if not await self._hear(handset):
                return
            await _say(handset, await _spoken(reply, voice))
        await self._hear(handset)

    async def _hear(self, handset: Handset) -> bool:
        """Wait for the agent to speak, and to finish; return whether it spoke at all."""
        try:
            async with asyncio.timeout(self.patience):
                await handset.wait_for_speech()
        except TimeoutError:
            return False
        await handset.wait_for_silence(self.silence)
        return True


Script: TypeAlias = Sequence[ScriptStep] | Callable[[Handset], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a phone, and a script.

    One person can be in any number of calls: nothing is kept from one to the next. When the script
    is over the person stays on the phone without a word.

    Attributes:
        script: Steps, or a coroutine function that is given the `Handset`; it may let `CallEnded`
            pass.
        voice: An eSpeak NG voice for what is said.
        answer: What becomes of a call to this person.
        ring: Seconds it rings first.
        machine: Whether this is an answering machine, for machine detection to find.
        max_seconds: Seconds after which the person hangs up, wherever the script is; None: never.

    Raises:
        ValueError: `answer` is none of the four, or a number of seconds is out of range.

    """

    script: Script = ()
    _: KW_ONLY
    voice: str = _VOICE
    answer: Pickup = "answer"
    ring: float = 1.0
    machine: bool = False
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.answer not in PICKUPS:
            raise ValueError(f"answer is one of {', '.join(PICKUPS)}, got {self.answer!r}")
        if not 0 <= self.ring < math.inf:
            raise ValueError(f"ring is 0 seconds or more, got {self.ring!r}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"max_seconds is above 0 seconds, got {self.max_seconds!r}")

    @classmethod
    def default(cls, *, max_seconds: float = 60.0) -> Person:
        """Return somebody who says hello, answers the agent briefly, and hangs up.

        The person hangs up after three answers, when the agent has nothing more to say, or after
        `max_seconds`.
        """
        return cls((Say("Hello?"), Converse(), HangUp()), max_seconds=max_seconds)

    async def prepare(self) -> None:
        """Read and synthesise everything that will be said, so that no call waits for it.

        Raises:
            ScriptError: A file cannot be read, or there is no speech to be had.

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
        """Follow the script on a line that has been answered; returns when the call has ended.

        Raises:
            ScriptError: As from `prepare`. The person has hung up by then.

        """
        try:
            async with asyncio.timeout(self.max_seconds) as limit:
                await self._follow(handset)
                await handset.wait_ended()
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


async def _say(handset: Handset, clip: Wav | None) -> None:
    if clip is not None:
        handset.say(clip.mono(), clip.rate)
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
            f"to say {text!r} eSpeak NG is needed: pip install mediaserver[sandbox]; "
            "a WAV file can be played without"
        ) from error
    try:
        return speak(text, voice)
    except SpeechError as error:
        raise ScriptError(f"cannot say {text!r}: {error}") from error
