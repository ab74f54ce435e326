"""Plays files to callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any, Literal, TypeAlias, get_args

from mediaserver.agents.conversing.readiness import kept_ready
from mediaserver.agents.conversing.setting_types import check_service
from mediaserver.agents.prompts import Prompt, check_file, check_prompt, spoken
from mediaserver.agents.services import TextToSpeech, Voice
from mediaserver.handler import Handler


_Keys: TypeAlias = Literal["ignore", "skip", "stop"]
_Then: TypeAlias = Literal["hang_up", "close", "stay"]


class Player(Handler):
    """Plays clips and files, one after the other, and then hangs up.

    Files are read as they are played, however long they are. In another handler it is
    ``await Player("hours.wav", then="close")(stream)``.

    Args:
        clips: one or several of: a `Wav`, the path of a WAV or FLAC file, or text if there is a
            `text_to_speech`.
        loop: whether to start over at the end, until the caller hangs up.
        keys: what a key does: ``ignore`` nothing, ``skip`` to the next clip, or ``stop`` playing.
        then: what follows the last clip: ``hang_up``; ``close`` the stream, so that the call goes
            on with the XML after ``<Stream>``; or ``stay`` on the line in silence.
        text_to_speech: speaks text, a `Voice` as well.

    Raises:
        ValueError: there is nothing to play, or a setting is invalid. For a file that cannot be
            played it is raised when the server starts, and when a call begins, before anything
            plays.

    """

    def __init__(
        self,
        clips: Prompt | Sequence[Prompt],
        *,
        loop: bool = False,
        keys: _Keys = "ignore",
        then: _Then = "hang_up",
        text_to_speech: TextToSpeech | Voice | None = None,
    ) -> None:
        self.clips = tuple(clips) if isinstance(clips, list | tuple) else (clips,)
        if not self.clips:
            raise ValueError("there is no clip to play")
        for clip in self.clips:
            check_prompt(clip, text_to_speech)
        for name, value, allowed in (("keys", keys, _Keys), ("then", then, _Then)):
            if value not in get_args(allowed):
                raise ValueError(f"{name} must be one of {get_args(allowed)}, not {value!r}")
        self.loop = loop
        self.keys = keys
        self.then = then
        self.text_to_speech = text_to_speech
        self._stopped = False

    @classmethod
    @asynccontextmanager
    async def serving(cls, settings: Mapping[str, Any]) -> AsyncIterator[Mapping[str, str]]:
        """Check and prewarm `text_to_speech` of the route; close it in the end."""
        service = settings.get("text_to_speech")
        async with kept_ready([] if service is None else [service]) as unready:
            yield unready

    def check_at_start(self) -> None:
        """Check that the files can be played, and that text can be spoken."""
        problems = []
        if self.text_to_speech is not None:
            check_service("text_to_speech", self.text_to_speech, TextToSpeech | Voice)
        for clip in self.clips:
            try:
                check_file(clip)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))

    async def on_start(self) -> None:
        """Play everything, and end the call."""
        stream = self.stream
        for clip in self.clips:
            await asyncio.to_thread(check_file, clip)
        playback = None
        for clip in cycle(self.clips) if self.loop else self.clips:
            if self._stopped:
                break
            playback = await stream.say(spoken(clip, stream.format, self.text_to_speech))
            if self.keys == "skip":
                # Otherwise a key would skip a clip that is queued, and not the one that plays.
                await playback.heard()
        if playback is not None:
            await playback.heard()
        if self.then == "hang_up":
            await stream.hang_up()
        elif self.then == "close":
            stream.close()

    async def on_dtmf(self, digit: str) -> None:
        """Skip a clip, or stop."""
        if self.keys == "ignore":
            return
        self._stopped = self._stopped or self.keys == "stop"
        self.stream.interrupt()
