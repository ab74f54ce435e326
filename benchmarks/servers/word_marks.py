"""Words that can be told from each other in mu-law audio: each has its number where it begins."""

import re
from collections.abc import Iterator

from audiocodecs import mulaw_encode
from benchmarks.servers.speech import RATE, speech


FRAME = 160
"""Bytes of 20 ms. A mark stands at the beginning of a frame, so that no frame is cut within it."""

FRAMES = 12
"""Frames of a word."""

WORD_SECONDS = FRAMES * FRAME / RATE

_MARK = re.compile(rb"WORD([BE])(\d{4})")


def marked_word(number: int) -> bytes:
    """Return the audio of a word, with a mark at its beginning and one in its last frame."""
    begin = number * FRAMES * FRAME % (20 * RATE)
    audio = bytearray(mulaw_encode(speech(40.0)[begin : begin + FRAMES * FRAME]))
    for at, kind in ((0, b"B"), ((FRAMES - 1) * FRAME, b"E")):
        mark = b"WORD%b%04d" % (kind, number)
        audio[at : at + len(mark)] = mark
    return bytes(audio)


def word_marks_in(audio: bytes) -> Iterator[tuple[int, bool, int]]:
    """Yield the number of each word, whether the mark is the one at its end, and where it is."""
    for found in _MARK.finditer(audio):
        yield int(found[2]), found[1] == b"E", found.start()
