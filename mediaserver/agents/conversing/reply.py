"""One answer of an agent, from its first thought to the report of its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from mediaserver.agents.services import Tokens
from mediaserver.call import Turn, Usage
from mediaserver.playback import Playback


SHORTEST_REPLY = 0.5
"""Less of a reply than this, in seconds, of which no word was heard, was none."""

Work: TypeAlias = "Callable[[Reply], Coroutine[Any, Any, None]]"
"""Makes a reply, and returns when it was heard."""


class Reply:
    """What the agent says in one turn, while it is made and spoken.

    Attributes:
        number: of the turn, 0 for the greeting; None for what is not reported.
        caller: what the caller said.
        heard: what the caller heard of it; set by `Agent.settle`.
        interrupted: whether it was stopped before all of it was heard.
        using_tools: whether it waits for tools.
        given_up: whether it was stopped before anything of it was heard, as if it had never been.
        closing: whether all of it was heard, and the call is being hung up or transferred.
        error: what went wrong, or None.
        since: from when its timings count, on the call's clock: the caller's last speech, or the
            start of the stream for the greeting.
        work: makes it, if it waits to be begun.

    """

    def __init__(
        self, number: int | None, *, since: float, caller: str = "", work: Work | None = None
    ) -> None:
        self.work = work
        self.number = number
        self.caller = caller
        self.since = since
        self.heard = ""
        self.interrupted = False
        self.using_tools = False
        self.closing = False
        self.error: str | None = None
        # Set as they happen, all on the call's clock.
        self.turn_ended_at: float | None = None
        self.transcribed_at: float | None = None
        self.first_token_at: float | None = None
        self.audio_sent_at: float | None = None
        self.playback: Playback | None = None
        self.tokens_in = self.tokens_out = self.tokens_cached = 0
        self.characters = 0
        self.speech_seconds = 0.0
        self.task: asyncio.Task[None] | None = None
        self.settled = False
        self.given_up = False

    @property
    def began(self) -> bool:
        """Whether any of its audio was played."""
        return self.audio_sent_at is not None

    @property
    def was_noticed(self) -> bool:
        """Whether the caller heard enough of it to know that there was an answer."""
        if self.heard:
            return True
        return self.playback is not None and self.playback.seconds_heard >= SHORTEST_REPLY

    def plays(self, playback: Playback, at: float) -> None:
        """Take note that the first of its audio was played at `at` on the call's clock."""
        if self.playback is None:
            self.playback = playback
            self.audio_sent_at = at

    def spend(self, tokens: Tokens) -> None:
        """Count what a response of the model cost."""
        self.tokens_in += tokens.tokens_in
        self.tokens_out += tokens.tokens_out
        self.tokens_cached += tokens.tokens_cached

    def carry_on(self, former: Reply) -> None:
        """Take over from a reply that was given up before any of it was played."""
        # The number of a greeting stays its own.
        self.number = former.number or None
        self.turn_ended_at = self.turn_ended_at or former.turn_ended_at
        self.tokens_in += former.tokens_in
        self.tokens_out += former.tokens_out
        self.tokens_cached += former.tokens_cached
        self.characters += former.characters
        self.speech_seconds += former.speech_seconds

    def report(self) -> Turn:
        """Return the turn's report."""

        def after(at: float | None) -> float | None:
            return None if at is None else max(0.0, at - self.since)

        assert self.number is not None
        return Turn(
            number=self.number,
            caller=self.caller,
            agent=self.heard,
            interrupted=self.interrupted,
            error=self.error,
            end_of_turn=after(self.turn_ended_at),
            transcript=after(self.transcribed_at),
            first_token=after(self.first_token_at),
            audio_sent=after(self.audio_sent_at),
            audio_heard=after(self.playback.begins_at if self.playback is not None else None),
            usage=Usage(
                tokens_in=self.tokens_in,
                tokens_out=self.tokens_out,
                tokens_cached=self.tokens_cached,
                characters=self.characters,
                speech_seconds=self.speech_seconds,
            ),
        )
