"""Estimates when each word of a text is spoken, from its letters and the pauses in its audio.

A word takes time by its letters and digits. Pauses in the audio are matched with punctuation where
that fits, and the time between two matches is divided among the letters.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise, product
from operator import attrgetter
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mediaserver.agents.conversing.scripts import CLUSTER, IDEOGRAPHS, STOPS, UNSPACED
from mediaserver.call import Frame


SECONDS_PER_LETTER: Final = 0.066
"""Seconds that a letter takes in speech of ordinary speed, without pauses."""

# Where words are not parted by spaces, an ideograph counts as a word, or a letter with its vowels.
_WORD: Final = re.compile(
    rf"(?:[{IDEOGRAPHS}]|{CLUSTER})[^\w\s{IDEOGRAPHS}{UNSPACED}]*"
    rf"|[^\s\u200b{IDEOGRAPHS}{UNSPACED}]+"
)
_IDEOGRAPH: Final = re.compile(rf"[{IDEOGRAPHS}]")
_SYLLABLE: Final = re.compile(r"[aeiouyáéíóúàèìòùâêîôûäëïöüãõåæø]+")

# The time to say one of these, in letters.
_OF_IDEOGRAPH: Final = 3.0
_OF_DIGIT: Final = 7.0
# In these scripts vowels are not written, or a letter is a syllable; by eSpeak NG's voices.
_OF_LETTER: Final = {
    **dict.fromkeys(("ARABIC", "HEBREW", "SYRIAC"), 1.6),
    **dict.fromkeys(("DEVANAGARI", "BENGALI", "GUJARATI", "GURMUKHI"), 1.3),
    **dict.fromkeys(("THAI", "LAO", "KHMER"), 1.3),
    "ARMENIAN": 1.2,
    "ETHIOPIC": 2.2,
}
_OF_SPELLED_LETTER: Final = 3.5
_OF_SYLLABLE: Final = 0.25
_OF_SYMBOL: Final = {"$": 6.0, "€": 4.0, "£": 5.0, "%": 7.0, "&": 3.0, "@": 2.0, "+": 4.0}

_BLOCK: Final = 0.01
_QUIET: Final = 0.03  # of the loudness of speech: 30 dB less
_SHORTEST_PAUSE: Final = 0.1  # the closure of a p, t or k is shorter, most of the time

# Seconds of the pause at a mark, and the cost of assuming that there was none.
_PAUSES: Final = {
    **dict.fromkeys(f".!?…{STOPS}\n", (0.4, 3.0)),
    **dict.fromkeys(",;:—–，、；：،؛၊፣፤՝", (0.2, 0.7)),
}
_SILENT: Final = "".join(_PAUSES) + "\"'”’»)]}」』）】*_"
_COST_OF_UNEXPLAINED: Final = 8.0  # for each second of pause without punctuation
_SPREAD: Final = 0.04  # variance of the time that a second of words takes, in seconds squared
_LOOK_BACK: Final = 4

# Factors by which a voice may be faster or slower than before, and the cost of assuming each.
_PACES: Final = {1.0: 0.0, 0.92: 0.15, 1.09: 0.15, 0.84: 0.6, 1.19: 0.6}

_Match: TypeAlias = tuple[int, int]  # the numbers of pauses and of marks before it


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of a text, with the punctuation around it.

    Attributes:
        start: the index of its first character in the text.
        spoken_end: the index after its last character that is spoken.
        end: the index after the punctuation that follows it.
        begins: the length of speech before it, in letters.
        letters: the length of its speech, in letters.
        pause: the expected pause after it, in seconds; 0 for none.
        certainty: the cost of assuming that there was no pause.

    """

    start: int
    spoken_end: int
    end: int
    begins: float
    letters: float
    pause: float
    certainty: float


def spoken_words(text: str) -> list[SpokenWord]:
    """Return the words of `text`. A mark that stands alone belongs to the word before it."""
    words: list[SpokenWord] = []
    begins = 0.0
    for found in _WORD.finditer(text):
        letters = letters_in(found[0])
        pauses = [_PAUSES[mark] for mark in found[0][-3:] if mark in _PAUSES]
        pause, certainty = max(pauses, default=(0.0, 0.0))
        if letters:
            spoken_end = found.start() + len(found[0].rstrip(_SILENT))
            words.append(
                SpokenWord(
                    found.start(), spoken_end, found.end(), begins, letters, pause, certainty
                )
            )
            begins += letters
        elif words:
            pause, certainty = max((pause, certainty), (words[-1].pause, words[-1].certainty))
            words[-1] = replace(words[-1], end=found.end(), pause=pause, certainty=certainty)
    return words


def letters_in(word: str) -> float:
    """Return the length of a word's speech, in letters of ordinary words."""
    letters = [letter for letter in word if letter.isalpha()]
    digits = sum(map(str.isdigit, word))
    worth = sum(_OF_SYMBOL.get(mark, 0.0) for mark in word) + digits * _OF_DIGIT
    ideographs = len(_IDEOGRAPH.findall(word))
    if ideographs:
        return worth + ideographs * _OF_IDEOGRAPH
    spelled = len(letters) > 1 and "".join(letters).isupper() and (digits or len(letters) < 4)
    if spelled:
        return worth + len(letters) * _OF_SPELLED_LETTER
    if not letters:
        return worth
    signs = sum(unicodedata.category(sign)[0] == "M" for sign in word)
    each = _OF_LETTER.get(unicodedata.name(letters[0], "").split(" ")[0], 1.0)
    syllables = len(_SYLLABLE.findall(word.lower()))
    return worth + (len(letters) + signs) * each + _OF_SYLLABLE * syllables


@dataclass(frozen=True, slots=True)
class Voiced:
    """The stretches of a piece of audio that are speech.

    Attributes:
        stretches: the begin and end of each, in seconds; between them are pauses.

    """

    stretches: Sequence[tuple[float, float]]

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> Voiced:
        """Find the stretches; takes about a millisecond for ten seconds of audio."""
        loudness = [_loudness(list(alike)) for _, alike in groupby(frames, attrgetter("format"))]
        levels = np.concatenate(loudness) if loudness else np.empty(0)
        speech = np.percentile(levels, 90) if len(levels) else 0.0
        if speech == 0:
            return cls(())
        loud = np.flatnonzero(levels > _QUIET * speech)
        breaks = np.flatnonzero(np.diff(loud) * _BLOCK > _SHORTEST_PAUSE)
        firsts = loud[np.concatenate([[0], breaks + 1])] * _BLOCK
        lasts = (loud[np.concatenate([breaks, [len(loud) - 1]])] + 1) * _BLOCK
        return cls(tuple(zip(firsts.tolist(), lasts.tolist(), strict=True)))

    @property
    def seconds(self) -> float:
        """Seconds of speech, without the pauses."""
        return sum(end - start for start, end in self.stretches)

    def until(self, seconds: float) -> float:
        """Return the seconds of speech before a time in the audio."""
        return sum(max(0.0, min(end, seconds) - start) for start, end in self.stretches)

    def pauses(self) -> list[tuple[float, float]]:
        """Return for each pause the seconds of speech before it, and its length."""
        found, spoken = [], 0.0
        for (start, end), (following, _) in pairwise(self.stretches):
            spoken += end - start
            found.append((spoken, following - end))
        return found


def letters_spoken(
    words: Sequence[SpokenWord], voiced: Voiced, seconds: float, seconds_per_letter: float | None
) -> float:
    """Return how many letters of `words` have been spoken at a time in their audio.

    Args:
        words: the whole text, at least one word.
        voiced: the audio so far.
        seconds: the time, from the audio's first sample.
        seconds_per_letter: how fast the voice speaks; None if the audio is complete and shows it.

    """
    if not voiced.stretches:
        return 0.0
    if seconds_per_letter is None:
        pace = max(voiced.seconds, _BLOCK) / (words[-1].begins + words[-1].letters)
        anchors = _anchors(words, voiced, pace, complete=True)[1]
    else:
        # The pauses so far may show that the voice is faster or slower now.
        paces = [seconds_per_letter * each for each in _PACES]
        fits = [_anchors(words, voiced, pace, complete=False) for pace in paces]
        costs = [fit[0] + cost for fit, cost in zip(fits, _PACES.values(), strict=True)]
        best = costs.index(min(costs))
        pace, anchors = paces[best], fits[best][1]
    spoken = voiced.until(seconds)
    times, letters = zip((0.0, 0.0), *anchors, strict=True)
    if spoken > times[-1]:
        return float(letters[-1] + (spoken - times[-1]) / pace)
    return float(np.interp(spoken, times, letters))


def _anchors(
    words: Sequence[SpokenWord], voiced: Voiced, pace: float, *, complete: bool
) -> tuple[float, list[tuple[float, float]]]:
    """Return the best match of pauses with punctuation: its cost, and the places it fixes.

    A place is the seconds of speech before it and the letters spoken by then. The match is found by
    dynamic programming. Speech that takes longer or shorter than its letters has a cost, and so
    have a pause without punctuation and punctuation without a pause.
    """
    pauses = voiced.pauses()
    marks = [word for word in words[:-1] if word.pause]
    times = [0.0, *(spoken for spoken, _ in pauses)]
    letters = [0.0, *(mark.begins + mark.letters for mark in marks)]
    unexplained = np.cumsum([0.0, *(_COST_OF_UNEXPLAINED * length for _, length in pauses)])
    unheard = np.cumsum([0.0, *(mark.certainty for mark in marks)])

    def cost(i: int, h: int, j: int, k: int, seconds: float, reached: float) -> float:
        """Return the cost of having no match between (i, h) and (j, k)."""
        missed = float(unexplained[j - 1] - unexplained[i] + unheard[k - 1] - unheard[h])
        expected = (reached - letters[h]) * pace
        return missed + (seconds - times[i] - expected) ** 2 / (2 * _SPREAD * (expected + 0.1))

    best: dict[_Match, tuple[float, _Match]] = {(0, 0): (0.0, (0, 0))}
    for j, k in product(range(1, len(times)), range(1, len(letters))):
        before = product(range(max(0, j - _LOOK_BACK), j), range(max(0, k - _LOOK_BACK), k))
        ways = [
            (best[match][0] + cost(*match, j, k, times[j], letters[k]), match)
            for match in before
            if match in best
        ]
        if ways:
            least, match = min(ways)
            best[j, k] = least + abs(pauses[j - 1][1] - marks[k - 1].pause), match

    total = words[-1].begins + words[-1].letters
    ends: list[tuple[float, _Match]] = []
    for (j, k), (so_far, _) in best.items():
        reached = total if complete else letters[k] + (voiced.seconds - times[j]) / pace
        passed = bisect_left(letters, reached, lo=k + 1)
        rest = cost(j, k, len(times), passed, voiced.seconds, reached)
        ends.append((so_far + rest, (j, k)))
    least, match = min(ends)
    anchors = [(voiced.seconds, total)] if complete else []
    while match != (0, 0):
        anchors.append((times[match[0]], letters[match[1]]))
        match = best[match][1]
    return least, anchors[::-1]


def _loudness(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """Return the root mean square of each 10 ms of frames, all of one format."""
    format = frames[0].format
    samples = format.decode(b"".join(frame.payload for frame in frames))
    size = round(format.rate * _BLOCK)
    blocks = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
    loudness: NDArray[np.float64] = np.sqrt(np.mean(np.square(blocks), axis=1))
    return loudness
