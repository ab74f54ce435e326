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
        "PocketSphinxTranscription needs pocketsphinx: pip install '.[offline]'",
        name="pocketsphinx",
    ) from error


LONGEST_UTTERANCE: Final = 30.0
"""Seconds of an utterance that are recognised; the rest is ignored."""

_RATE: Final = 16_000  # what the acoustic model was trained on
_MARGIN: Final = 0.3  # seconds of near silence before and after
_HISS: Final = 0.05  # of the loudness of speech

_UNSPOKEN: Final = re.compile(r"[^\w\s']|_")


class PocketSphinxTranscription:
    """A `SpeechToText` that recognises with PocketSphinx and its model of US English.

    With `phrases` it recognises one phrase in an utterance and returns it as it was given; for
    anything else it returns no words. Phrases of three syllables or more are recognised reliably
    and seldom found in a cough; "no" and "stop" are not. Without `phrases` it transcribes any
    English, badly.

    There are no partial transcripts, because the beginning of a cough sounds like that of some
    phrase. When an utterance is over, its recognition takes 1 to 3 % of its length, in a thread.
    The library holds Python's global lock meanwhile: for about 30 ms an utterance nothing else runs
    in the process, and the audio of every call waits. So use it for trials and for a few calls.

    Args:
        phrases: everything that callers may say, in words of the dictionary.

    Raises:
        ValueError: a phrase has a word that is not in the dictionary, or has no word.

    """

    def __init__(self, phrases: Iterable[str] | None = None) -> None:
        self._phrases = None if phrases is None else _by_words(phrases)
        # A decoder takes 0.2 s to load and 30 MB, so utterances share one.
        self._lock = threading.Lock()
        options = {} if self._phrases is None else {"lm": None}
        self._decoder = pocketsphinx.Decoder(samprate=_RATE, loglevel="FATAL", **options)
        if self._phrases is not None:
            self._restrict(self._phrases)

    async def prewarm(self) -> None:
        """Do nothing: the model is loaded already."""

    async def transcribe(self, speech: AsyncIterator[Frame]) -> AsyncIterator[Transcript]:
        """Yield one final transcript when the utterance is over. Its text may be empty.

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
                # In one piece: its own mean is subtracted, and not that of the last speaker.
                self._decoder.process_raw(samples.tobytes(), full_utt=True)
            finally:
                self._decoder.end_utt()
            found: Any = self._decoder.hyp()
        words: str = found.hypstr if found else ""
        # Noise is recognised as the beginning of a phrase.
        return words if self._phrases is None else self._phrases.get(words, "")


def _by_words(phrases: Iterable[str]) -> dict[str, str]:
    """Return the phrases by their words, in the spelling of the dictionary."""
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
    """Return the audio as the acoustic model expects it: at 16 kHz, with some noise above 4 kHz.

    Telephone audio has digital silence above 4 kHz, for which the model was not trained. With a
    little hiss, the same for the same audio, it recognises the words.
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
    """Return the root mean square of the louder blocks of 10 ms, at least 20."""
    size = _RATE // 100
    blocks = samples[: len(samples) // size * size].reshape(-1, size)
    return max(20.0, float(np.percentile(np.sqrt(np.mean(np.square(blocks), axis=1)), 90)))
