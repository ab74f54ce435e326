"""The person's end of a line: speaking, listening, keys, and putting the phone down."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Protocol

from audiocodecs import AudioFormat, Samples, resample
from mediaserver.sandbox.audio.keys import Key, Keypad, Stretch, check_digits
from mediaserver.sandbox.audio.playback import TOLERANCE
from mediaserver.sandbox.audio.speech import SpeechDetector, Spells
from mediaserver.sandbox.audio.voice import CallerVoice
from mediaserver.sandbox.audio.waits import (
    WITHIN,
    Reached,
    Waits,
    first_silence,
    last_heard,
    reached_at,
)
from mediaserver.sandbox.errors import CallEnded


TURN_PAUSE = 0.6
"""Seconds without a sound that the other side may leave within one turn."""


class HandsetLine(Protocol):
    """What a handset uses of its line."""

    @property
    def time(self) -> float:
        """Seconds since the call was answered."""

    @property
    def ended_by(self) -> str | None:
        """Who ended the call, None while it is up."""

    def pressed(self, digit: str) -> None:
        """Pass a key on to the listeners."""

    def hang_up(self, by: str = ...) -> None:
        """End the call."""


class Handset:
    """What a person on the phone can do and hear.

    Only sound counts as speech of the other side: silence that is sent as audio does not.
    All times are seconds since the call was answered.

    Args:
        format: L16 at the rate of the line.
        line: The line whose end this is.

    Attributes:
        keys: Keys that the person pressed.
        digits_heard: Digits that the platform, or a stream, sent to the person.
        on_words: Called with what the person begins to say, where it is known.
        microphone: Returns the next 20 ms that are said into it, at the rate of the line, or None
            for silence; called on every tick on which nothing given to `say` is being said.
        earpiece: Called on every tick with the 20 ms that the person hears from now on, None for
            silence.

    """

    def __init__(self, format: AudioFormat, line: HandsetLine) -> None:
        self.format = format
        self.keys: list[Key] = []
        self.digits_heard: list[Key] = []
        self.on_words: Callable[[str], object] = lambda _: None
        self.microphone: Callable[[], Samples | None] = lambda: None
        self.earpiece: Callable[[Samples | None], object] = lambda _: None
        self._line = line
        self._voice = CallerVoice(format, keep_audio=False)
        self._detector = SpeechDetector(format)
        self._heard = Spells(round(TURN_PAUSE * format.rate))
        # Samples heard so far, sound or silence.
        self._position = 0
        self._keypad = Keypad()
        self._waits = Waits(self._situation)

    @property
    def time(self) -> float:
        """Seconds since the call was answered; stands still once it has ended."""
        return self._line.time

    @property
    def speaking(self) -> bool:
        """Whether some audio is still to be said."""
        return self._voice.speaking

    @property
    def said(self) -> list[Stretch]:
        """When the person has spoken, or will speak with the audio still to be said."""
        return self._voice.utterances

    @property
    def heard(self) -> list[Stretch]:
        """The turns of the other side; a pause of less than `TURN_PAUSE` does not end one."""
        rate = self.format.rate
        return [(start / rate, end / rate) for start, end in self._heard.spells]

    def say(self, samples: Samples, rate: int | None = None, *, words: str = "") -> None:
        """Say `samples` (`int16[n]`) after everything else that is still to be said.

        Args:
            samples: Mono audio.
            rate: Its sample rate in Hz; the rate of the line if left out.
            words: What is said, for `on_words`.

        Raises:
            AudioError: The samples are not mono int16, or the rate is unknown.
            CallEnded: The call has ended.

        """
        self._require_call()
        if rate is not None and rate != self.format.rate:
            samples = resample(samples, rate, self.format.rate)
        self._voice.say(self.format.encode(samples))
        if words:
            self.on_words(words)

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

    @property
    def waiting(self) -> bool:
        """Whether something is waited for."""
        return bool(self._waits)

    async def wait(self, seconds: float) -> None:
        """Wait for `seconds`.

        Raises:
            CallEnded: The call ended first.

        """
        until = self.time + seconds
        await self._until(f"the time {until:.2f} s", reached_at(until), math.inf)

    async def wait_spoken(self, *, within: float = WITHIN) -> None:
        """Wait until everything has been said and every key pressed.

        Args:
            within: Seconds that this may take beyond the length of the audio still to be said.

        Raises:
            WaitTimeoutError: There was still something to say, or to press.
            CallEnded: The call ended first.

        """

        def spoken(now: float) -> float | None:
            return None if self._voice.speaking or self._keypad else now

        limit = max(0.0, self._voice.ends - self.time) + within
        await self._until("the person to have said and pressed everything", spoken, limit)

    async def wait_for_speech(
        self, seconds: float = 0.0, *, since: float | None = None, within: float = WITHIN
    ) -> None:
        """Wait until the other side has been speaking for `seconds` in one turn.

        Args:
            seconds: How long it must have been speaking; 0 waits for its first sound.
            since: Only turns count that last beyond this time; now if left out.
            within: Seconds in which that speech must begin.

        Raises:
            WaitTimeoutError: It did not speak in time.
            CallEnded: The call ended first.

        """
        since = self.time if since is None else since

        def spoken(now: float) -> float | None:
            turns = self.heard[-1:]
            long = any(
                end > since + TOLERANCE and end - start >= seconds - TOLERANCE
                for start, end in turns
            )
            return now if long else None

        await self._until(f"{seconds:g} s of speech", spoken, within + seconds)

    async def wait_for_silence(
        self, seconds: float, *, after: float | None = None, within: float = WITHIN
    ) -> None:
        """Wait until nothing has been heard for `seconds`.

        Args:
            seconds: How long the silence must last.
            after: Where the silence may begin at the earliest; now if left out.
            within: Seconds in which the silence must begin.

        Raises:
            WaitTimeoutError: There was no such silence in time.
            CallEnded: The call ended first.

        """
        after = self.time if after is None else after
        await self._until(
            f"{seconds:g} s of silence after {after:.2f} s",
            lambda now: first_silence(self.heard, seconds, after=after, now=now),
            within + seconds,
        )

    async def wait_ended(self, *, within: float = WITHIN) -> None:
        """Wait until the call has ended, by either side.

        Args:
            within: Seconds in which it must end; `math.inf` waits as long as it lasts.

        Raises:
            WaitTimeoutError: It has not ended.

        """
        with contextlib.suppress(CallEnded):
            await self._until("the call to end", lambda _: None, within)

    def speak_frame(self, samples: int) -> Samples | None:
        """Return the next `samples` of the person's voice, None for silence. For the line."""
        if not self._voice.speaking and (live := self.microphone()) is not None:
            self._voice.say(self.format.encode(live))
        speaking = self._voice.speaking
        payload = self._voice.take(samples * self.format.sample_bytes)
        return self.format.decode(payload) if speaking else None

    def hear_frame(self, frame: Samples | None, samples: int) -> None:
        """Hear a frame of `samples`, None for silence, and act on the new time. For the line."""
        if frame is not None:
            payload = self.format.encode(frame)
            for start, end in self._detector.spans(payload):
                first, last = start // self.format.sample_bytes, end // self.format.sample_bytes
                self._heard.add(self._position + first, self._position + last)
        self._position += samples
        if self._keypad:
            self._press_keys()
        if self._waits:
            self._waits.look(self.time)

    def hear_digits(self, digits: str) -> None:
        """Note digits that are sent to the person. For the line."""
        time = self.time
        self.digits_heard.extend(Key(time, digit) for digit in digits)

    def end(self) -> None:
        """Fail everything that is waited for: the call has ended. For the line."""
        self._waits.end()
        self._keypad.clear()

    def _press_keys(self) -> None:
        for digit in self._keypad.due(self.time):
            self.keys.append(Key(self.time, digit))
            self._line.pressed(digit)

    async def _until(self, what: str, reached: Reached, limit: float) -> None:
        if self._line.ended_by is not None:
            raise self._waits.ended(what)
        await self._waits.until(what, reached, now=self.time, limit=limit)

    def _situation(self) -> str:
        ended_by = self._line.ended_by
        state = "is at" if ended_by is None else "ended at"
        by = "" if ended_by is None else f", by the {ended_by}"
        heard = last_heard("the other side", self.heard)
        return f"the call {state} {self.time:.2f} s{by}; {heard}"

    def _require_call(self) -> None:
        if self._line.ended_by is not None:
            raise CallEnded(self._situation())
