"""Captured calls, replayed in virtual time: to the same code, and to other code."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_16K, MULAW_8K
from mediaserver import Stream
from mediaserver.agents import Echo, VoiceAgent
from mediaserver.agents.turns import LevelDetector
from mediaserver.captures.capture_file import read_capture
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.replay import replay, replayed
from mediaserver.replay.captured_call import CapturedCall
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import CallFailed
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from mediaserver.testing import JoinedCall, run_virtual
from mediaserver.testing.services import TimedModel, TimedSpeech, TimedTranscription, Timing
from tests.agents.scripted_call import voice
from tests.replay.captured import captured, two_seconds


async def talks(line: JoinedCall) -> None:
    """A caller that is heard, and presses a key."""
    noise = np.random.default_rng(7).normal(size=8_000) * 4_000
    line.phone.say(noise.astype(np.int16), 8_000)
    await line.phone.wait_until(1.5)
    line.phone.press("5")
    await line.phone.wait_until(2.5)


class Receptionist(VoiceAgent):
    """An agent whose services answer by a script."""

    voice_detector = LevelDetector

    thinks = 0.3

    def __init__(self) -> None:
        super().__init__(
            speech_to_text=TimedTranscription(["What is new?", "Stop, please."]),
            language_model=TimedModel(
                ["One two three four five six seven eight nine ten.", "As you like."],
                timing=Timing(self.thinks, 0.05),
            ),
            text_to_speech=TimedSpeech(),
            greeting="Hello there, caller.",
        )


class SlowReceptionist(Receptionist):
    """The same, whose model takes longer."""

    thinks = 0.8


async def interrupts(line: JoinedCall) -> None:
    """A caller that asks, and interrupts the answer."""
    await line.phone.wait_until(2.0)
    line.phone.say(voice(1.0))
    await line.phone.wait_until(6.0)
    line.phone.say(voice(1.2))
    await line.phone.wait_until(11.0)


@pytest.mark.parametrize("format", [MULAW_8K, L16_16K])
def test_the_same_code_is_heard_alike_sample_for_sample(tmp_path: Path, format: Any) -> None:
    comparison = replayed(captured(tmp_path, Echo, talks, format=format), Echo)
    assert comparison.difference == ""
    assert comparison.heard_alike
    assert comparison.captured.heard == comparison.replayed.heard > 2
    assert np.abs(comparison.replayed.audio).max() > 3_000


def test_a_conversation_with_an_interruption_is_heard_alike(tmp_path: Path) -> None:
    path = captured(tmp_path, Receptionist, interrupts)
    comparison = replayed(path, Receptionist)
    assert comparison.heard_alike, comparison.difference
    assert comparison.captured.clears
    assert comparison.captured.clears == comparison.replayed.clears
    figures = {each.name: (each.captured, each.replayed) for each in comparison.figures}
    assert figures["barge-ins"] == (1, 1)
    assert comparison.words[0][0] == ["", "Hello there, caller."]
    assert all(then == now for then, now in comparison.words)


def test_the_words_of_a_conversation_are_told_as_they_come(tmp_path: Path) -> None:
    class Hearing(Receptionist):
        """Understands a word after the other."""

        def __init__(self) -> None:
            super().__init__()
            assert isinstance(self.speech_to_text, TimedTranscription)
            self.speech_to_text.partial_every = 0.3

    comparison = replayed(captured(tmp_path, Hearing, interrupts), Hearing)
    told = [
        (each.what, each.details["words"].strip())
        for each in comparison.replayed.decisions
        if each.what in ("hears", "understood", "says")
    ]
    assert told[:5] == [
        ("says", "Hello there, caller."),
        ("hears", "What"),
        ("hears", "What is"),
        ("hears", "What is new?"),
        ("understood", "What is new?"),
    ]
    assert told[5] == ("says", "One two three four five six seven eight nine ten.")


def test_slower_code_is_heard_later(tmp_path: Path) -> None:
    path = captured(tmp_path, Receptionist, interrupts)
    comparison = replayed(path, SlowReceptionist)
    assert not comparison.heard_alike
    assert comparison.first_difference is not None
    assert 3 < comparison.first_difference < 5
    sent = {each.name: each for each in comparison.figures}[
        "median, caller's last word to audio heard"
    ]
    assert sent.captured is not None
    assert sent.replayed == pytest.approx(sent.captured + 0.5, abs=0.05)


def test_a_checkpoint_is_answered_when_the_audio_of_now_has_been_played(tmp_path: Path) -> None:
    def speaks(seconds: float) -> Any:
        async def speak(stream: Stream) -> None:
            playback = await stream.play(bytes(round(8_000 * seconds)))
            await playback.heard()
            stream.decided("heard")

        return speak

    path = captured(tmp_path, speaks(1.0), lambda line: line.phone.wait_closed())
    comparison = replayed(path, speaks(1.4))
    (heard,) = [each.at for each in comparison.replayed.decisions if each.what == "heard"]
    assert heard == pytest.approx(1.4, abs=0.1)
    assert comparison.difference.startswith("from 1.0")


def test_a_caller_stays_on_for_a_while_where_the_server_had_ended_the_call(tmp_path: Path) -> None:
    async def leaves(stream: Stream) -> None:
        await asyncio.sleep(1.0)

    path = captured(tmp_path, leaves, lambda line: line.phone.wait_closed())
    assert replayed(path, Echo, patience=3.0).replayed.seconds == pytest.approx(4.0, abs=0.05)
    assert replayed(path, leaves).replayed.seconds == pytest.approx(1.0, abs=0.05)


def test_a_caller_hangs_up_when_they_hung_up(tmp_path: Path) -> None:
    path = captured(tmp_path, Echo, two_seconds)
    comparison = replayed(path, Echo)
    assert comparison.replayed.seconds == pytest.approx(2.0, abs=0.01)
    assert comparison.replayed.end_reason == comparison.captured.end_reason


def test_a_connection_is_lost_and_opened_again_as_it_was(tmp_path: Path) -> None:
    misbehaviour = Misbehaviour(drop=0.8, reopen=0.3)
    path = captured(tmp_path, Echo, talks, misbehaviour=misbehaviour)
    comparison = replayed(path, Echo)
    whats = [each.what for each in comparison.replayed.decisions]
    assert whats[:2] == ["connection lost", "reconnected"]
    assert comparison.replayed.seconds == pytest.approx(2.5, abs=0.05)


def test_a_handler_that_fails_is_no_likeness(tmp_path: Path) -> None:
    async def fails(stream: Stream) -> None:
        raise ValueError("no line is free")

    comparison = replayed(captured(tmp_path, Echo, two_seconds), fails)
    assert comparison.errors == ["ValueError('no line is free')"]
    assert comparison.difference == "the handler raised ValueError('no line is free')"
    assert not comparison.heard_alike


def test_the_handler_knows_the_call_as_it_did(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def look(stream: Stream) -> None:
        seen.append((stream.call_id, stream.caller, stream.called, stream.query, stream.path))
        seen.append(stream.answer.direction if stream.answer is not None else None)
        await Echo(stream)

    answer = AnswerRequest(
        call_id="", caller="+14155550100", called="+14155550111", direction="inbound"
    )
    routes = Routes(Route(look, path="/shop"))
    path = captured(tmp_path, routes, two_seconds, answer=answer, path="/shop?till=7")
    replayed(path, routes)
    assert seen[:2] == seen[2:]
    assert seen[3] == "inbound"


@pytest.mark.parametrize("given", ["handler", "routes"])
def test_a_handler_finds_the_parameters_of_its_path(tmp_path: Path, given: str) -> None:
    seen: list[Any] = []

    async def look(stream: Stream) -> None:
        seen.append((stream.path, dict(stream.path_params)))
        await Echo(stream)

    routes = Routes(Route(look, path="/shops/{shop}"))
    path = captured(tmp_path, routes, two_seconds, path="/shops/caf%C3%A9%20noir")
    assert replayed(path, routes if given == "routes" else look).heard_alike
    assert seen == [("/shops/café noir", {"shop": "café noir"})] * 2


def test_the_settings_of_then_decide_when_audio_is_sent(tmp_path: Path) -> None:
    path = captured(tmp_path, Echo, two_seconds, settings={"lead_seconds": 1.5})
    call = CapturedCall.read(read_capture(path))
    assert call.settings().lead_seconds == 1.5


def test_a_path_without_a_handler_is_an_error(tmp_path: Path) -> None:
    path = captured(tmp_path, Echo, two_seconds)
    with pytest.raises(CallFailed):
        replayed(path, Routes(Route(Echo, path="/other")))


def test_a_call_can_be_replayed_in_a_loop_of_ones_own(tmp_path: Path) -> None:
    path = captured(tmp_path, Echo, two_seconds)
    call = CapturedCall.read(read_capture(path))
    assert run_virtual(replay(call, Echo)).heard_alike
