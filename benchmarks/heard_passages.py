"""Finds in what a phone heard which words of an agent's voice are there, and when each ended.

The voice must say a text the same way each time, and mark its words, as eSpeak NG does. Then its
clips can be found in the audio, and nothing that the agent or a page says is believed.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from audiocodecs import AudioFormat, Samples, resample
from mediaserver.agents.services import TextToSpeech, WordMark
from mediaserver.call import Frame


RATE = 16_000
"""Samples in a second of all audio here: that of a phone in the browser."""

_STEP = 0.005
"""Seconds from one look at a spectrum to the next."""

_HOP = round(_STEP * RATE)
_WIDTH = 4 * _HOP
_BANDS = np.unique(np.geomspace(2, 80, 13).astype(int))
"""Bands of 50 Hz at which bands of the spectrum begin: up to 4 kHz, as telephones have them."""

_WINDOW = 80
"""Steps by which a clip is recognised."""

_SHORTEST = 12
"""Steps of which less is not recognised."""

_ALIKE = 0.85
"""Correlation from which on two pieces are the same: a voice is never quite the same twice."""

_LOUD = 3.0
"""Level of a spectrum that is worth comparing; that of speech is about 30."""

_CUT = 6
"""Steps of what should be loud and is silent where a clip was cut."""

_APART = 1.0
"""Seconds that two accounts of one call may be apart."""

_GRID = 0.015
"""Seconds within which beginnings agree."""

_Spectra: TypeAlias = npt.NDArray[np.float64]


class Clip(NamedTuple):
    """A text as the voice says it.

    Attributes:
        text: what it says.
        samples: its audio.
        marks: (letters, seconds): how many letters have been said by a time of the audio; spaces
            do not count.

    """

    text: str
    samples: npt.NDArray[np.float64]
    marks: tuple[tuple[int, float], ...]


class Stretch(NamedTuple):
    """A part of a clip that was heard without a break: where in the clip, and when; in seconds."""

    begin: float
    end: float
    heard: float


@dataclass(frozen=True)
class HeardClip:
    """What was heard of a clip.

    Attributes:
        clip: the whole of it.
        stretches: the parts that were heard, in order; empty if it never began.

    """

    clip: Clip
    stretches: tuple[Stretch, ...]

    @property
    def seconds(self) -> float:
        """Up to where it was heard, in seconds of the clip; infinite if it was heard to its end."""
        if not self.stretches:
            return 0.0
        end = self.stretches[-1].end
        last = self.clip.marks[-1][1] if self.clip.marks else 0.0
        return np.inf if end >= last - 0.02 else end

    def time_of(self, seconds: float) -> float | None:
        """Return when a place of the clip was heard; None if it was not."""
        for begin, end, heard in self.stretches:
            if begin - 0.01 <= seconds <= end + 0.02:
                return heard + seconds - begin
        return None

    def letters(self, seconds: float) -> int:
        """Return the letters of the words that were heard if it was cut at a place of it.

        A word counts as heard if more than half of it was, as for the agent's memory.
        """
        words = self.clip.text.split()
        marks = [(0, 0.0), *self.clip.marks]
        said = float(sum(map(len, words)))
        if seconds < marks[-1][1]:
            places, times = zip(*marks, strict=True)
            said = float(np.interp(seconds, times, places))
        heard = 0
        for word in words:
            if said <= heard + len(word) / 2:
                break
            heard += len(word)
        return heard


async def clip_of(text: str, voice: TextToSpeech, format: AudioFormat) -> Clip:
    """Return what a voice says on a stream of a format."""
    items = [item async for item in voice.speak(text, format)]
    payload = b"".join(item.payload for item in items if isinstance(item, Frame))
    samples = resample(format.decode(payload), format.rate, RATE).astype(np.float64)
    marks = [
        (len("".join(text[: item.end].split())), item.seconds)
        for item in items
        if isinstance(item, WordMark)
    ]
    return Clip(text, samples, tuple(marks))


def clips_of(texts: Sequence[str], voice: TextToSpeech, format: AudioFormat) -> list[Clip]:
    """Return what a voice says."""

    async def all_of() -> list[Clip]:
        return [await clip_of(text, voice, format) for text in texts]

    # Playwright has a loop of its own in this thread.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, all_of()).result()


def find_clips(
    clips: Sequence[Clip], audio: Samples, *, since: float, until: float
) -> list[HeardClip]:
    """Find clips that follow one another in what was heard.

    Args:
        clips: in the order in which they were to be said.
        audio: everything that was heard.
        since: when the first of them may begin, in seconds of the audio.
        until: when the last of them has ended.

    """
    first = max(0, round(since / _STEP))
    heard = _spectra(audio[first * _HOP : max(0, round(min(until, 1e6) * RATE))])
    wanted = [_spectra(clip.samples) for clip in clips]
    begins: list[int | None] = []
    after = 0
    for spectra in wanted:
        begins.append(at := _find(spectra, 0, heard, after))
        after = after if at is None else at + _SHORTEST
    found = []
    for index, (clip, spectra, at) in enumerate(zip(clips, wanted, begins, strict=True)):
        end = next((each for each in begins[index + 1 :] if each is not None), len(heard))
        stretches = [] if at is None else _stretches(spectra, heard[:end], at)
        found.append(
            HeardClip(
                clip,
                tuple(
                    Stretch(begin * _STEP, end * _STEP, (first + at) * _STEP)
                    for begin, end, at in stretches
                ),
            )
        )
    return found


def _spectra(samples: npt.NDArray[Any]) -> _Spectra:
    """Return how loud the bands are, step by step."""
    count = max(0, (len(samples) - _WIDTH) // _HOP + 1)
    if not count:
        return np.zeros((0, len(_BANDS) - 1))
    pieces = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), _WIDTH)
    magnitudes = np.abs(np.fft.rfft(pieces[::_HOP][:count] * np.hanning(_WIDTH)))
    sums = np.add.reduceat(magnitudes[:, : _BANDS[-1]], _BANDS[:-1], axis=1)
    levels: _Spectra = np.sqrt(sums / np.diff(_BANDS) / 30)
    return levels


def _stretches(clip: _Spectra, heard: _Spectra, at: int) -> list[tuple[int, int, int]]:
    found = []
    place = 0
    while True:
        length = _length(clip[place:], heard[at:])
        found.append((place, place + length, at))
        if place + length >= len(clip) or length < _SHORTEST:
            return found
        place += length
        # The agent has paused here, and goes on; or it has been interrupted.
        following = _find(clip, place, heard, at + length)
        if following is None:
            return found
        at = following


def _find(clip: _Spectra, place: int, heard: _Spectra, after: int) -> int | None:
    """Return where the clip is heard from a place of it on; None if nowhere."""
    loud = np.flatnonzero(_level(clip[place:]) > _LOUD)
    if not len(loud):
        return None
    begin = place + int(loud[0])
    window = clip[begin : min(begin + _WINDOW, place + int(loud[-1]) + 1)]
    size = len(window)
    searched = heard[after:]
    if size < _SHORTEST or len(searched) < size:
        return None
    centred = window - window.mean(axis=0)
    transform = 1 << (len(searched) + size).bit_length()
    spectrum = np.fft.rfft(searched, transform, axis=0)
    spectrum *= np.conj(np.fft.rfft(centred, transform, axis=0))
    products = np.fft.irfft(spectrum.sum(axis=1), transform)[: len(searched) - size + 1]
    sums = np.cumsum(np.pad(searched, ((1, 0), (0, 0))), axis=0)
    squares = np.cumsum(np.pad((searched**2).sum(axis=1), (1, 0)))
    variance = squares[size:] - squares[:-size]
    variance -= ((sums[size:] - sums[:-size]) ** 2).sum(axis=1) / size
    alike = products / np.sqrt(np.maximum(variance, 1.0) * max(float(np.sum(centred**2)), 1.0))
    best = int(np.argmax(alike))
    return after + best - (begin - place) if alike[best] > _ALIKE else None


def _length(clip: _Spectra, heard: _Spectra) -> int:
    """Return for how many steps it goes on: until there is silence where it should be loud."""
    wanted, there = _level(clip), _level(heard)
    size = min(len(wanted), len(there))
    silent = (wanted[:size] > _LOUD) & (there[:size] < wanted[:size] / 4)
    for at in np.flatnonzero(silent):
        if silent[at : at + _CUT].sum() == min(_CUT, size - at):
            return int(at)
    return size


def _level(spectra: _Spectra) -> npt.NDArray[np.float64]:
    level: npt.NDArray[np.float64] = spectra.mean(axis=1)
    return level


def shift(told: Sequence[float], found: Sequence[float]) -> float | None:
    """Return by how much later edges of spells were told than found: what most of them agree on.

    None if less than half of those that were told were found so.
    """
    apart = [one - other for one in told for other in found if abs(one - other) < _APART]
    near = [[each for each in apart if abs(each - middle) < _GRID] for middle in apart]
    most = max(near, key=len, default=[])
    return float(np.median(most)) if 2 * len(most) >= len(told) > 0 else None


@dataclass(frozen=True)
class ShownReply:
    """What a page shows of a reply.

    Attributes:
        at: when it began.
        texts: what the agent gave to its voice, piece by piece.
        heard: the words that the page shows as heard.
        words: (letters, seconds): how many letters the page says were heard by a time.

    """

    at: float
    texts: tuple[str, ...]
    heard: str
    words: tuple[tuple[int, float], ...]


class ReplyDifference(NamedTuple):
    """How what a page shows of a reply differs from what the phone heard.

    Attributes:
        shown: letters that the page shows as heard.
        least: the fewest letters that were heard, and the most: a cut near the middle of a word
            could be on either side of it.
        most: see there.
        late: seconds by which the page said later than the phone that a word was over, of each
            word that the phone heard.

    """

    shown: int
    least: int
    most: int
    late: tuple[float, ...]

    @property
    def same_words(self) -> bool:
        """Whether both have the same words."""
        return self.least <= self.shown <= self.most


def compare(reply: ShownReply, heard: Sequence[HeardClip], *, within: float) -> ReplyDifference:
    """Compare what a page shows of a reply with what the phone heard of it.

    Args:
        reply: what the page shows; its times count as those of `heard`.
        heard: what was heard of its texts.
        within: seconds by which the cut may be elsewhere.

    """
    least = most = before = 0
    times: list[tuple[int, float]] = []
    for each in heard:
        whole = len("".join(each.clip.text.split()))
        least += each.letters(max(0.0, each.seconds - within)) if each.stretches else 0
        most += each.letters(each.seconds + within) if each.stretches else 0
        for letters, seconds in each.clip.marks:
            if (at := each.time_of(seconds)) is not None:
                times.append((before + letters, at))
        before += whole
    late = []
    for letters, shown_at in reply.words:
        # The first mark with this many letters is the end of the word; later ones begin the next.
        at = next((at for place, at in times if place == letters), None)
        if at is not None:
            late.append(shown_at - at)
    return ReplyDifference(len("".join(reply.heard.split())), least, most, tuple(late))
