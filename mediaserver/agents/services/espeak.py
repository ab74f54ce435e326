"""Speech from eSpeak NG: offline, without a key, with exact word marks."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from audiocodecs import AudioFormat, resample
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.text_to_speech import WordMark
from mediaserver.call import Frame


try:
    from mediaserver.espeak import (
        DEFAULT_VOICE,
        WORDS_PER_MINUTE,
        MarkedSpeech,
        SpeechError,
        speak_marked,
    )
except ImportError as error:
    raise ImportError(
        f"EspeakSpeech needs {error.name}: pip install '.[offline]'", name=error.name
    ) from error


FRAME_SECONDS: Final = 0.2

CACHE_SECONDS: Final = 600.0
"""Seconds of speech that are kept in case it is said again: 5 MB of mu-law."""

_SILENT: Final = 150  # quieter samples are a pause; eSpeak NG's pauses are near zero

_Items = tuple[Frame | WordMark, ...]


class EspeakSpeech:
    """A `TextToSpeech` that synthesises with eSpeak NG, in a thread.

    A sentence takes some milliseconds; a process synthesises one at a time. The latest ten minutes
    of speech are kept, so that a greeting is synthesised once.

    Args:
        voice: a language, such as ``en-us`` or ``fr``. A plus sign and a name choose a variant of
            its voice, such as ``en-us+f3``.
        words_per_minute: the speed, 80 to 450.
        pitch: the pitch, 0 to 100.

    Raises:
        SpeechError: the voice does not exist, or the library cannot be used.
        ValueError: the speed or the pitch is out of range.

    """

    def __init__(
        self,
        voice: str = DEFAULT_VOICE,
        words_per_minute: int = WORDS_PER_MINUTE,
        pitch: int = 50,
    ) -> None:
        self.voice = voice
        self.words_per_minute = words_per_minute
        self.pitch = pitch
        self._kept: OrderedDict[tuple[str, AudioFormat], _Items] = OrderedDict()
        self._kept_seconds = 0.0
        self._say("")

    async def prewarm(self) -> None:
        """Do nothing: the library is loaded already."""

    async def speak(self, text: str, format: AudioFormat) -> AsyncIterator[Frame | WordMark]:
        """Yield `text` as speech in `format`, 200 ms at a time, with the marks of its words.

        The beginning of each word is marked as well as its end, so that a pause belongs to neither.

        Raises:
            ServiceError: the text cannot be spoken.

        """
        kept = self._kept.get((text, format))
        if kept is None:
            loop = asyncio.get_running_loop()
            try:
                kept = await loop.run_in_executor(None, self._make, text, format)
            except SpeechError as error:
                raise ServiceError("espeak", str(error)) from error
            self._keep(text, format, kept)
        else:
            self._kept.move_to_end((text, format))
        for item in kept:
            yield item

    def _say(self, text: str) -> MarkedSpeech:
        return speak_marked(
            text, self.voice, words_per_minute=self.words_per_minute, pitch=self.pitch
        )

    def _make(self, text: str, format: AudioFormat) -> _Items:
        speech = self._say(text)
        samples = resample(speech.wav.samples, speech.wav.rate, format.rate)
        marks = list(_marks(text, speech))
        size = round(FRAME_SECONDS * format.rate)
        items: list[Frame | WordMark] = []
        for start in range(0, len(samples), size):
            until = (start + size) / format.rate
            while marks and marks[0].seconds < until:
                items.append(marks.pop(0))
            items.append(Frame(format.encode(samples[start : start + size]), format, "outbound"))
        return (*items, *marks)

    def _keep(self, text: str, format: AudioFormat, items: _Items) -> None:
        if (text, format) in self._kept:  # synthesised twice at the same time
            return
        self._kept[text, format] = items
        self._kept_seconds += _seconds(items)
        while self._kept_seconds > CACHE_SECONDS:
            self._kept_seconds -= _seconds(self._kept.popitem(last=False)[1])


def _marks(text: str, speech: MarkedSpeech) -> Iterator[WordMark]:
    """Yield a mark for the beginning and for the end of each word."""
    loud = np.flatnonzero(np.abs(speech.wav.samples.astype(np.int32)) > _SILENT)
    times = loud / speech.wav.rate
    starts = [*((word.start, word.seconds) for word in speech.words), (len(text), np.inf)]
    for (start, seconds), (following, until) in pairwise(starts):
        yield WordMark(start, seconds)
        within = times[(times >= seconds) & (times < until)]
        if len(within):
            yield WordMark(start + len(text[start:following].rstrip()), float(within[-1]))


def _seconds(items: _Items) -> float:
    return sum(item.seconds for item in items if isinstance(item, Frame))
