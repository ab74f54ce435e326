"""Prompts of handlers without a model: clips, files, or text to be synthesised."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import TypeAlias

from audiocodecs import RATES, AudioError, AudioFormat, Wav, WavReader
from mediaserver.agents.conversing.phrases import PHRASE_CACHE
from mediaserver.agents.services import TextToSpeech, Voice
from mediaserver.call import Frame, check_audio


Prompt: TypeAlias = "Wav | str | os.PathLike[str]"
"""A clip; the path of a WAV or FLAC file; or any other string, which is text to be spoken."""

PIECE_SECONDS = 1.0
"""Seconds of a file or clip that are played at a time."""

PATIENCE = 8.0
"""Seconds to wait for the first piece from `text_to_speech`, and from one piece to the next."""

_SUFFIXES = (".wav", ".flac")


def check_prompt(prompt: Prompt, text_to_speech: TextToSpeech | Voice | None = None) -> None:
    """Check that a prompt can be said. Files are checked by `check_file`.

    Raises:
        ValueError: a clip has no audio, or samples or a rate that cannot be played; or the prompt
            is text and there is no `text_to_speech`.
        TypeError: it is not a prompt.

    """
    if isinstance(prompt, Wav):
        check_audio(prompt)
        _require_audio(len(prompt.samples), "a clip")
    elif not isinstance(prompt, str | os.PathLike):
        raise TypeError(f"a prompt must be a Wav, a path or text, not {prompt!r}")
    elif not prompt:
        raise ValueError("a prompt must say something, not ''")
    elif not _is_file(prompt) and text_to_speech is None:
        raise ValueError(
            f"{prompt!r} is text and needs a text_to_speech, or the path of a "
            f"{' or '.join(_SUFFIXES)} file"
        )


def check_file(prompt: Prompt) -> None:
    """Check that a file can be played. This opens the file, which may take a moment.

    Raises:
        ValueError: it is missing, is not an audio file, is empty, or has a rate that cannot be
            played.

    """
    if isinstance(prompt, Wav) or not _is_file(prompt):
        return
    try:
        with WavReader(prompt) as reader:
            length, rate = len(reader.read(1)), reader.rate
    except AudioError as error:
        raise ValueError(f"cannot play a prompt: {error}") from None
    except OSError as error:
        raise ValueError(f"cannot play {os.fspath(prompt)!r}: {error.strerror}") from None
    name = repr(os.fspath(prompt))
    _require_audio(length, name)
    if rate not in RATES:
        raise ValueError(f"{name} has {rate} samples a second; allowed: {RATES[0]} to {RATES[-1]}")


async def spoken(
    prompt: Prompt, format: AudioFormat, text_to_speech: TextToSpeech | Voice | None = None
) -> AsyncIterator[Frame]:
    """Yield the audio of a prompt. A file is read while it plays; speech is made once and kept.

    Args:
        prompt: a prompt that `check_prompt` accepts.
        format: the stream's format.
        text_to_speech: speaks text.

    Raises:
        ServiceError: `text_to_speech` failed.
        ValueError: the file cannot be played: see `check_file`.

    """
    if isinstance(prompt, Wav):
        size = round(PIECE_SECONDS * prompt.rate)
        for start in range(0, len(prompt.samples), size):
            yield _frame(Wav(prompt.samples[start : start + size], prompt.rate))
    elif _is_file(prompt):
        await asyncio.to_thread(check_file, prompt)
        start = 0
        while len((piece := await asyncio.to_thread(_read, prompt, start)).samples):
            yield _frame(piece)
            start += len(piece.samples)
    else:
        assert text_to_speech is not None, "check_prompt would have refused it"
        text = os.fspath(prompt)
        async with aclosing(
            PHRASE_CACHE.speak(text_to_speech, text, format, patience=PATIENCE)
        ) as pieces:
            async for part in pieces:
                if isinstance(part, Frame):
                    yield part


def _is_file(prompt: str | os.PathLike[str]) -> bool:
    return not isinstance(prompt, str) or Path(prompt).suffix.lower() in _SUFFIXES


def _read(path: str | os.PathLike[str], start: int) -> Wav:
    # Opened for each piece: a file must not be closed by the loop while a thread reads it.
    with WavReader(path) as reader:
        reader.skip(start)
        return Wav(reader.read(round(PIECE_SECONDS * reader.rate)), reader.rate)


def _frame(wav: Wav) -> Frame:
    format = AudioFormat("l16", wav.rate)
    return Frame(format.encode(wav.mono()), format)


def _require_audio(length: int, what: str) -> None:
    if not length:
        raise ValueError(f"{what} has no audio")
