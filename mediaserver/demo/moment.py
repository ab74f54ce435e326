"""What happens in the demo's call, as it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal


INTERRUPTS: Final = "interrupts"
GOES_ON: Final = "goes on"
UNDERSTANDS: Final = "understands"
"""Two labels and a text that a picture makes more of."""

Who = Literal["caller", "agent"]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something worth telling about the call.

    Attributes:
        time: Seconds after the start of the stream.
        who: Whose doing it is.
        label: What it is in two or three words, for the picture; empty if it is not marked there.
        text: The same in more words, for the timeline.
        words: What is said, if anything.
        aloud: Whether the words are to be heard, and not only understood or remembered.

    """

    time: float
    who: Who
    label: str
    text: str
    words: str = ""
    aloud: bool = True


Tell = Callable[[Moment], object]
