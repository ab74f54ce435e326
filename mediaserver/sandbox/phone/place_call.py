"""One call from options to files: what `mediaserver call` does."""

from __future__ import annotations

import asyncio
import math
import re
import ssl as tls
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from audiocodecs import MULAW_8K, AudioFormat, Wav, read_wav, write_wav
from mediaserver.sandbox.audio.keys import check_digits
from mediaserver.sandbox.errors import CallEnded
from mediaserver.sandbox.phone.phone import LONGEST_CALL, Phone
from mediaserver.sandbox.phone.report import CallReport
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour


GREETING_WITHIN = 10.0
"""Seconds that a caller waits for a greeting."""

GREETED_AFTER = 0.8
"""Seconds without a sound after which the greeting is over."""


@dataclass(frozen=True, slots=True)
class KeyPress:
    """Keys that the caller presses at `time` seconds after the start of the stream."""

    digits: str
    time: float

    def __post_init__(self) -> None:
        check_digits(self.digits)
        if not 0 <= self.time < float("inf"):
            raise ValueError(f"keys are pressed at 0 s or later, not at {self.time!r} s")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `"3@2.5"`: key 3 after 2.5 s.

        Raises:
            ValueError: The text is not of this form.

        """
        match = re.fullmatch(r"\s*(\S+?)@(\d+(?:\.\d*)?|\.\d+)s?\s*", text)
        if match is None:
            raise ValueError(f"key presses are written KEYS@SECONDS, such as 3@2.5, not {text!r}")
        return cls(match[1].upper(), float(match[2]))


@dataclass(frozen=True, slots=True)
class CallOptions:
    """Everything about one call.

    Attributes:
        url: Where to call.
        audio: WAV file of what the caller says, of any rate; several channels become one.
        after_greeting: Whether the caller lets the agent greet first: speaks when it has spoken and
            finished, or has said nothing for `GREETING_WITHIN`.
        record: WAV file to write: caller left, agent right.
        report: JSON file to write.
        presses: Keys to press.
        format: Format of the stream.
        seconds: Longest call, in the call's own time; `LONGEST_CALL`, four hours, if left out.
        silence: The call ends when the caller has said everything and the agent has been silent
            for this many seconds.
        misbehaviour: What the phone does wrong.
        extra_headers: What `extraHeaders` of `<Stream>` would set.
        headers: HTTP headers of the WebSocket request.
        ssl: TLS settings for `wss://`; certificates are verified if left out.

    """

    url: str
    audio: Path | None = None
    record: Path | None = None
    report: Path | None = None
    after_greeting: bool = False
    presses: tuple[KeyPress, ...] = ()
    format: AudioFormat = MULAW_8K
    seconds: float | None = None
    silence: float = 2.0
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    ssl: tls.SSLContext | None = None


async def place_call(
    options: CallOptions,
    *,
    watch: Callable[[Phone], object] | None = None,
    epoch: float | None = None,
) -> CallReport:
    """Make one call, write the files asked for, and return the report.

    The call ends when the caller has said and pressed everything and the agent has then been
    silent for a while, when the server ends it, or after its longest time. Cancelling hangs up,
    and the files are written all the same.

    Args:
        options: Everything about the call.
        watch: Called with the phone once the call is taken, to show progress or to join in.
        epoch: Unix time of the start of the stream; now if left out.

    Raises:
        CallFailed: The server did not take the call.
        AudioError: The audio file cannot be used.
        OSError: A file cannot be read or written.
        ValueError: An option is one that Plivo would not take.

    """
    wav = None if options.audio is None else await asyncio.to_thread(read_wav, options.audio)
    phone = Phone(
        options.url,
        audio=None if wav is None or options.after_greeting else wav.mono(),
        audio_rate=None if wav is None else wav.rate,
        format=options.format,
        extra_headers=options.extra_headers,
        headers=options.headers,
        ssl=options.ssl,
        epoch=time.time() if epoch is None else epoch,
        misbehaviour=options.misbehaviour,
    )
    await phone.start()
    try:
        if watch is not None:
            watch(phone)
        await _talk(phone, options, wav if options.after_greeting else None)
    finally:
        # Also when the call is broken off: what was heard until then is kept.
        await phone.hang_up()
        await asyncio.to_thread(_write_files, phone, options)
    return phone.report()


async def _talk(phone: Phone, options: CallOptions, answer: Wav | None) -> None:
    try:
        longest = LONGEST_CALL if options.seconds is None else options.seconds
        async with asyncio.timeout(longest):
            await asyncio.gather(_press(phone, options.presses), _answer(phone, answer))
            await phone.wait_spoken(within=math.inf)
            await phone.wait_for_silence(options.silence, within=math.inf)
    except (CallEnded, TimeoutError):
        pass


async def _press(phone: Phone, presses: Sequence[KeyPress]) -> None:
    for press in sorted(presses, key=lambda press: press.time):
        await phone.wait_until(press.time)
        phone.press(press.digits)


async def _answer(phone: Phone, answer: Wav | None) -> None:
    """Let the agent greet, and say something then."""
    if answer is None:
        return
    with suppress(TimeoutError):
        await phone.wait_for_audio(within=GREETING_WITHIN)
    await phone.wait_for_silence(GREETED_AFTER, within=math.inf)
    phone.say(answer.mono(), answer.rate)


def _write_files(phone: Phone, options: CallOptions) -> None:
    if options.record is not None:
        write_wav(options.record, phone.recording(), options.format.rate)
    if options.report is not None:
        options.report.write_text(phone.report().to_json() + "\n", "utf-8")
