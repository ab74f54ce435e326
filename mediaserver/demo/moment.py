"""What happens in the demo's call, in moments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal


INTERRUPTS: Final = "interrupts"
GOES_ON: Final = "goes on"
UNDERSTANDS: Final = "understands"
"""Two labels and a text that the picture draws in a special way."""

Who = Literal["caller", "agent"]


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of the call.

    Attributes:
        time: Seconds after the start of the stream.
        who: Who did it.
        label: Two or three words for the picture; empty if the picture does not mark it.
        text: A longer text for the timeline.
        words: The words said, if any.
        aloud: True if the words are spoken; False if they are only understood or remembered.

    """

    time: float
    who: Who
    label: str
    text: str
    words: str = ""
    aloud: bool = True


Tell = Callable[[Moment], object]
