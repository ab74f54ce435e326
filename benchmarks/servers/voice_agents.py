"""Voice agents for the agents benchmark: handlers for `mediaserver serve`."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np

from audiocodecs import AudioFormat
from benchmarks.servers.mock_services import MockModel, MockSpeech, MockTranscription
from benchmarks.servers.mock_timings import END_OF_TURN, Timings, tokens
from mediaserver.agents.conversing.voice_agent import VoiceAgent
from mediaserver.agents.services import (
    Recognizer,
    SpeechToText,
    Text,
    TextToSpeech,
    Voice,
    WordMark,
)
from mediaserver.agents.services.espeak import EspeakSpeech
from mediaserver.agents.turns import TurnSettings, prewarm
from mediaserver.call import Frame, Turn
from mediaserver.espeak import MarkedSpeech


prewarm()


STORIES = (
    (
        "The old harbour was built by fishermen from three small villages. In winter the wind "
        "comes over the hills and nobody goes out to sea. My grandmother kept a shop there for "
        "forty years. She sold bread and candles and rope, and she knew every ship by the sound "
        "of its bell."
    ),
    (
        "Your parcel left our warehouse on Monday morning. It travelled by train as far as the "
        "coast, and from there it went on by lorry. The driver tried to deliver it yesterday, but "
        "there was nobody at home. He will come again tomorrow between nine and eleven."
    ),
    (
        "You can change your booking until the evening before you travel. If you cancel later "
        "than that, we keep half of the price. Children under six travel with you for nothing. "
        "Dogs need a ticket of their own, and a bicycle needs one too."
    ),
)


class Answering(VoiceAgent):
    """Gives short answers, at the pace of the mock services."""

    prompt = "You answer for a shop."
    # No phrases are synthesised beforehand.
    silence_prompt = apology = goodbye = None
    turn_taking = TurnSettings(end_of_turn=END_OF_TURN)
    speech_to_text: SpeechToText | Recognizer = MockTranscription()
    language_model = MockModel()
    text_to_speech: TextToSpeech | Voice = MockSpeech()


# The cost of a token and of a piece of audio: the same long answer in more of them.

_LONG = " ".join(STORIES)
_BRIEF = Timings(first_chunk=0.01, chunk=0.002, chunks=3)


class FewTokens(Answering):
    """Writes an answer in words, and speaks each of its sentences in 3 pieces."""

    language_model = MockModel([tokens(_LONG)], Timings(token=0.005))
    text_to_speech = MockSpeech(_BRIEF)


class ManyTokens(FewTokens):
    """Writes the same answer letter by letter."""

    language_model = MockModel([list(_LONG)], Timings(token=0.001))


class ManyChunks(FewTokens):
    """Speaks each of its sentences in 12 pieces."""

    text_to_speech = MockSpeech(replace(_BRIEF, chunks=12))


MORE_TOKENS = len(_LONG) - len(tokens(_LONG))
"""How many more tokens `ManyTokens` writes than `FewTokens`."""


# Agents that talk for a long time.

_AT_LENGTH = Timings(chunk=0.02, chunks=300, chunk_seconds=0.1)


class Talkative(Answering):
    """Talks for half a minute each time; its speech is synthesised five times as fast."""

    text_to_speech = MockSpeech(_AT_LENGTH)


class Undisturbed(Talkative):
    """Understands the first question, and finds no words in the noise after that."""

    text_to_speech = MockSpeech(replace(_AT_LENGTH, chunks=900))

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.speech_to_text = MockTranscription(times=1)


# What was heard.


class _Recorded(EspeakSpeech):
    """Speaks with eSpeak NG, and remembers the positions of the words of each sentence.

    Attributes:
        said: the sentences that it was asked to speak.

    """

    def __init__(self) -> None:
        self._speech: dict[str, MarkedSpeech] = {}
        self.said: list[str] = []
        super().__init__()

    def _say(self, text: str) -> MarkedSpeech:
        speech = self._speech[text] = super()._say(text)
        return speech

    async def speak(self, text: str, format: AudioFormat) -> AsyncIterator[Frame | WordMark]:
        """Speak `text`."""
        self.said.append(text)
        async for piece in super().speak(text, format):
            yield piece

    def middles(self, text: str) -> list[float]:
        """Return when half of each word of `text` has been said.

        A word lasts from its beginning, which eSpeak NG gives, to the last sound before the next.
        """
        speech = self._speech[text]
        loud = np.flatnonzero(np.abs(speech.wav.samples.astype(np.int32)) > 150) / speech.wav.rate
        ends = [*(word.seconds for word in speech.words[1:]), speech.wav.seconds]
        middles = {}
        for word, end in zip(speech.words, ends, strict=True):
            within = loud[(loud >= word.seconds) & (loud < end)]
            last = float(within[-1]) if len(within) else end
            middles[word.start] = (word.seconds + last) / 2
        starts = [found.start() for found in re.finditer(r"\S+", text)]
        # Words that eSpeak NG runs together share one position.
        return [middles[max(place for place in middles if place <= start)] for start in starts]

    def seconds(self, text: str) -> float:
        """Return how long it takes to say `text`."""
        return self._speech[text].wav.seconds


class _Unmarked(_Recorded):
    """The same, but the agent does not learn where words end."""

    async def speak(self, text: str, format: AudioFormat) -> AsyncIterator[Frame | WordMark]:
        """Speak `text`."""
        async for piece in super().speak(text, format):
            if not isinstance(piece, WordMark):
                yield piece


class Storyteller(Answering):
    """Tells stories, and after each turn reports what its conversation has of the turn.

    The report is JSON in the name of a checkpoint: the text in the conversation, whether it was
    interrupted, and for each sentence when its words are half said and how long it is.
    """

    language_model = MockModel(
        [tokens(story) for story in STORIES],
        Timings(first_token=0.05, token=0.01),
    )
    speech = _Recorded

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.recorded = self.speech()
        self.text_to_speech = self.recorded

    async def on_turn(self, turn: Turn) -> None:
        """Tell what was heard."""
        said, self.recorded.said = self.recorded.said, []
        texts = (each for each in self.conversation.messages if isinstance(each, Text))
        kept = [each for each in texts if each.role != "user"]
        account = {
            "kept": kept[-1].text if kept and turn.agent else "",
            "told": turn.agent,
            "interrupted": turn.interrupted,
            "sentences": [
                {
                    "middles": [round(at, 4) for at in self.recorded.middles(text)],
                    "seconds": self.recorded.seconds(text),
                }
                for text in said
            ],
        }
        self.stream.checkpoint("turn:" + json.dumps(account, separators=(",", ":")))


class UnmarkedStoryteller(Storyteller):
    """The same, with a speech service that does not say where words end."""

    speech = _Unmarked
