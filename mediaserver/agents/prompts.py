"""What a handler without a model says: clips, files, or text that is synthesised."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiocodecs import RATES, AudioFormat, Wav
from mediaserver.agents.services import TextToSpeech
from mediaserver.call import Frame


Prompt: TypeAlias = "Wav | str | os.PathLike[str]"
"""A clip; the path of a WAV or FLAC file; or any other string, which is text to be spoken."""

PIECE_SECONDS = 1.0
"""How much of a file is read at a time."""

SUFFIXES = (".wav", ".flac")


def check_prompt(prompt: Prompt, text_to_speech: TextToSpeech | None = None) -> None:
    """Refuse what cannot be said.

    Raises:
        ValueError: a file is missing, is none, is empty, or has a rate that cannot be played; or
            the prompt is text, and there is nothing to speak it with.
        TypeError: it is no prompt at all.

    """
    if isinstance(prompt, Wav):
        _check_audio(len(prompt.samples), prompt.rate, "a clip")
    elif not isinstance(prompt, str | os.PathLike):
        raise TypeError(f"a prompt is a Wav, a path or text, not {prompt!r}")
    elif _is_file(prompt):
        try:
            with soundfile.SoundFile(prompt) as file:
                _check_audio(file.frames, file.samplerate, repr(os.fspath(prompt)))
        except soundfile.LibsndfileError as error:
            raise ValueError(f"cannot play {os.fspath(prompt)!r}: {error.error_string}") from None
    elif not prompt:
        raise ValueError("a prompt must say something, not ''")
    elif text_to_speech is None:
        raise ValueError(
            f"{prompt!r} is text and wants a text_to_speech, or the path of a "
            f"{' or '.join(SUFFIXES)} file"
        )


async def spoken(
    prompt: Prompt, format: AudioFormat, text_to_speech: TextToSpeech | None = None
) -> AsyncIterator[Frame]:
    """Yield the audio of a prompt, reading a file as it is played.

    Args:
        prompt: what to say, which `check_prompt` lets pass.
        format: what the stream plays; asked of `text_to_speech`.
        text_to_speech: what speaks text.

    Raises:
        ServiceError: `text_to_speech` failed.
        OSError: the file has gone.

    """
    if isinstance(prompt, Wav):
        yield _frame(prompt.mono(), prompt.rate)
    elif _is_file(prompt):
        file = await asyncio.to_thread(soundfile.SoundFile, os.fspath(prompt))
        try:
            while len(samples := await asyncio.to_thread(_read, file)):
                yield _frame(Wav(samples, file.samplerate).mono(), file.samplerate)
        finally:
            file.close()
    else:
        assert text_to_speech is not None, "check_prompt would have refused it"
        async for piece in text_to_speech.speak(os.fspath(prompt), format):
            if isinstance(piece, Frame):
                yield piece


def _is_file(prompt: str | os.PathLike[str]) -> bool:
    return not isinstance(prompt, str) or Path(prompt).suffix.lower() in SUFFIXES


def _read(file: soundfile.SoundFile) -> NDArray[np.int16]:
    samples: NDArray[np.int16] = file.read(round(PIECE_SECONDS * file.samplerate), dtype="int16")
    return samples


def _frame(samples: NDArray[np.int16], rate: int) -> Frame:
    format = AudioFormat("l16", rate)
    return Frame(format.encode(samples), format)


def _check_audio(length: int, rate: int, what: str) -> None:
    if not length:
        raise ValueError(f"{what} has no audio")
    if rate not in RATES:
        allowed = ", ".join(map(str, RATES))
        raise ValueError(f"{what} has {rate} samples a second; allowed: {allowed}")
