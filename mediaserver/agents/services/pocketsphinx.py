"""Recognition by PocketSphinx: offline, without a key, for a few phrases or plain English."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audiocodecs import resample
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.speech_to_text import Transcript
from mediaserver.call import Frame


try:
    import pocketsphinx
except ImportError as error:
    raise ImportError(
        "PocketSphinxTranscription needs pocketsphinx: pip install 'mediaserver[offline]'",
        name="pocketsphinx",
    ) from error


LONGEST_UTTERANCE: Final = 30.0
"""Seconds of an utterance that are listened to."""

_RATE: Final = 16_000  # what the acoustic model was trained on
_MARGIN: Final = 0.3  # seconds of near silence before and after
_HISS: Final = 0.05  # of the loudness of speech

_UNSPOKEN: Final = re.compile(r"[^\w\s']|_")


class PocketSphinxTranscription:
    """Speech to text by PocketSphinx and its model of US English; a `SpeechToText`.

    With `phrases` it recognises one of them an utterance, and returns it as it was given, or
    nothing for anything else: phrases of three syllables or more are told apart well, and seldom
    found in a cough; "no" and "stop" are not. Without, it writes down any English, badly.

    There are no partial transcripts: the beginning of a cough sounds like the beginning of some
    phrase. An utterance takes one to three hundredths of its length once it is over, in a thread.
    The library keeps Python's lock meanwhile: for about 30 ms an utterance nothing else runs in the
    process, and every call's audio waits. So this is for trying things, and for few calls at once.

    Args:
        phrases: all that callers may say, in words that the dictionary has.

    Raises:
        ValueError: a phrase has a word that is not in the dictionary, or none at all.

    """

    def __init__(self, phrases: Iterable[str] | None = None) -> None:
        self._phrases = None if phrases is None else _by_words(phrases)
        # It takes 0.2 s to load and 30 MB, so there is one, and utterances take their turns.
        self._lock = threading.Lock()
        options = {} if self._phrases is None else {"lm": None}
        self._decoder = pocketsphinx.Decoder(samprate=_RATE, loglevel="FATAL", **options)
        if self._phrases is not None:
            self._restrict(self._phrases)

    async def prewarm(self) -> None:
        """Do nothing: the model was loaded when this was made."""

    async def transcribe(self, speech: AsyncIterator[Frame]) -> AsyncIterator[Transcript]:
        """Yield one final transcript, when the utterance is over; its text may be empty.

        Raises:
            ServiceError: the recogniser failed.

        """
        frames: list[Frame] = []
        seconds = 0.0
        async for frame in speech:
            if seconds < LONGEST_UTTERANCE:
                frames.append(frame)
            seconds += frame.seconds
        loop = asyncio.get_running_loop()
        try:
            text = await loop.run_in_executor(None, self._recognise, frames)
        except RuntimeError as error:
            raise ServiceError("pocketsphinx", str(error)) from error
        yield Transcript(text, final=True, seconds=seconds)

    def _restrict(self, phrases: dict[str, str]) -> None:
        for words, phrase in phrases.items():
            for word in words.split():
                if self._decoder.lookup_word(word) is None:
                    raise ValueError(
                        f"the word {word!r} of the phrase {phrase!r} is not in the dictionary of "
                        "US English; numbers are written as words"
                    )
        choices = " | ".join(phrases)
        grammar = f"#JSGF V1.0; grammar phrases; public <phrase> = {choices};"
        self._decoder.add_jsgf_string("phrases", grammar)
        self._decoder.activate_search("phrases")

    def _recognise(self, frames: list[Frame]) -> str:
        samples = _as_recorded(frames)
        if not len(samples):
            return ""
        with self._lock:
            self._decoder.start_utt()
            try:
                # As a whole: its mean is taken out of all of it, whoever spoke before.
                self._decoder.process_raw(samples.tobytes(), full_utt=True)
            finally:
                self._decoder.end_utt()
            found: Any = self._decoder.hyp()
        words: str = found.hypstr if found else ""
        # The beginning of a phrase is what noise is taken for.
        return words if self._phrases is None else self._phrases.get(words, "")


def _by_words(phrases: Iterable[str]) -> dict[str, str]:
    """Return the phrases by their words, as the dictionary writes them."""
    if isinstance(phrases, str):
        raise ValueError(f"phrases must be a list of phrases, not the text {phrases!r}")
    by_words = {}
    for phrase in phrases:
        words = " ".join(_UNSPOKEN.sub(" ", phrase.lower().replace("’", "'")).split())  # noqa: RUF001
        if not words:
            raise ValueError(f"there is no word in the phrase {phrase!r}")
        by_words[words] = phrase
    if not by_words:
        raise ValueError("phrases must have at least one phrase; None recognises any English")
    return by_words


def _as_recorded(frames: list[Frame]) -> NDArray[np.int16]:
    """Return the audio as the acoustic model knows audio: at 16 kHz, and with noise up there.

    What a telephone leaves out above 4 kHz is absolute silence, which the model has never heard:
    a little hiss, the same for the same audio, is what makes words of it.
    """
    pieces = [
        resample(format.decode(b"".join(frame.payload for frame in alike)), format.rate, _RATE)
        for format, alike in groupby(frames, attrgetter("format"))
    ]
    if not pieces:
        return np.empty(0, np.int16)
    margin = np.zeros(round(_MARGIN * _RATE), np.int16)
    samples = np.concatenate([margin, *pieces, margin]).astype(np.float64)
    samples += _HISS * _loudness(samples) * np.random.default_rng(0).normal(0, 1, len(samples))
    recorded: NDArray[np.int16] = samples.clip(-32768, 32767).astype(np.int16)
    return recorded


def _loudness(samples: NDArray[np.float64]) -> float:
    """Return the root mean square of the louder 10 ms, and never none."""
    size = _RATE // 100
    blocks = samples[: len(samples) // size * size].reshape(-1, size)
    return max(20.0, float(np.percentile(np.sqrt(np.mean(np.square(blocks), axis=1)), 90)))
