"""A person whose voice comes from outside the sandbox, and whose ear is outside: in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from audiocodecs import Samples
from mediaserver.sandbox.audio.background_noise import BackgroundNoise
from mediaserver.sandbox.audio.handset import Handset
from mediaserver.sandbox.audio.jitter_buffer import JitterBuffer
from mediaserver.sandbox.errors import NotInProgressError
from mediaserver.sandbox.people.person import DecidePickup, Person
from mediaserver.sandbox.wire.network import StreamNetwork


LIVE_RATE: Final = 16_000
"""Sample rate of what is said and heard, in Hz: that of the lines of the exchange."""

_SILENCE: Final[Samples] = np.zeros(LIVE_RATE // 50, np.int16)
_SILENCE.flags.writeable = False


class LivePerson:
    """A person in one call, whose voice and ear are outside.

    What is said comes at its own pace, through a `JitterBuffer`; what is heard goes out on each
    tick of the line.

    Attributes:
        hear: Called with each 20 ms that the person hears, `int16[320]` at 16 kHz, with silence as
            well.
        buffer: What evens out when the voice comes.
        network: What the messages of the call's streams meet on their way.
        noise: What sounds around the person, None for nothing.
        silent: Whether nothing is heard of what the person says; the noise is.

    """

    def __init__(self) -> None:
        self.hear: Callable[[Samples], object] = lambda _: None
        self.network = StreamNetwork()
        self.noise: BackgroundNoise | None = None
        self.silent = False
        self._on_hold = False
        self.buffer = JitterBuffer(LIVE_RATE)
        self._handset: Handset | None = None

    def person(self, pick_up: DecidePickup | None = None) -> Person:
        """Return the person to place a call with.

        Args:
            pick_up: Decides while the phone rings whether a call to this person is answered; a
                call from this person needs no decision.

        """
        return Person(self._take_handset, pick_up=pick_up, network=self.network)

    @property
    def on_hold(self) -> bool:
        """Whether the person has put the call on hold: neither side hears the other."""
        return self._on_hold

    def speak(self, samples: Samples) -> None:
        """Say `samples`, `int16[n]` at 16 kHz. Before the call is answered nothing is heard."""
        if self._handset is not None:
            self.buffer.put(samples)

    def hold(self, on: bool) -> None:
        """Put the call on hold, or take it back.

        Raises:
            NotInProgressError: The call has not been answered, or is over.

        """
        self._require_handset()
        self._on_hold = on

    def press(self, digits: str) -> None:
        """Press keys, 0.1 s apart.

        Raises:
            NotInProgressError: The call has not been answered.
            CallEnded: It is over.
            ValueError: A digit is not one of `0`-`9`, `*`, `#`, `A`-`D`.

        """
        self._require_handset().press(digits)

    async def _take_handset(self, handset: Handset) -> None:
        if handset.format.rate != LIVE_RATE:
            raise ValueError(
                f"a live person needs a line of {LIVE_RATE} Hz, not {handset.format.rate} Hz"
            )
        handset.microphone = self._say
        handset.earpiece = self._heard
        self._handset = handset

    def _require_handset(self) -> Handset:
        if self._handset is None:
            raise NotInProgressError("the call has not been answered yet")
        return self._handset

    def _say(self) -> Samples | None:
        """Return the next 20 ms."""
        voice = self.buffer.take()
        if self._on_hold:
            return None
        if self.silent:
            voice = None
        if self.noise is None:
            return voice
        noise = self.noise.take()
        if voice is None:
            return noise
        return (voice.astype(np.int32) + noise).clip(-32_768, 32_767).astype(np.int16)

    def _heard(self, frame: Samples | None) -> None:
        self.hear(_SILENCE if frame is None or self._on_hold else frame)
