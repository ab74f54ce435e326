"""The person's end of a line: speaking, listening, keys, and putting the phone down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from audiocodecs import AudioFormat, Samples, resample
from mediaserver.sandbox.audio.keys import Key, Keypad, Stretch, check_digits
from mediaserver.sandbox.audio.speech import SpeechDetector, Spells
from mediaserver.sandbox.audio.voice import CallerVoice
from mediaserver.sandbox.errors import CallEnded


TURN_PAUSE = 0.6
"""Seconds without a sound that the other side may leave within one turn."""

# A time this close (in seconds) has been reached: ticks are sums of floats.
_TOLERANCE = 1e-6


class HandsetLine(Protocol):
    """What a handset needs of the line that it is on."""

    @property
    def time(self) -> float:
        """Seconds since the call was answered."""

    @property
    def ended_by(self) -> str | None:
        """Who ended the call, None while it is up."""

    def pressed(self, digit: str) -> None:
        """Tell everyone who listens that a key was pressed."""

    def hang_up(self, by: str = ...) -> None:
        """End the call."""


class Handset:
    """What a person can do on the phone, and notice.

    The other side is noticed by its sound alone: silence that is sent as audio is silence.
    All times are seconds since the call was answered.

    Args:
        format: L16 at the rate of the line.
        line: The line this is the end of.

    Attributes:
        keys: Keys that the person pressed.
        digits_heard: Digits that the platform, or a stream, sent to the person.

    """

    def __init__(self, format: AudioFormat, line: HandsetLine) -> None:
        self.format = format
        self.keys: list[Key] = []
        self.digits_heard: list[Key] = []
        self._line = line
        self._voice = CallerVoice(format, keep_audio=False)
        self._detector = SpeechDetector(format)
        self._heard = Spells(round(TURN_PAUSE * format.rate))
        # Samples heard so far, sound or silence.
        self._position = 0
        self._keypad = Keypad()
        # Conditions looked at on every tick, and who waits for them.
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @property
    def time(self) -> float:
        """Seconds since the call was answered; stands still once it has ended."""
        return self._line.time

    @property
    def speaking(self) -> bool:
        """Whether something is still to be said."""
        return self._voice.speaking

    @property
    def said(self) -> list[Stretch]:
        """When the person spoke, or will with what there is to say."""
        return self._voice.utterances

    @property
    def heard(self) -> list[Stretch]:
        """The turns of the other side; a pause of less than `TURN_PAUSE` does not end one."""
        rate = self.format.rate
        return [(start / rate, end / rate) for start, end in self._heard.spells]

    def say(self, samples: Samples, rate: int | None = None) -> None:
        """Say `samples` (`int16[n]`) after what is being said.

        Args:
            samples: Mono audio.
            rate: Its sample rate in Hz; the rate of the line if left out.

        Raises:
            AudioError: The samples are not mono int16, or the rate is unknown.
            CallEnded: The call has ended.

        """
        self._require_call()
        if rate is not None and rate != self.format.rate:
            samples = resample(samples, rate, self.format.rate)
        self._voice.say(self.format.encode(samples))

    def press(self, digits: str) -> None:
        """Press keys: the first at once, each following one 0.1 s later.

        Raises:
            ValueError: A digit is not one of `0`-`9`, `*`, `#`, `A`-`D`.
            CallEnded: The call has ended.

        """
        check_digits(digits)
        self._require_call()
        self._keypad.press(digits, self.time)
        self._press_keys()

    def hang_up(self) -> None:
        """Put the phone down. Does nothing if the call has ended."""
        self._line.hang_up("person")

    async def wait(self, seconds: float) -> None:
        """Wait so long.

        Raises:
            CallEnded: The call ended first.

        """
        until = self.time + seconds
        await self._until(lambda: self.time >= until - _TOLERANCE)

    async def wait_spoken(self) -> None:
        """Wait until everything has been said and every key pressed.

        Raises:
            CallEnded: The call ended first.

        """
        await self._until(lambda: not self._voice.speaking and not self._keypad)

    async def wait_for_speech(self, seconds: float = 0.0, *, since: float | None = None) -> None:
        """Wait until the other side has been speaking for `seconds` in one turn.

        Args:
            seconds: How long it must have been speaking; 0 waits for its first sound.
            since: Only turns count that last beyond this time; now if left out.

        Raises:
            CallEnded: The call ended first.

        """
        since = self.time if since is None else since

        def spoken() -> bool:
            turns = self._heard.spells
            if not turns:
                return False
            start, end = (sample / self.format.rate for sample in turns[-1])
            return end > since + _TOLERANCE and end - start >= seconds - _TOLERANCE

        await self._until(spoken)

    async def wait_for_silence(self, seconds: float) -> None:
        """Wait until nothing has been heard for `seconds`, counted from now at the earliest.

        Raises:
            CallEnded: The call ended first.

        """
        asked = self.time

        def silent() -> bool:
            turns = self._heard.spells
            last = turns[-1][1] / self.format.rate if turns else asked
            return self.time - max(asked, last) >= seconds - _TOLERANCE

        await self._until(silent)

    async def wait_ended(self) -> None:
        """Wait until the call has ended, whoever ends it."""
        try:
            await self._until(lambda: False)
        except CallEnded:
            return

    def speak_frame(self, samples: int) -> Samples | None:
        """Return the next `samples` of what the person says, None for silence. For the line."""
        speaking = self._voice.speaking
        payload = self._voice.take(samples * self.format.sample_bytes)
        return self.format.decode(payload) if speaking else None

    def hear_frame(self, frame: Samples | None, samples: int) -> None:
        """Take what is heard for `samples`, None for silence, and go on by it. For the line."""
        if frame is not None:
            payload = self.format.encode(frame)
            for start, end in self._detector.spans(payload):
                first, last = start // self.format.sample_bytes, end // self.format.sample_bytes
                self._heard.add(self._position + first, self._position + last)
        self._position += samples
        if self._keypad:
            self._press_keys()
        if self._waiters:
            self._wake()

    def hear_digits(self, digits: str) -> None:
        """Take digits that are sent to the person. For the line."""
        time = self.time
        self.digits_heard.extend(Key(time, digit) for digit in digits)

    def end(self) -> None:
        """Tell everyone who waits that the call has ended. For the line."""
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(CallEnded("the call has ended"))
        self._waiters.clear()
        self._keypad.clear()

    def _press_keys(self) -> None:
        for digit in self._keypad.due(self.time):
            self.keys.append(Key(self.time, digit))
            self._line.pressed(digit)

    async def _until(self, reached: Callable[[], bool]) -> None:
        self._require_call()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((reached, waiter))
        await waiter

    def _wake(self) -> None:
        waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        for reached, waiter in self._waiters:
            if waiter.done():
                continue
            if reached():
                waiter.set_result(None)
            else:
                waiting.append((reached, waiter))
        self._waiters = waiting

    def _require_call(self) -> None:
        if self._line.ended_by is not None:
            raise CallEnded("the call has ended")
