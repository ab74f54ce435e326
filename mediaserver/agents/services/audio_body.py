"""Turns the body of a speech response, in pieces of any length, into frames; without I/O.

Anything but speech in an expected format is refused before any of it is played: a caller must never
hear an error page or an MP3 as noise.
"""

from __future__ import annotations

import struct
from codecs import getincrementaldecoder
from typing import Final

from audiocodecs import AudioError, AudioFormat, Encoding
from mediaserver.call import Frame


_SAMPLE: Final = 64
"""Bytes by which a body is recognised: 8 ms of mu-law, so no frame waits for them."""
_FIRST_QUIET_IN_MULAW: Final = 0x40
"""Text has spaces, digits or punctuation, which are below this; as mu-law they are loud."""
_MAX_HEADER: Final = 65536
_ENDLESS: Final = 0x7FFF_FF00
"""Larger sizes in a WAV header mean that the server did not know the size yet."""

_CONTAINERS: Final = {
    b"ID3": "MP3",
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"\x1aE\xdf\xa3": "WebM",
    b"FORM": "AIFF",
    b"RIFX": "WAV with the most significant byte first",
    b"riff\x2e\x91": "W64",
    b"caff": "CAF",
    b".snd": "AU",
    b"\x1f\x8b\x08": "gzip",
}
_WAV_ENCODINGS: Final[dict[tuple[int, int], Encoding]] = {
    (1, 16): "l16",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}
_WAV_EXTENSIBLE: Final = 0xFFFE

_MP3_BITRATES: Final = {
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


class AudioBody:
    """Cuts frames of 20 to 100 ms, each of whole samples, from bytes as they come.

    If there is a WAV header, its format replaces the expected one, and chunks after its audio are
    skipped.

    Args:
        expected: the format of audio without a header; None if a header is required.

    """

    def __init__(self, expected: AudioFormat | None) -> None:
        self._expected = expected
        self._format: AudioFormat | None = None
        self._pending = bytearray()
        self._left: int | None = None
        self._ended = False

    def feed(self, received: bytes) -> list[Frame]:
        """Return the frames that are complete with `received`.

        Raises:
            AudioError: this is not audio, or its format is unknown.

        """
        if self._ended and self._left == 0:
            return []
        self._pending += received
        return self._frames()

    def end(self) -> list[Frame]:
        """Return the rest, which is shorter than 20 ms.

        Raises:
            AudioError: the body ended within its header or right after it.

        """
        self._ended = True
        return self._frames()

    def _frames(self) -> list[Frame]:
        audio = self._format or self._recognise()
        if audio is None:
            return []
        self._format = audio
        usable = len(self._pending)
        if self._left is not None:
            usable = min(usable, self._left)
        everything = self._ended or usable == self._left
        longest = audio.rate // 10 * audio.sample_bytes
        shortest = audio.sample_bytes if everything else audio.rate // 50 * audio.sample_bytes
        frames = []
        taken = 0
        while usable - taken >= shortest:
            size = min(longest, (usable - taken) // audio.sample_bytes * audio.sample_bytes)
            frames.append(Frame(bytes(self._pending[taken : taken + size]), audio, "outbound"))
            taken += size
        del self._pending[:taken]
        if self._left is not None:
            self._left -= taken
            if everything:
                self._left, self._ended = 0, True
                self._pending.clear()
        return frames

    def _recognise(self) -> AudioFormat | None:
        """Return the format; None if more bytes are needed to know it.

        It never decides by fewer bytes only because no more have come yet: the network cuts a body
        anywhere.
        """
        head = bytes(self._pending[:_SAMPLE])
        if not head or (len(head) < _SAMPLE and not self._ended):
            return None
        if head[:4] in (b"RIFF", b"RF64", b"BW64"):
            return self._read_wav_header()
        for magic, name in _CONTAINERS.items():
            if head.startswith(magic):
                raise AudioError(f"{name} came instead of {self._wanted}")
        if head[4:8] == b"ftyp":
            raise AudioError(f"MP4 came instead of {self._wanted}")
        text = _text(head)
        if text is not None:
            raise AudioError(f"text came instead of {self._wanted}: {text!r}")
        is_mp3 = self._is_mp3()
        if is_mp3 is None:
            return None
        if is_mp3:
            raise AudioError(f"MP3 came instead of {self._wanted}")
        if self._expected is None:
            raise AudioError("the body does not begin with a WAV header")
        return self._expected

    @property
    def _wanted(self) -> str:
        return "WAV" if self._expected is None else str(self._expected)

    def _is_mp3(self) -> bool | None:
        """Return whether one MPEG audio frame follows another; None if more bytes are needed."""
        length = _mp3_frame_length(self._pending)
        if length is None:
            return False
        following = self._pending[length : length + 2]
        if len(following) < 2:
            return True if self._ended else None
        return following[0] == 0xFF and following[1] & 0xE0 == 0xE0

    def _read_wav_header(self) -> AudioFormat | None:
        pending = self._pending
        if pending[8:12] != b"WAVE":
            raise AudioError(f"a RIFF file of kind {bytes(pending[8:12])!r}, not a WAV")
        audio = None
        position = 12
        while len(pending) >= position + 8:
            name, size = struct.unpack_from("<4sI", pending, position)
            position += 8
            if name == b"data":
                if audio is None:
                    raise AudioError("a WAV whose audio comes before its format")
                self._left = size if 0 < size < _ENDLESS else None
                del pending[:position]
                return audio
            if name == b"fmt " and len(pending) >= position + size:
                audio = _wav_format(bytes(pending[position : position + size]))
            position += size + size % 2
            if position > _MAX_HEADER:
                raise AudioError(f"a WAV without audio in its first {_MAX_HEADER} bytes")
        if self._ended:
            raise AudioError("a WAV that ends before its audio")
        return None


def _text(head: bytes) -> str | None:
    """Return the beginning of a body as text, or None if it could be audio."""
    try:
        text = getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return None
    if not all(each.isprintable() or each in "\t\r\n" for each in text):
        return None
    # Nobody speaks for less than the sample; a word that short is an error.
    certain = len(head) < _SAMPLE or min(head) < _FIRST_QUIET_IN_MULAW
    return text if text and certain else None


def _wav_format(fields: bytes) -> AudioFormat:
    if len(fields) < 16:
        raise AudioError(f"a WAV format of {len(fields)} bytes; it has 16 or more")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", fields)
    if tag == _WAV_EXTENSIBLE and len(fields) >= 26:
        (tag,) = struct.unpack_from("<H", fields, 24)
    encoding = _WAV_ENCODINGS.get((tag, bits))
    if encoding is None or channels != 1:
        raise AudioError(
            f"a WAV of format {tag} with {bits} bits and {channels} channels; "
            "allowed: 16-bit PCM, mu-law and A-law, mono"
        )
    return AudioFormat(encoding, rate)


def _mp3_frame_length(data: bytearray) -> int | None:
    """Return the length of the MPEG layer III frame that begins `data`, or None.

    The header is that of ISO 11172-3 and 13818-3.
    """
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return None
    version, bitrate, rate = data[1] >> 3 & 3, data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return None
    kilobits = _MP3_BITRATES[3 if version == 3 else 2][bitrate - 1]
    samples = 144 if version == 3 else 72
    return samples * kilobits * 1000 // _MP3_RATES[version][rate] + (data[2] >> 1 & 1)
