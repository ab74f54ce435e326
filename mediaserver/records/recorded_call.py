"""One call, as it is recorded: what it tells becomes events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from mediaserver.call import StreamCounters, Turn
from mediaserver.call.turn import STAGES
from mediaserver.records.events import CallBegan, CallOver, RecordEvent, TurnTaken
from mediaserver.records.prices import PriceList
from mediaserver.records.redaction import storable


LONGEST_TEXT: Final = 500
"""Characters of a reason, a path or an error in a record."""

_LONGEST_WORDS: Final = 20_000
"""Characters of what was said in one turn."""

_BEGAN: Final = CallBegan.__struct_fields__


class RecordedCall:
    """Records one call.

    Args:
        began: what is known of it at its start.
        tell: takes each event; must return at once.
        transcripts: whether the words of turns are recorded.
        prices: by which the cost of turns is computed; None for no costs.

    """

    __slots__ = (
        "_began",
        "_cost",
        "_failed",
        "_positions",
        "_prices",
        "_slowest",
        "_tell",
        "_transcripts",
    )

    def __init__(
        self,
        began: CallBegan,
        tell: Callable[[RecordEvent], object],
        *,
        transcripts: bool = False,
        prices: PriceList | None = None,
    ) -> None:
        self._began = began
        self._tell = tell
        self._transcripts = transcripts
        self._prices = prices
        self._cost: float | None = 0.0
        self._positions = 0
        self._failed = 0
        self._slowest: float | None = None

    @property
    def id(self) -> str:
        """Names the record."""
        return self._began.id

    def begin(self) -> None:
        """Tell that its stream has begun."""
        self._tell(self._began)

    def turn(self, turn: Turn, at: float) -> None:
        """Tell of a turn.

        Args:
            turn: what its agent has reported.
            at: the time from which its times count, in seconds since the epoch.

        """
        heard = turn.audio_heard
        if heard is not None and turn.number:
            self._slowest = max(heard, self._slowest or 0.0)
        self._failed += turn.error is not None
        usage, spoken = turn.usage, self._transcripts
        cost = None if self._prices is None else self._prices.cost_of(turn)
        self._cost = None if cost is None or self._cost is None else self._cost + cost
        self._tell(
            TurnTaken(
                id=self._began.id,
                position=self._positions,
                at=at,
                number=turn.number,
                interrupted=turn.interrupted,
                error=self._error_of(turn),
                **{stage: _rounded(getattr(turn, stage)) for stage in STAGES},
                tokens_in=usage.tokens_in,
                tokens_out=usage.tokens_out,
                tokens_cached=usage.tokens_cached,
                characters=usage.characters,
                speech_seconds=round(usage.speech_seconds, 3),
                caller_words=len(turn.caller.split()),
                heard_words=len(turn.agent.split()),
                caller=storable(turn.caller, _LONGEST_WORDS) if spoken else None,
                agent=storable(turn.agent, _LONGEST_WORDS) if spoken else None,
                cost=_rounded_cost(cost),
            )
        )
        self._positions += 1

    def _error_of(self, turn: Turn) -> str | None:
        if turn.error is None:
            return None
        # A provider's words may quote what was said.
        error = turn.error if self._transcripts else turn.failure or "failed"
        return storable(error, LONGEST_TEXT)

    def over(
        self,
        *,
        at: float,
        seconds: float,
        cause: str,
        reason: str,
        error: BaseException | None,
        stream_id: str | None,
        counters: StreamCounters,
        loop_lag: float,
        first_audio: float | None,
        recording: Path | None,
        transcript: Path | None = None,
    ) -> None:
        """Tell that the call is over, and all that was counted of it."""
        began = self._began
        event = CallOver(
            **{name: getattr(began, name) for name in _BEGAN},
            ended_at=at,
            seconds=round(seconds, 3),
            cause=cause,
            reason=storable(reason, LONGEST_TEXT),
            error=None if error is None else type(error).__qualname__,
            counts={name: round(count, 3) for name, count in counters.as_dict().items() if count},
            loop_lag=round(loop_lag, 4),
            first_audio=_rounded(first_audio),
            slowest_answer=_rounded(self._slowest),
            recording=_written(recording),
            transcript=_written(transcript),
        )
        if stream_id is not None:
            event.stream_id = stream_id
        if self._positions:
            turns = counters.turns
            event.turns, event.turns_interrupted = turns.turns, turns.interrupted
            event.turns_failed = self._failed
            event.barge_ins = turns.barge_ins["confirmed"]
            event.false_barge_ins = turns.barge_ins["false"]
            event.usage = {unit: round(used, 3) for unit, used in turns.usage.items() if used}
            if self._prices is not None and self._cost is not None:
                event.cost, event.currency = _rounded_cost(self._cost), self._prices.currency
        self._tell(event)


def _written(path: Path | None) -> str | None:
    return None if path is None else storable(str(path), LONGEST_TEXT)


def _rounded_cost(cost: float | None) -> float | None:
    # One token may cost some millionths.
    return None if cost is None else round(cost, 9)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
