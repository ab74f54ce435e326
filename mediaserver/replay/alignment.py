"""The same audio, heard a little earlier or later: which piece of one run is which of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audiocodecs import Samples


_WINDOW_SECONDS: Final = 0.02
"""Seconds of audio that are looked for in the other run: a frame."""

_SHORTER: Final = 8
"""So many times shorter is what is looked for if a break in the other run cuts the window."""

_PAUSE_SECONDS: Final = 0.2
"""Seconds of silence that end a spell of speech, whose last moment may be cut."""


@dataclass(frozen=True, slots=True)
class AlignedPiece:
    """Audio that is heard in both runs, sample for sample.

    Attributes:
        start: its first sample in the one run.
        samples: how many samples it has.
        shift: by how many samples it is heard later in the other run; earlier if it is negative.

    """

    start: int
    samples: int
    shift: int


@dataclass(frozen=True, slots=True)
class AudioAlignment:
    """Two runs of audio, piece by piece.

    Attributes:
        pieces: what both runs have, in order.
        differing: where either run has something that the other one has not, ``bool[n]``, with
            the length of the longer one.

    """

    pieces: list[AlignedPiece]
    differing: NDArray[np.bool_]


def aligned(one: Samples, other: Samples, *, rate: int, tolerance: float) -> AudioAlignment:
    """Return which audio of one run is heard in another one too, in the same order.

    From each place on at which something is heard, the next 20 ms are looked for in the other run,
    and followed for as long as the samples are equal. So a break of any length within the tolerance
    only shifts what follows. Silence and no audio are the same. Where a spell of speech ends, as
    much as the tolerance may be missing: what is taken back a moment earlier is heard that much
    shorter.

    Args:
        one: what is heard in the one run, ``int16[n]``.
        other: the same of the other run.
        rate: samples in a second.
        tolerance: seconds that may lie between the same audio in both.

    """
    most, window = round(tolerance * rate), round(_WINDOW_SECONDS * rate)
    sounding = np.flatnonzero(one)
    searched = other.tobytes()
    pieces: list[AlignedPiece] = []
    at = taken = 0
    while (index := np.searchsorted(sounding, at)) < len(sounding):
        at = int(sounding[index])
        for size in (window, window // _SHORTER):
            wanted = one[at : at + size]
            # A break of this run cuts the window as well.
            wanted = wanted[: int(np.flatnonzero(wanted)[-1]) + 1]
            low, high = max(taken, at - most), at + most + len(wanted)
            found = _find(searched, wanted, low, high)
            if found is not None:
                break
        else:
            at += len(wanted)
            continue
        same = one[at : at + _equal(one[at:], other[found:])]
        samples = int(np.flatnonzero(same)[-1]) + 1
        pieces.append(AlignedPiece(at, samples, found - at))
        at += samples
        taken = found + samples
    left_of_one, left_of_other = one != 0, other != 0
    for piece in pieces:
        left_of_one[piece.start : piece.start + piece.samples] = False
        start = piece.start + piece.shift
        left_of_other[start : start + piece.samples] = False
    differing = np.zeros(max(len(one), len(other)), np.bool_)
    for audio, left in ((one, left_of_one), (other, left_of_other)):
        _forgive_ends(audio, left, most, round(_PAUSE_SECONDS * rate))
        differing[: len(left)] |= left
    return AudioAlignment(pieces, differing)


def _find(searched: bytes, wanted: Samples, low: int, high: int) -> int | None:
    """Return the first place from `low` on, and whole before `high`, at which samples are found."""
    pattern, size = wanted.tobytes(), wanted.itemsize
    found = searched.find(pattern, low * size, high * size)
    while found > 0 and found % size:
        found = searched.find(pattern, found + 1, high * size)
    return None if found < 0 else found // size


def _equal(one: Samples, other: Samples) -> int:
    """Return how many samples are equal from the beginning on."""
    length = min(len(one), len(other))
    for begin in range(0, length, _COMPARED):
        end = min(begin + _COMPARED, length)
        different = np.flatnonzero(one[begin:end] != other[begin:end])
        if len(different):
            return begin + int(different[0])
    return length


_COMPARED: Final = 8_000
"""Samples that are compared at once: most pieces are short if there are many."""


def _forgive_ends(audio: Samples, left: NDArray[np.bool_], most: int, pause: int) -> None:
    """Take out what is left of ends of spells, if it is no more than `most` samples."""
    sounding = np.flatnonzero(audio)
    if not len(sounding):
        return
    last = np.append(np.flatnonzero(np.diff(sounding) > pause), len(sounding) - 1)
    first = np.insert(last[:-1] + 1, 0, 0)
    for begin, end in zip(sounding[first].tolist(), sounding[last].tolist(), strict=True):
        kept = np.flatnonzero(~left[begin : end + 1] & (audio[begin : end + 1] != 0))
        if len(kept) and end - (begin + int(kept[-1])) <= most:
            left[begin + int(kept[-1]) : end + 1] = False
