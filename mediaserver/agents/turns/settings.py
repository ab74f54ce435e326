"""When a caller counts as speaking, as interrupting, and as having finished."""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from mediaserver.agents.turns.words import words_of


BACKCHANNELS: Final = frozenset(
    {
        "ah",
        "aha",
        "all right",
        "alright",
        "cool",
        "got it",
        "great",
        "hm",
        "hmm",
        "huh",
        "i see",
        "mhm",
        "mm",
        "mm hm",
        "mm hmm",
        "mmm",
        "oh",
        "ok",
        "okay",
        "right",
        "sure",
        "uh",
        "uh huh",
        "um",
        "yeah",
        "yep",
        "yup",
    }
)
"""What listeners say to show that they listen. "Yes" and "no" are missing: they answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSettings:
    """How turns are taken. All times are seconds of the caller's audio.

    Attributes:
        end_of_turn: Silence after which the caller has finished.
        onset: Speech that makes a `SpeechStarted`. Shorter is quicker and pauses for more noises.
        shortest: Speech that is a word. It makes a turn while the agent is silent; while the agent
            speaks, less than this followed by quiet is noise.
        confirm: Speech beyond doubt that makes an interruption real by its length alone, without a
            transcript.
        drop_after: Quiet after which an interruption that is still undecided is dropped.
        decide_within: Longest time after `SpeechStarted` for which an interruption may stay
            undecided.
        longest: Longest utterance. After it the turn ends, even if the caller keeps speaking, so
            that hold music or a television is not collected for the whole call. None: no limit.
        preroll: Audio before `SpeechStarted` that belongs to the utterance.
        silence: Quiet on both sides after which `CallerSilent` is reported, and again after each
            further stretch of this length. None: never.
        backchannels: Words and phrases that do not interrupt; case, punctuation and hyphens do
            not matter.
        start_above: Probability of speech at which speech begins.
        stop_below: Probability under which speech that has begun has stopped.
        sure_above: Probability at which speech is beyond doubt. Coughs rarely reach it.

    Raises:
        ValueError: A setting is out of range, or two contradict each other.
        TypeError: A setting has the wrong type.

    """

    end_of_turn: float = 0.6
    onset: float = 0.02
    shortest: float = 0.16
    confirm: float = 0.6
    drop_after: float = 0.5
    decide_within: float = 1.5
    longest: float | None = 60.0
    preroll: float = 0.4
    silence: float | None = 10.0
    backchannels: AbstractSet[str] = BACKCHANNELS
    start_above: float = 0.5
    stop_below: float = 0.35
    sure_above: float = 0.9

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name in ("longest", "silence"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} must be a number, not {value!r}")
            if not math.isfinite(value) or not least <= value <= most:
                raise ValueError(f"{name} must be {least:g} to {most:g}, not {value!r}")
        for shorter, longer in _ORDER:
            most = getattr(self, longer)
            if most is not None and getattr(self, shorter) > most:
                raise ValueError(
                    f"{shorter} must not be more than {longer}, and it is "
                    f"{getattr(self, shorter):g} to {most:g}"
                )
        if not isinstance(self.backchannels, AbstractSet):
            raise TypeError(f"backchannels must be a set of words, not {self.backchannels!r}")
        for phrase in self.backchannels:
            if not isinstance(phrase, str) or not words_of(phrase):
                raise ValueError(f"a backchannel must be a word or some words, not {phrase!r}")


_RANGES: Final = {
    "end_of_turn": (0.1, 10.0),
    "onset": (0.02, 1.0),
    "shortest": (0.02, 2.0),
    "confirm": (0.02, 10.0),
    "drop_after": (0.1, 10.0),
    "decide_within": (0.1, 10.0),
    "longest": (1.0, 3600.0),
    "preroll": (0.0, 2.0),
    "silence": (1.0, 3600.0),
    "start_above": (0.01, 1.0),
    "stop_below": (0.01, 1.0),
    "sure_above": (0.01, 1.0),
}

# In pairs: the first must not be more than the second.
_ORDER: Final = (
    ("onset", "shortest"),
    ("shortest", "confirm"),
    ("confirm", "decide_within"),
    ("drop_after", "decide_within"),
    ("decide_within", "longest"),
    ("stop_below", "start_above"),
    ("start_above", "sure_above"),
)
