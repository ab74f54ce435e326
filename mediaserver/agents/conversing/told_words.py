"""Tells those that follow a call which words of the agent's the caller will hear, and when."""

from __future__ import annotations

from mediaserver.agents.conversing.heard_words import Spoken
from mediaserver.stream import Stream


class ToldWords:
    """The words of one text, as its audio is given to the stream.

    It costs nothing while nobody follows.

    Args:
        stream: the stream that plays the audio.
        spoken: the text and its audio.
        generation: that of the stream in which it plays; after an interruption nothing is told.

    """

    __slots__ = ("_generation", "_place", "_spoken", "_stream", "_until")

    def __init__(self, stream: Stream, spoken: Spoken, generation: int) -> None:
        self._stream = stream
        self._spoken = spoken
        self._generation = generation
        # In the text, and in its audio: up to where it was told.
        self._place = 0
        self._until = 0.0

    def played(self, seconds: float) -> None:
        """Tell which words there are in the audio that the stream was given so far.

        Args:
            seconds: the length of that audio.

        """
        if not self._stream.followed or self._generation != self._stream.generation:
            return
        for place, at in self._spoken.word_ends(self._until, seconds):
            self._until = at
            if place > self._place:
                words = self._spoken.text[self._place : place]
                self._place = place
                heard_in = self._stream.heard_in(seconds - at)
                self._stream.decided("spoken", words=words, heard_in=round(heard_in, 4))
