"""The demo's scene: what the agent and the caller say, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from audiocodecs import Wav
from mediaserver.agents.services import LanguageModel, SpeechToText, Text
from mediaserver.agents.services.pocketsphinx import PocketSphinxTranscription
from mediaserver.agents.services.scripted import ScriptedModel
from mediaserver.demo.agent import (
    CALLER_PHRASES,
    HOLD,
    RULES,
    AgentNotes,
    ClippedVoice,
    Receptionist,
)
from mediaserver.demo.moment import GOES_ON, INTERRUPTS, Moment, Tell
from mediaserver.espeak import speak
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import Phone


AGENT_VOICE: Final = "en-us+m7"
CALLER_VOICE: Final = "en-us+f2"

REQUEST: Final = "Hello. I would like a table for two, tonight at eight."
CHANGE: Final = "No, wait. Make that four."
NOD: Final = "Okay."
FAREWELL: Final = "Thank you. Goodbye!"

TOOL_CALL: Final = "find_table(two, eight)"
OFFER: Final = (
    "For two people at eight I have a table by the window and one in the garden if it stays dry."
)
ANSWER: Final = "Then I give you the big table in the garden for four people at eight."
"""What the agent does and says if it understands the caller."""

PAUSE: Final = 0.7
"""Seconds of silence after which the caller takes the agent to have finished."""

CUT_AFTER: Final = 2.3
"""Seconds into the first answer after which the caller interrupts."""

NOD_AFTER: Final = 1.4
"""Seconds into the second answer after which the caller says "Okay."."""

_TICK: Final = 0.02
"""Seconds of one of the phone's frames."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One performance: the agent's services, the caller's clips and the agent's notes.

    Attributes:
        request: The caller asks for a table.
        change: They change their mind in the middle of the answer.
        nod: They say "Okay." in the middle of the next answer, which is not an interruption.
        farewell: They say goodbye.
        voice: Speaks for the agent.
        speech_to_text: Understands for the agent.
        language_model: Thinks for the agent.
        notes: The agent notes what it does.

    """

    request: Wav
    change: Wav
    nod: Wav
    farewell: Wav
    voice: ClippedVoice
    speech_to_text: SpeechToText
    language_model: LanguageModel
    notes: AgentNotes = field(default_factory=AgentNotes)

    @classmethod
    def spoken(cls) -> Self:
        """Return the scene with synthesised voices.

        Raises:
            SpeechError: eSpeak NG or a voice is missing.

        """
        return cls(
            request=speak(REQUEST, CALLER_VOICE),
            change=speak(CHANGE, CALLER_VOICE),
            nod=speak(NOD, CALLER_VOICE),
            farewell=speak(FAREWELL, CALLER_VOICE),
            voice=ClippedVoice(AGENT_VOICE),
            speech_to_text=PocketSphinxTranscription(CALLER_PHRASES),
            language_model=ScriptedModel(RULES),
        )

    @property
    def routes(self) -> Routes:
        """The routes of the agent's server."""
        return Routes(Route(Receptionist, settings=self.settings))

    @property
    def settings(self) -> Mapping[str, object]:
        """The agent's settings."""
        return {
            "speech_to_text": self.speech_to_text,
            "language_model": self.language_model,
            "text_to_speech": self.voice,
            "notes": self.notes,
        }

    @property
    def seconds(self) -> float:
        """Approximate length of the call, in seconds."""
        caller = (self.request, self.change, self.nod, self.farewell)
        return sum(clip.seconds for clip in caller) + 17.4

    async def perform(self, phone: Phone, tell: Tell) -> None:
        """Play the caller's part on a phone whose call has been taken, until the agent hangs up.

        It waits as long as the call lasts; `hold_call` limits that.

        Args:
            phone: The caller's phone.
            tell: Called with each moment, in order.

        Raises:
            CallEnded: The server ended the call before its time.

        """
        caller = _Caller(phone, self.notes, tell)
        began = await phone.wait_for_audio(within=math.inf)
        caller.agent(began, "greets", "greets", Receptionist.greeting)
        await phone.wait_for_silence(PAUSE, within=math.inf)
        caller.agent(caller.agent_silent, "", "has finished")

        await caller.says(self.request, "asks", "asks", REQUEST)
        began = await caller.hears_reply("holds", "says", listens=0.5)
        hold = self.voice.clips.get(HOLD)
        answers = began + (hold.seconds if hold else 0.0)
        await phone.wait_until(answers + CUT_AFTER)
        caller.agent(answers, "answers", "answers", caller.agents_words(after=HOLD))

        await caller.interrupts(self.change, INTERRUPTS, "interrupts", CHANGE)
        await caller.hears_reply("answers", "answers", listens=NOD_AFTER)
        await caller.interrupts(self.nod, "nods", "says meanwhile", NOD)
        began = await phone.wait_for_audio(within=math.inf)
        caller.agent(began, GOES_ON, "goes on")
        await phone.wait_for_silence(PAUSE, within=math.inf)
        caller.agent(caller.agent_silent, "", "has finished")

        await caller.says(self.farewell, "says goodbye", "says", FAREWELL)
        await caller.hears_reply("says goodbye", "says", listens=0.5)
        await phone.wait_closed(within=math.inf)
        caller.agent(phone.time, "hangs up", "hangs up")


class _Caller:
    """The caller: speaks, listens, and reports each moment."""

    def __init__(self, phone: Phone, notes: AgentNotes, tell: Tell) -> None:
        self._phone = phone
        self._notes = notes
        self._tell = tell

    def tell(self, moment: Moment) -> None:
        """Report a moment, after the moments that the agent noted before it."""
        for each in self._notes.take(moment.time):
            self._tell(each)
        self._tell(moment)

    def agent(self, time: float, label: str, text: str, words: str = "") -> None:
        """Report something that the agent is heard to do."""
        self.tell(Moment(time, "agent", label, text, words))

    def caller(self, time: float, label: str, text: str, words: str = "") -> None:
        """Report something that the caller does."""
        self.tell(Moment(time, "caller", label, text, words))

    @property
    def agent_silent(self) -> float:
        """When the agent last fell silent."""
        return times(self._phone, "agent_silent")[-1]

    async def says(self, clip: Wav, label: str, text: str, words: str) -> float:
        """Begin to say a clip, and return when its first sound was heard."""
        before = times(self._phone, "caller_speaks")
        self._phone.say(clip.samples, clip.rate)
        while (now := times(self._phone, "caller_speaks")) == before:
            await self._tick()
        self.caller(now[-1], label, text, words)
        return now[-1]

    async def interrupts(self, clip: Wav, label: str, text: str, words: str) -> None:
        """Say a clip while the agent speaks, and report when the agent falls silent."""
        began = await self.says(clip, label, text, words)
        while not times(self._phone, "agent_silent") or self.agent_silent < began:
            await self._tick()
        after = f"silent after {1000 * (self.agent_silent - began):.0f} ms"
        self.agent(self.agent_silent, after, after)

    async def hears_reply(self, label: str, text: str, *, listens: float) -> float:
        """Finish speaking, hear `listens` seconds of the reply, and return when it began."""
        await self._phone.wait_spoken()
        ended = times(self._phone, "caller_silent")[-1]
        self.caller(ended, "", "has finished")
        began = await self._phone.wait_for_audio(within=math.inf)
        await self._phone.wait_until(began + listens)
        after = f"{text} after {1000 * (began - ended):.0f} ms"
        self.agent(began, label, after, self.agents_words())
        return began

    def agents_words(self, after: str = "") -> str:
        """Return what the agent is saying, from its notes."""
        own = [
            each.text
            for each in self._notes.messages
            if isinstance(each, Text) and each.role == "assistant"
        ]
        return own[-1].removeprefix(after).strip() if own else ""

    async def _tick(self) -> None:
        await self._phone.wait_until(self._phone.time + _TICK)


def times(phone: Phone, kind: str) -> list[float]:
    """Return the times of the phone's events of one kind."""
    return [entry.time for entry in phone.events if entry.kind == kind]
