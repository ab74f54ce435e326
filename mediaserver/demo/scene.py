"""What is said and done in the demo's call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Self

from audiocodecs import Wav
from mediaserver.agents import Parrot
from mediaserver.handler import Route, Routes
from mediaserver.sandbox import Phone
from mediaserver.sandbox.espeak import speak


AGENT_VOICE: Final = "en-us+f3"
CALLER_VOICE: Final = "en-gb-x-rp"

GREETING: Final = "Hello! I repeat what you say, until you press a key."
SENTENCE: Final = "I would like a table for two, tonight at eight, by the window if you can."
FAREWELL: Final = "Thank you. Goodbye!"

PAUSE: Final = 0.5
"""Seconds of quiet that tell the parrot, and the caller too, that the other has finished."""

KEY: Final = "5"
KEY_AFTER: Final = 1.2
"""Seconds into the reply after which the caller presses the key."""

TICK: Final = 0.02
"""Seconds of one of the phone's frames."""

Who = Literal["caller", "agent"]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something worth telling about the call.

    Attributes:
        time: Seconds after the start of the stream.
        who: Whose doing it is.
        label: What it is in two or three words, for the picture.
        text: The same in more words, for the timeline.
        words: What is said, if anything.

    """

    time: float
    who: Who
    label: str
    text: str
    words: str = ""


Tell = Callable[[Moment], object]


@dataclass(frozen=True, slots=True)
class Scene:
    """The clips that the two speak, and the caller's part.

    Attributes:
        greeting: What the agent says first.
        sentence: What the caller says, and cuts short when it is repeated.
        farewell: What the caller says then, and hears to its end.

    """

    greeting: Wav
    sentence: Wav
    farewell: Wav

    @classmethod
    def spoken(cls) -> Self:
        """Return the scene with synthesised voices.

        Raises:
            SpeechError: There is no speech to be had.

        """
        return cls(
            greeting=speak(GREETING, AGENT_VOICE),
            sentence=speak(SENTENCE, CALLER_VOICE),
            farewell=speak(FAREWELL, CALLER_VOICE),
        )

    @property
    def routes(self) -> Routes:
        """The agent's part, as a server takes it."""
        return Routes(Route(Parrot, settings={"greeting": self.greeting, "pause": PAUSE}))

    @property
    def seconds(self) -> float:
        """About how long the call takes."""
        spoken = self.greeting.seconds + self.sentence.seconds + 2 * self.farewell.seconds
        return spoken + KEY_AFTER + 5 * PAUSE

    async def perform(self, phone: Phone, tell: Tell) -> None:
        """Play the caller's part on a phone whose call has been taken, and hang up.

        Args:
            phone: The caller's phone.
            tell: Called with each moment, in order, once it is certain.

        Raises:
            CallEnded: The server ended the call.

        """
        began = await phone.wait_for_audio()
        tell(Moment(began, "agent", "greets", "greets", GREETING))
        await phone.wait_for_silence(PAUSE)
        tell(Moment(times(phone, "agent_silent")[-1], "agent", "greeting ends", "has finished"))

        began = await say(phone, self.sentence)
        tell(Moment(began, "caller", "speaks", "says", SENTENCE))
        began = await self._hear_reply(phone, tell)
        await phone.wait_until(began + KEY_AFTER)
        phone.press(KEY)
        pressed = phone.time
        tell(Moment(pressed, "caller", f"presses {KEY}", f"presses {KEY}"))
        await phone.wait_for_silence(PAUSE)
        ended = times(phone, "agent_silent")[-1]
        after = f"silent after {1000 * (ended - pressed):.0f} ms"
        cut_short = ended - began < self.sentence.seconds - PAUSE
        tell(Moment(ended, "agent", after, f"{after}, mid-sentence" if cut_short else after))

        began = await say(phone, self.farewell)
        tell(Moment(began, "caller", "speaks", "says", FAREWELL))
        await self._hear_reply(phone, tell)
        await phone.wait_for_silence(PAUSE)
        tell(Moment(times(phone, "agent_silent")[-1], "agent", "finishes", "has finished"))
        await phone.hang_up()
        tell(Moment(phone.time, "caller", "hangs up", "hangs up"))

    async def _hear_reply(self, phone: Phone, tell: Tell) -> float:
        """Finish speaking, and wait until the agent replies; return when it began to."""
        await phone.wait_spoken()
        ended = times(phone, "caller_silent")[-1]
        tell(Moment(ended, "caller", "pauses", "has finished"))
        began = await phone.wait_for_audio()
        after = f"repeats it after {1000 * (began - ended):.0f} ms"
        tell(Moment(began, "agent", after, after))
        return began


async def say(phone: Phone, clip: Wav) -> float:
    """Begin to say a clip into the phone, and return when the first of it was heard."""
    before = times(phone, "caller_speaks")
    phone.say(clip.samples, clip.rate)
    while (now := times(phone, "caller_speaks")) == before:
        await phone.wait_until(phone.time + TICK)
    return now[-1]


def times(phone: Phone, kind: str) -> list[float]:
    """Return when things of this kind have happened on the phone."""
    return [entry.time for entry in phone.events if entry.kind == kind]
