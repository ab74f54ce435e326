"""Design the resampler's equiripple filters and write ``audiocodecs/taps.py``.

Run ``python codecs/design_filters.py`` (needs scipy) after a change to the goals below.

A low-pass filter's ripple is linear in its taps, so a linear program finds the best filter of a
given length: the least stop-band gain for a bounded ripple in the pass band. It adds two conditions
that `scipy.signal.remez` cannot express:

* The gain at DC is exactly 1.
* The filter is a product with running sums (1 + z + … + z^(k-1)), which are zero at the images of
  DC. When the filter interpolates by k, each of its k phases then has exactly the same sum, even
  after rounding to integers, so that a constant input leaves no tone behind.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog


DELAY = 20  # samples at the lower rate: 2.5 ms at 8 kHz
PASS_EDGE = 0.85  # of the lower rate's Nyquist frequency; the stop band begins at 1.0
RIPPLE_DB = 0.12
GAIN = 2**24  # about the sum of a filter's integer taps
# internal rate / lower rate: the numbers of phases that the filter is used with. At 3 times the
# lower rate, 8 → 24 kHz has three phases and 24 → 16 kHz has two
PHASES = {2: (2,), 3: (2, 3), 6: (6,)}

TARGET = Path(__file__).parent / "audiocodecs" / "taps.py"


def design(ratio: int) -> list[int]:
    """Return the integer taps of the filter for an internal rate ``ratio`` times the lower one."""
    comb = np.ones(1)
    for phases in PHASES[ratio]:
        comb = np.convolve(comb, np.ones(phases))
    length = 2 * DELAY * ratio - 1  # DELAY allows one more tap on both sides; those are 0
    core = length - len(comb) + 1
    half = math.ceil(core / 2)

    def gain(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one row per frequency: the gain there is the row times half the core's taps."""
        position = np.arange(half) - (core - 1) / 2
        rows = np.cos(np.outer(frequencies, position)) * np.where(position == 0, 1, 2)
        comb_position = np.arange(len(comb)) - (len(comb) - 1) / 2
        return rows * (np.cos(np.outer(frequencies, comb_position)) @ comb)[:, None]

    grid = 16 * half
    nyquist = np.pi / ratio
    passing = gain(np.linspace(0, PASS_EDGE * nyquist, grid))
    stopping = gain(np.linspace(nyquist, np.pi, grid))
    unbounded, bounded = np.zeros((grid, 1)), np.ones((grid, 1))
    solution = linprog(
        [*[0] * half, 1],  # the last unknown is the largest gain in the stop band
        A_ub=np.block(
            [
                [passing, unbounded],
                [-passing, unbounded],
                [stopping, -bounded],
                [-stopping, -bounded],
            ]
        ),
        b_ub=np.concatenate(
            [
                np.full(grid, 10 ** (RIPPLE_DB / 20)),
                np.full(grid, -(10 ** (-RIPPLE_DB / 20))),
                np.zeros(2 * grid),
            ]
        ),
        A_eq=np.append(gain(np.zeros(1)), [[0]], axis=1),
        b_eq=[1],
        bounds=[(None, None)] * half + [(0, None)],
        method="highs",
    )
    left = solution.x[:half]
    whole = np.concatenate([left, left[::-1][core % 2 :]])
    taps = np.convolve(np.rint(whole * GAIN), comb)
    print(f"ratio {ratio}: {length} taps, stop band {20 * math.log10(solution.x[half]):.1f} dB")
    return [int(tap) for tap in taps]


def module(filters: dict[int, list[int]]) -> str:
    """Return the source text of the module that holds ``filters``."""
    halves = "".join(
        f"    {ratio}: (\n{rows(taps[: len(taps) // 2 + 1])}\n    ),\n"
        for ratio, taps in filters.items()
    )
    return f'''"""Equiripple low-pass filters, as integers; written by ``codecs/design_filters.py``.

Pass band up to {PASS_EDGE} of the lower rate's Nyquist frequency, stop band from that frequency on.
"""

from typing import Final


DELAY: Final = {DELAY}
"""The delay of each filter, in samples at the lower rate."""

# fmt: off
HALVES: Final[dict[int, tuple[int, ...]]] = {{
{halves}}}
"""The taps up to the middle one, which the others mirror, by internal rate / lower rate."""
'''


def rows(taps: list[int]) -> str:
    """Return ``taps`` as indented rows of eight."""
    return "\n".join(
        "        " + " ".join(f"{tap}," for tap in taps[start : start + 8])
        for start in range(0, len(taps), 8)
    )


if __name__ == "__main__":
    TARGET.write_text(module({ratio: design(ratio) for ratio in PHASES}))
