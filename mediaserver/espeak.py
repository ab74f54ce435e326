"""Speech from text, by eSpeak NG.

The package ``espeakng-loader`` brings the library and its voices along, so nothing needs to be
installed on the system. It is called through ctypes; the names and numbers used here are those of
eSpeak NG's ``speak_lib.h``.
"""

from __future__ import annotations

import atexit
import ctypes
import difflib
import functools
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import espeakng_loader
import numpy as np

from audiocodecs import Wav


DEFAULT_VOICE: Final = "en-us"

WORDS_PER_MINUTE: Final = 160
"""A little slower than eSpeak's own 175: a telephone swallows consonants."""

_SYNCHRONOUS: Final = 2  # AUDIO_OUTPUT_SYNCHRONOUS: audio goes to the callback, in espeak_Synth
_DONT_EXIT: Final = 0x8000  # espeakINITIALIZE_DONT_EXIT: report a failure instead of exiting
_OK: Final = 0  # EE_OK
_UTF8: Final = 1  # espeakCHARS_UTF8
_RATE: Final = 1  # espeakRATE, in words a minute
_PITCH: Final = 3  # espeakPITCH, 0 to 100

# The library copies the path of its data into 160 bytes and adds names of files to it.
_LONGEST_PATH: Final = 120

# At a quotation mark the library reports a word without letters.
_AFTER_QUOTE: Final = re.compile(r"\W*(?P<word>\w+)")

_LIST_TERMINATED: Final = 0  # espeakEVENT_LIST_TERMINATED
_WORD: Final = 1  # espeakEVENT_WORD


class _Event(ctypes.Structure):
    """espeak_EVENT: what is at a place in the audio."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, the first is 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # in milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class SpeechError(RuntimeError):
    """Text cannot be spoken, or the voice does not exist."""


@dataclass(frozen=True, slots=True)
class Word:
    """The place of a word in the text and in its audio.

    Attributes:
        start: the index of its first character in the text.
        end: the index after its last character.
        seconds: when it begins in the audio.

    """

    start: int
    end: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class MarkedSpeech:
    """A spoken text, and the places of its words.

    Attributes:
        wav: the audio, int16 mono at 22,050 Hz.
        words: the words in the order in which they are spoken and written.

    """

    wav: Wav
    words: tuple[Word, ...]


def speak(
    text: str,
    voice: str = DEFAULT_VOICE,
    *,
    words_per_minute: int = WORDS_PER_MINUTE,
    pitch: int = 50,
) -> Wav:
    """Say `text`: int16 mono at 22,050 Hz.

    A sentence takes some milliseconds; threads wait for each other. The audio of the same text
    differs a little each time.

    Args:
        text: What to say.
        voice: A language, such as ``en-us``, ``en-gb-x-rp`` or ``fr``. A plus sign and a name
            choose a variant of its voice, such as ``en-us+f3``.
        words_per_minute: The speed, 80 to 450.
        pitch: The pitch, 0 to 100.

    Raises:
        SpeechError: The voice does not exist, or the library cannot be used.
        ValueError: The speed or the pitch is out of range.

    """
    return speak_marked(text, voice, words_per_minute=words_per_minute, pitch=pitch).wav


def speak_marked(
    text: str,
    voice: str = DEFAULT_VOICE,
    *,
    words_per_minute: int = WORDS_PER_MINUTE,
    pitch: int = 50,
) -> MarkedSpeech:
    """Say `text` as `speak` does, and return where each word begins in the audio.

    A word is what eSpeak NG treats as one: a number or an abbreviation may be several words, and
    words that it runs together may be one.
    """
    if not 80 <= words_per_minute <= 450:
        raise ValueError(f"words_per_minute must be 80 to 450, not {words_per_minute}")
    if not 0 <= pitch <= 100:
        raise ValueError(f"pitch must be 0 to 100, not {pitch}")
    return _espeak().speak(text, voice, words_per_minute, pitch)


class _Espeak:
    """The library. Its state is global, so a process has one of these."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self._words: list[Word] = []
        try:
            self._data = Path(espeakng_loader.get_data_path())
            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        except (OSError, RuntimeError) as error:
            raise SpeechError(f"eSpeak NG cannot be loaded: {error}") from error
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        languages = (self._data / "lang").rglob("*")
        self._voices = {path.name.lower() for path in languages if path.is_file()}
        self._variants = {path.name for path in (self._data / "voices" / "!v").iterdir()}
        self._rate: int = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, os.fsencode(_reachable(self._data)), _DONT_EXIT
        )
        if self._rate <= 0:
            raise SpeechError(f"eSpeak NG cannot use its voices in {self._data}")
        # Kept here, because the library does not keep it alive.
        self._callback = _Callback(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, words_per_minute: int, pitch: int) -> MarkedSpeech:
        """Say `text`; see the function `speak_marked`."""
        encoded = text.encode()
        if b"\0" in encoded:
            raise SpeechError("a text with a NUL character cannot be spoken")
        with self._lock:
            self._choose(voice)
            self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
            self._library.espeak_SetParameter(_PITCH, pitch, 0)
            self._pieces.clear()
            self._words.clear()
            status = self._library.espeak_Synth(
                encoded, len(encoded) + 1, 0, 0, 0, _UTF8, None, None
            )
            audio, words = b"".join(self._pieces), _in_order(self._words, text)
        if status != _OK:
            raise SpeechError(f"eSpeak NG could not say {len(text)} characters: error {status}")
        return MarkedSpeech(Wav(np.frombuffer(audio, np.int16), self._rate), words)

    def _choose(self, voice: str) -> None:
        language, plus, variant = voice.partition("+")
        # The library passes over a variant that it does not know.
        if plus and variant not in self._variants:
            raise SpeechError(_unknown("variant", variant, self._variants))
        if language not in self._voices:
            raise SpeechError(_unknown("voice", language, self._voices))
        if self._library.espeak_SetVoiceByName(voice.encode()) != _OK:
            raise SpeechError(f"eSpeak NG cannot use the voice {voice!r}")

    def _take(self, samples: Any, count: int, events: Any) -> int:
        for event in _listed(events):
            if event.type == _WORD:
                start = event.text_position - 1
                self._words.append(Word(start, start + event.length, event.audio_position / 1000))
        # The last call of an utterance comes without samples.
        if samples and count:
            self._pieces.append(ctypes.string_at(samples, count * 2))
        return 0


def _listed(events: Any) -> Iterator[_Event]:
    for event in events:
        if event.type == _LIST_TERMINATED:
            return
        yield event


def _in_order(words: Iterable[Word], text: str) -> tuple[Word, ...]:
    """Return the words without those that the library reports twice, as it does within numbers."""
    kept: list[Word] = []
    for word in words:
        if word.start == word.end and (found := _AFTER_QUOTE.match(text, word.start)):
            word = Word(*found.span("word"), word.seconds)
        if not kept or (word.start >= kept[-1].end and word.seconds >= kept[-1].seconds):
            kept.append(word)
    return tuple(kept)


def _reachable(data: Path) -> Path:
    """Return a path to `data` that is short enough for the library."""
    if len(os.fsencode(data)) <= _LONGEST_PATH:
        return data
    folder = tempfile.mkdtemp(prefix="espeak-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = Path(folder, data.name)
    link.symlink_to(data)
    return link


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"there is no {kind} {name!r}{hint}"


@functools.cache
def _espeak() -> _Espeak:
    return _Espeak()
