"""What the platform plays to a call: clips, files by URL, and a beep."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import structlog

from audiocodecs import AudioError, Wav, decode_wav
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.calls.services import Services
from mediaserver.sandbox.webhooks import WebhookError


log = structlog.get_logger(__name__)

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


async def fetch_clip(services: Services, url: str, *, call_uuid: str) -> Wav | None:
    """Fetch a WAV file; if that fails, log it and return None."""
    try:
        return decode_wav(await services.webhooks.fetch_audio(url))
    except (WebhookError, AudioError) as error:
        log.warning("no audio", call_uuid=call_uuid, url=url, error=str(error))
        return None


async def play_urls(
    services: Services, line: Line, urls: Sequence[str], *, loop: bool, call_uuid: str
) -> None:
    """Play files one after the other, and over and over with `loop`."""
    fetched = [await fetch_clip(services, url, call_uuid=call_uuid) for url in urls]
    clips = [wav for wav in fetched if wav is not None]
    while clips:
        for wav in clips:
            if not await play_clip(line, wav):
                return
        if not loop:
            return
