"""Voice agents whose services have sessions: handlers for `mediaserver serve`."""

import os
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from benchmarks.servers import contexts, nova
from benchmarks.servers.mock_services import MockModel
from benchmarks.servers.voice_agents import Answering, Talkative
from mediaserver.agents.services import Message, ToolSpec, Transcript
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.agents.turns import LevelDetector, TurnSettings
from mediaserver.call import Turn


RECOGNIZER_URL = "BENCHMARK_RECOGNIZER_URL"
"""The variable with the address of `benchmarks.servers.nova`."""

VOICE_URL = "BENCHMARK_VOICE_URL"
"""The variable with the address of `benchmarks.servers.contexts`."""

_NOWHERE = "ws://127.0.0.1:1"


def _recognizer(model: str = "nova-3") -> DeepgramRecognizer:
    url = os.environ.get(RECOGNIZER_URL, _NOWHERE)
    return DeepgramRecognizer(model, base_url=url, api_key="key")


def _voice(voice: str = "anna") -> ElevenLabsVoice:
    url = os.environ.get(VOICE_URL, _NOWHERE)
    return ElevenLabsVoice(voice, base_url=url, api_key="key")


class StampedModel(MockModel):
    """Ends each answer with the time at which it was complete."""

    async def respond(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncIterator[str]:
        """Yield the tokens of an answer, and the time."""
        async for token in super().respond(conversation, tools):
            yield token.rstrip(".")
        yield f" {time.monotonic_ns()}."


class Unhearing(Answering):
    """Answers at the pace of the mock services, of which none has a session."""

    voice_detector = LevelDetector


class Understanding(Unhearing):
    """The same with sessions; tells when it uses a final transcript, by a checkpoint's name."""

    speech_to_text = _recognizer()

    async def on_transcript(self, transcript: Transcript) -> None:
        """Tell the time of a final one."""
        if transcript.final and transcript.text:
            self.stream.checkpoint(f"told:used:{time.monotonic()}")


class Speaking(Unhearing):
    """Hears and speaks by sessions."""

    speech_to_text = _recognizer()
    language_model = StampedModel()
    text_to_speech = _voice()


class CutEar(Unhearing):
    """Has a recogniser whose connection is cut in each turn; tells which words were lost by it."""

    speech_to_text = _recognizer(nova.CUT)

    async def on_transcript(self, transcript: Transcript) -> None:
        """Tell the numbers of words that are missing, and of those that are there twice."""
        if transcript.final and transcript.text:
            numbers = [int(word.partition("@")[0]) for word in transcript.text.split()]
            self.stream.checkpoint(f"told:lost:{len(set(range(1, nova.WORDS + 1)) - set(numbers))}")
            self.stream.checkpoint(f"told:twice:{len(numbers) - len(set(numbers))}")


class CutVoice(Unhearing):
    """Has a voice whose connection is cut in each answer; tells when an answer was not spoken."""

    language_model = MockModel([[f"w{number} " for number in range(1, contexts.WORDS + 1)]])
    text_to_speech = _voice(contexts.CUT)

    async def on_turn(self, turn: Turn) -> None:
        """Tell whether the answer failed."""
        self.stream.checkpoint(f"told:failed:{int(turn.error is not None)}")


class Interruptible(Talkative):
    """Is interrupted by words only, and tells how long after the first of them."""

    voice_detector = LevelDetector
    speech_to_text = _recognizer()
    turn_taking = TurnSettings(confirm=10.0, decide_within=10.0)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._told_at = 0.0

    async def on_transcript(self, transcript: Transcript) -> None:
        """Remember when the first words were told."""
        if transcript.text:
            self._told_at = int(transcript.text.split()[0].partition("@")[2]) / 1e9

    async def on_barge_in(self, confirmed: bool) -> None:
        """Tell how long after the words the agent was interrupted."""
        if confirmed:
            self.stream.checkpoint(f"told:interrupted:{time.monotonic() - self._told_at}")
