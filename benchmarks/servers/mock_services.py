"""The mock services in the form that a `VoiceAgent` takes."""

import math
from collections.abc import AsyncIterator, Sequence

from audiocodecs import AudioFormat
from benchmarks.servers.mock_timings import ANSWER, PUBLISHED, Timings, spoken, timed, tokens
from mediaserver.agents.services import Message, Text, ToolSpec, Transcript
from mediaserver.call import Frame


class MockTranscription:
    """Returns the same transcript for every utterance.

    Args:
        text: the transcript.
        timings: when it comes.
        times: how many utterances it finds words in.

    """

    def __init__(
        self,
        text: str = "When will my order arrive?",
        timings: Timings = PUBLISHED,
        times: float = math.inf,
    ) -> None:
        self._text = text
        self._timings = timings
        self._times = times

    async def transcribe(self, speech: AsyncIterator[Frame]) -> AsyncIterator[Transcript]:
        """Yield the transcript some time after the end of the utterance."""
        seconds = 0.0
        async for frame in speech:
            seconds += frame.seconds
        self._times -= 1
        text = self._text if self._times >= 0 else ""
        transcript = Transcript(text, final=True, seconds=seconds)
        async for piece in timed([transcript], self._timings.transcript, 0.0):
            yield piece


class MockModel:
    """Writes one of its answers, chosen by how often the caller has spoken.

    Args:
        answers: the tokens of each answer.
        timings: when they come.

    """

    def __init__(
        self,
        answers: Sequence[Sequence[str]] = (tuple(tokens(ANSWER)),),
        timings: Timings = PUBLISHED,
    ) -> None:
        self._answers = answers
        self._timings = timings

    async def respond(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncIterator[str]:
        """Yield the tokens of an answer."""
        said = sum(isinstance(each, Text) and each.role == "user" for each in conversation)
        answer = self._answers[said % len(self._answers)]
        first = self._timings.first_token + self._timings.token
        async for token in timed(answer, first, self._timings.token):
            yield token


class MockSpeech:
    """Speaks noise; the first piece of each sentence encodes the time at which it was returned."""

    def __init__(self, timings: Timings = PUBLISHED) -> None:
        self._timings = timings

    async def speak(self, text: str, format: AudioFormat) -> AsyncIterator[Frame]:
        """Yield the pieces of a sentence."""
        async for piece in spoken(self._timings):
            yield Frame(piece, format, "outbound")
