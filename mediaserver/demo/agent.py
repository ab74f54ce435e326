"""The demo's agent: takes reservations, and notes what it understood and did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from audiocodecs import AudioFormat, Samples
from mediaserver.agents import Conversation, VoiceAgent, tool
from mediaserver.agents.services import Message, Transcript, WordMark
from mediaserver.agents.services.espeak import EspeakSpeech
from mediaserver.agents.services.scripted import Rule, Use
from mediaserver.call import Frame, Turn
from mediaserver.demo.moment import UNDERSTANDS, Moment
from mediaserver.stream import Stream


LOOKING_TAKES: Final = 1.5
"""Seconds that the tool takes: long enough for the agent to say that it is looking."""

AUDIBLE: Final = 256
"""A sample beyond this counts as sound."""

HOLD: Final = "One moment, let me see."

PEOPLE: Final = ("two", "four", "six", "eight")
HOURS: Final = ("six", "seven", "eight", "nine")

CALLER_PHRASES: Final = (
    *(
        f"Hello. I would like a table for {people}, tonight at {hour}."
        for people in PEOPLE
        for hour in HOURS
    ),
    *(f"No, wait. Make that {people}." for people in PEOPLE),
    "Okay.",
    "Thank you. Goodbye!",
)
"""What callers may say: PocketSphinx recognises phrases of a list, not free speech."""

RULES: Final = (
    Rule(
        r"table for (?P<people>\w+), tonight at (?P<hour>\w+)",
        "For {people} people at {hour} I have {result}.",
        Use("find_table", {"people": "{people}", "hour": "{hour}"}),
    ),
    Rule(
        r"make that (?P<people>\w+)",
        "Then I give you the big table in the garden for {people} people at eight.",
    ),
    Rule("goodbye", use=Use("hang_up")),
)
"""How the scripted model answers."""


class ClippedVoice(EspeakSpeech):
    """Speaks, and keeps each spoken text, to compare it with what the phone heard."""

    def __init__(self, voice: str) -> None:
        super().__init__(voice)
        self.clips: dict[str, SpokenClip] = {}

    async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Frame | WordMark, None]:
        """Speak `text`."""
        pieces = []
        try:
            async for piece in super().speak(text, format):
                pieces.append(piece)
                yield piece
        finally:
            # If it was interrupted, the clip ends with the audio requested so far.
            self.clips[text.strip()] = SpokenClip.of(text, format, pieces)


@dataclass(frozen=True, slots=True, eq=False)
class SpokenClip:
    """A spoken text: int16 samples at `rate` Hz, and where its words end."""

    samples: Samples
    rate: int
    marks: Sequence[WordMark]

    @classmethod
    def of(cls, text: str, format: AudioFormat, pieces: Sequence[Frame | WordMark]) -> SpokenClip:
        """Return the clip of a text and the pieces in which it was spoken."""
        payload = b"".join(piece.payload for piece in pieces if isinstance(piece, Frame))
        # A word ends earlier in the text without its leading spaces.
        indent = len(text) - len(text.lstrip())
        marks = [
            WordMark(max(0, piece.end - indent), piece.seconds)
            for piece in pieces
            if isinstance(piece, WordMark)
        ]
        return cls(format.decode(payload), format.rate, marks)

    @property
    def sound(self) -> Samples:
        """The clip without the silence around it."""
        audible = np.flatnonzero(np.abs(self.samples.astype(np.int32)) > AUDIBLE)
        return self.samples[audible[0] : audible[-1] + 1] if len(audible) else self.samples[:0]

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return len(self.samples) / self.rate

    def spoken(self, seconds: float) -> int:
        """Return how many characters of the text have been spoken after `seconds`."""
        return max((mark.end for mark in self.marks if mark.seconds <= seconds), default=0)


@dataclass(slots=True, eq=False)
class AgentNotes:
    """What the agent notes during its call. The phone does not see it.

    Attributes:
        calls: The tools that the model used, with their arguments.
        barge_ins: Each time that the caller spoke over the agent: whether it was an interruption.
        turns: The turns that are over.

    """

    calls: list[str] = field(default_factory=list)
    barge_ins: list[bool] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    _moments: list[Moment] = field(default_factory=list)
    _clock: Callable[[], float] | None = None
    _began: float = 0.0
    _conversation: Conversation = field(default_factory=Conversation)

    def begin(self, clock: Callable[[], float], conversation: Conversation) -> None:
        """Begin: times are counted from now on."""
        self._clock, self._began = clock, clock()
        self._conversation = conversation

    @property
    def messages(self) -> list[Message]:
        """The conversation as the model sees it."""
        return self._conversation.messages

    def as_heard(self, moment: Moment) -> Moment:
        """Return a moment with only those of the agent's words that the caller heard."""
        if moment.who == "caller" or not moment.aloud:
            return moment
        said = moment.words.split()
        for turn in self.turns:
            if not turn.interrupted or moment.words in turn.agent:
                continue
            for count in range(len(said), 0, -1):
                heard = " ".join(said[:count])
                if turn.agent.endswith(heard):
                    return replace(moment, words=f"{heard} …")
        return moment

    def note(self, label: str, text: str, words: str = "") -> None:
        """Note something that happens now, with words that are not said aloud."""
        assert self._clock is not None, "begin() comes first"
        now = self._clock() - self._began
        self._moments.append(Moment(now, "agent", label, text, words, aloud=False))

    def take(self, until: float) -> list[Moment]:
        """Remove and return the moments noted up to a time."""
        moments = [moment for moment in self._moments if moment.time <= until]
        del self._moments[: len(moments)]
        return moments


class Receptionist(VoiceAgent):
    """Takes reservations for a restaurant."""

    prompt = "You take reservations for the Blue Door, a restaurant. You are on the phone."
    greeting = "Good evening, the Blue Door, how can I help you?"
    goodbye = "Goodbye, and see you tonight!"

    notes: AgentNotes
    """Where it notes what it does."""

    async def __call__(self, stream: Stream) -> None:
        """Begin the notes, and converse."""
        self.notes.begin(stream.clock, self.conversation)
        await super().__call__(stream)

    @tool(hold=HOLD)
    async def find_table(self, people: str, hour: str) -> str:
        """Find the tables that are free tonight."""
        call = f"find_table({people}, {hour})"
        self.notes.calls.append(call)
        self.notes.note("uses a tool", f"uses {call}")
        await asyncio.sleep(LOOKING_TAKES)
        return "a table by the window and one in the garden if it stays dry"

    async def on_transcript(self, transcript: Transcript) -> None:
        """Note what was understood."""
        if transcript.final and transcript.text:
            self.notes.note("", UNDERSTANDS, transcript.text)

    async def on_barge_in(self, confirmed: bool) -> None:
        """Note whether the caller interrupted."""
        self.notes.barge_ins.append(confirmed)

    async def on_turn(self, turn: Turn) -> None:
        """Note a turn."""
        self.notes.turns.append(turn)
        if turn.interrupted:
            self.notes.note("", "remembers that it said", turn.agent)
