"""What the platform plays to a call: clips, files by URL, and a beep."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np

from audiocodecs import AudioError, Resampler, Wav, WavReader
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.calls.diary import CallDiary, without_query
from mediaserver.sandbox.calls.services import Services
from mediaserver.sandbox.webhooks import WebhookError


_LONGEST: Final = 3600
"""Seconds that a file may play; at 16 kHz they take 115 MB."""
_PIECE: Final = 65_536

BEEP: Final = Wav(
    (8_000 * np.sin(2 * np.pi * 1_000 * np.arange(4_000) / 8_000)).astype(np.int16), 8_000
)
"""The tone before a message is recorded: half a second of 1 kHz."""


async def play_clip(line: Line, wav: Wav, times: int | None = None) -> bool:
    """Play a clip until it was heard or stopped.

    Args:
        line: The line to play it on.
        wav: The clip.
        times: How often, as the attribute `loop` says: once if left out, without an end if 0.

    Returns:
        Whether it was heard to its end; False if it was stopped, or the call ended.

    """
    mono = wav.mono()
    for _ in itertools.count() if times == 0 else range(1 if times is None else times):
        clip = line.play(mono, wav.rate)
        try:
            if not await clip.finished():
                return False
        finally:
            clip.stop()
    return True


async def fetch_clip(services: Services, url: str, rate: int, diary: CallDiary) -> Wav | None:
    """Fetch a WAV or FLAC file as a mono clip of some rate in Hz.

    A file that cannot be played is told and gives None, so that the call goes on without it.
    """
    try:
        data = await services.webhooks.fetch_audio(url)
        return await asyncio.to_thread(playable, data, rate)
    except (WebhookError, AudioError) as error:
        what = f"file not played, {without_query(url)}: {error}"
        diary.tell("error", what, level="warning")
        return None


def playable(data: bytes, rate: int) -> Wav:
    """Return the content of a WAV or FLAC file as a mono clip of some rate in Hz.

    Raises:
        AudioError: It is no such file, has no audio, is too long, or its rate cannot be converted.

    """
    # Piece by piece, because silence in FLAC expands to any length.
    with WavReader(io.BytesIO(data)) as reader:
        resampler = Resampler(reader.rate, rate)
        pieces, read = [], 0
        while len(samples := reader.read(max(1, _PIECE // reader.channels))):
            pieces.append(resampler.process(Wav(samples, reader.rate).mono()))
            read += len(samples)
            if read > _LONGEST * reader.rate:
                raise AudioError(f"the file is longer than {_LONGEST} s")
        if not pieces:
            raise AudioError("the file has no audio")
        late = np.concatenate([*pieces, resampler.flush()])
    return Wav(late[round(resampler.delay * rate) :], rate)


async def play_urls(
    services: Services, line: Line, urls: Sequence[str], diary: CallDiary, *, loop: bool
) -> None:
    """Play files one after the other, and over and over with `loop`."""
    fetched = [await fetch_clip(services, url, line.rate, diary) for url in urls]
    clips = [wav for wav in fetched if wav is not None]
    while clips:
        for wav in clips:
            if not await play_clip(line, wav):
                return
        if not loop:
            return
