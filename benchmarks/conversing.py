"""The phones of the agents benchmark: what they do, and what they observe of the agents."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec

from audiocodecs import MULAW_8K
from benchmarks.servers.mock_timings import sent_at
from benchmarks.voices import Clip
from mediaserver.protocol import Command, PlayAudio, SetCheckpoint
from mediaserver.sandbox import Phone


class Line(msgspec.Struct):
    """One phone, and the observations of its call.

    Attributes:
        origin: when the call's stream started, on the monotonic clock.
        arrivals: when the first audio of each reply reached the phone's playback buffer, on the
            monotonic clock, and how long before that the speech service had returned it.
        said: the names of the clips that the caller said, in order.
        cut_ins: when the caller interrupted, in seconds of the call: each clip's first sound and
            its end.
        accounts: the agent's account of each turn, and the seconds of audio played by then.
        told: numbers that the agent told, each with its name.

    """

    phone: Phone
    origin: float
    arrivals: list[tuple[float, float]] = []
    said: list[str] = []
    cut_ins: list[tuple[float, float]] = []
    accounts: list[tuple[dict[str, Any], float]] = []
    told: list[tuple[str, float]] = []

    def say(self, clip: Clip) -> tuple[float, float]:
        """Say a clip; return when its first sound comes and when it ends."""
        self.said.append(clip.name)
        start = self.phone.say(MULAW_8K.decode(clip.payload))
        return start + clip.onset, start + clip.seconds


class Callers(ABC):
    """The lines of one run."""

    def __init__(self, seed: int) -> None:
        self.lines: list[Line] = []
        self.random = Random(seed)

    def take(self, phone: Phone) -> Line:
        """Observe a call from now on."""
        line = Line(phone, asyncio.get_running_loop().time() - phone.time)
        self.lines.append(line)

        def watch(command: Command, now: float) -> None:
            if isinstance(command, PlayAudio):
                sent = sent_at(bytes(command.payload))
                if sent is not None:
                    line.arrivals.append((now, now - sent))
            elif isinstance(command, SetCheckpoint):
                kind, _, text = command.name.partition(":")
                if kind == "turn":
                    line.accounts.append((json.loads(text), phone.played))
                elif kind == "told":
                    name, _, number = text.partition(":")
                    line.told.append((name, float(number)))

        phone.on_command = watch
        return line

    async def hang_up(self) -> None:
        """End all calls."""
        await asyncio.gather(*(line.phone.hang_up() for line in self.lines))

    @abstractmethod
    async def call(self, phone: Phone) -> None:
        """Act as a caller until the call is over."""


class Asking(Callers):
    """Callers who talk for a share of the time, and listen to the answers.

    Args:
        clips: what they say.
        talk: the share of the time.
        within: seconds in which all callers begin; by default the duration of a question and its
            answer, so that they are spread evenly.

    """

    def __init__(
        self, clips: Sequence[Clip], talk: float, *, within: float | None = None, seed: int = 1
    ) -> None:
        super().__init__(seed)
        self._within = within
        self._clips = clips
        self._talk = talk

    async def call(self, phone: Phone) -> None:
        """Callers who ask again and again, each at different times."""
        line = self.take(phone)
        turn = self.random.randrange(len(self._clips))
        within = self._within or self._clips[turn].seconds / self._talk
        due = phone.time + self.random.uniform(0, within)
        while True:
            clip = self._clips[turn % len(self._clips)]
            await phone.wait_until(due)
            line.say(clip)
            due += clip.seconds / self._talk
            turn += 1


class CuttingIn(Callers):
    """Callers who ask something, and then interrupt the agent again and again.

    Args:
        questions: what they ask.
        clips: what they interrupt with.
        after: the least and the most seconds that the agent has spoken by then.
        rest: the least seconds that they are silent afterwards.

    """

    def __init__(
        self,
        questions: Sequence[Clip],
        clips: Sequence[Clip],
        *,
        after: tuple[float, float],
        rest: float = 0.0,
        seed: int = 2,
    ) -> None:
        super().__init__(seed)
        self._questions = questions
        self._clips = clips
        self._after = after
        self._rest = rest
        self._next = 0

    async def call(self, phone: Phone) -> None:
        """Do so."""
        line = self.take(phone)
        await asyncio.sleep(self.random.uniform(0, 0.5))
        line.say(self.random.choice(self._questions))
        await phone.wait_spoken()
        while True:
            await phone.wait_for_audio()
            await asyncio.sleep(self.random.uniform(*self._after))
            clip = self._clips[self._next % len(self._clips)]
            self._next += 1
            sound, end = line.say(clip)
            line.cut_ins.append((sound, end))
            await phone.wait_until(end + self._rest)


def silences(line: Line) -> list[float | None]:
    """Return how long the agent was still heard after each interruption by the caller.

    None means that the agent did not fall silent while the caller spoke. Interruptions between two
    words, or after the agent had finished, are left out.
    """
    spells, now = line.phone.report().agent_speech, line.phone.time
    found: list[float | None] = []
    for sound, end in line.cut_ins:
        spell = next((each for each in spells if each[0] <= sound < each[1]), None)
        if spell is None:
            continue
        if spell[1] < min(end, now - 0.1):
            found.append(spell[1] - sound)
        elif end < now:
            found.append(None)
    return found


def counted(callers: CuttingIn, begin: float, end: float) -> tuple[int, int]:
    """Return how often callers interrupted and agents fell silent between two moments."""
    times = clears = 0
    for line in callers.lines:
        since, until = begin - line.origin, end - line.origin
        times += sum(since <= sound < until for sound, _ in line.cut_ins)
        clears += sum(
            entry.kind == "cleared" and since <= entry.time < until and entry.text[:4] != "0.00"
            for entry in line.phone.report().timeline
        )
    return times, clears


class WordCount(msgspec.Struct, frozen=True):
    """One interrupted turn: the words in the conversation, and the words that were played.

    Attributes:
        kept: words in the conversation.
        played: words of which at least half was played.
        same: whether the turn's report agrees with the conversation.

    """

    kept: int
    played: int
    same: bool

    @property
    def error(self) -> int:
        """By how many words the conversation has too many."""
        return self.kept - self.played


def word_counts(line: Line) -> list[WordCount]:
    """Compare what the agent remembers of each interrupted turn with what its phone played."""
    counts = []
    before = 0.0
    for account, played in line.accounts:
        seconds, before = played - before, played
        if not account["interrupted"]:
            continue
        words = 0
        begins = 0.0
        for sentence in account["sentences"]:
            words += sum(begins + middle < seconds for middle in sentence["middles"])
            begins += sentence["seconds"]
        kept = account["kept"]
        counts.append(WordCount(len(kept.split()), words, kept == account["told"]))
    return counts
