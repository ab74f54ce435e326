import asyncio
import json
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiocodecs import Samples
from mediaserver.agents.services import ServiceError, Transcript
from mediaserver.agents.transcriber import Transcriber
from mediaserver.agents.turns import LevelDetector
from mediaserver.routes import Route, Routes
from mediaserver.testing import JoinedCall, joined, run_virtual
from mediaserver.testing.recognizer import ToneRecognizer
from mediaserver.testing.services import Fault, TimedTranscription, Timing
from tests.agents.both_tracks import call_with_both_tracks, hertz_of


def tone(seconds: Any) -> Any:
    times = np.arange(round(seconds * 8000)) / 8000
    return (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * 8000), np.int16)


TWO_UTTERANCES = np.concatenate([silence(0.5), tone(1.0), silence(1.5), tone(0.8), silence(1.5)])


class Kept(Transcriber):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, voice_detector=LevelDetector, **settings)
        self.transcripts: list[Any] = []
        self.tracks: list[str] = []
        KEPT.append(self)

    async def on_transcript(self, transcript: Transcript) -> None:
        self.transcripts.append((transcript.text, transcript.final))
        self.tracks.append(transcript.track)


KEPT: list[Any] = []


@pytest.fixture(autouse=True)
def kept() -> list[Any]:
    KEPT.clear()
    return KEPT


def called(
    service: TimedTranscription,
    *,
    until: float = 5.0,
    said: Samples = TWO_UTTERANCES,
    **settings: Any,
) -> JoinedCall:
    async def main() -> JoinedCall:
        routes = Routes(Route(Kept, settings={"speech_to_text": service, **settings}))
        async with joined(routes, audio=said) as line:
            await line.phone.wait_until(until)
        return line

    return run_virtual(main())


def test_each_utterance_is_transcribed(kept: list[Any]) -> None:
    called(TimedTranscription(["hello there", "goodbye"]))
    assert kept[0].transcripts == [("hello there", True), ("goodbye", True)]


def test_what_has_no_words_is_left_out(kept: list[Any], tmp_path: Path) -> None:
    called(TimedTranscription(["[BLANK_AUDIO]", "goodbye"]), path=tmp_path / "a.jsonl")
    assert kept[0].transcripts == [("goodbye", True)]
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1


def test_what_is_understood_so_far_is_told(kept: list[Any]) -> None:
    called(TimedTranscription(["hello there", "goodbye"], partial_every=0.3))
    assert kept[0].transcripts[:3] == [
        ("hello", False),
        ("hello there", False),
        ("hello there", True),
    ]


def test_what_is_said_last_is_transcribed_though_the_caller_hangs_up(kept: list[Any]) -> None:
    called(TimedTranscription(["hello"]), until=1.4, said=TWO_UTTERANCES)
    assert kept[0].transcripts == [("hello", True)]


def test_each_party_is_transcribed_apart_from_the_other(kept: list[Any], tmp_path: Path) -> None:
    def heard(frames: Any) -> str:
        return f"tone of {hertz_of(np.concatenate([frame.samples for frame in frames]))}"

    path = tmp_path / "a.jsonl"
    settings = {"speech_to_text": TimedTranscription(heard), "path": path}
    routes = Routes(Route(Kept, settings=settings))
    # They speak at once for a while.
    call_with_both_tracks(routes, caller=(0.5, 3.5), other=(1.0, 2.0), until=5.0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["track"], line["text"]) for line in lines] == [
        ("outbound", "tone of 1000"),
        ("inbound", "tone of 400"),
    ]
    for line, times in zip(lines, [(1.0, 2.0), (0.5, 3.5)], strict=True):
        assert (line["start"], line["end"]) == pytest.approx(times, abs=0.15)
    assert kept[0].tracks == ["outbound", "inbound"]


def test_utterances_keep_their_order_however_long_each_takes(kept: list[Any]) -> None:
    called(TimedTranscription(["one", "two"], timing=Timing(3.0)), until=5.0)
    assert [text for text, _ in kept[0].transcripts] == ["one", "two"]


def test_lines_are_added_to_a_file(tmp_path: Path) -> None:
    called(TimedTranscription(["hello there", "good\nbye"]), path=tmp_path / "to" / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "to" / "a.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == ["hello there", "good\nbye"]
    assert lines[0]["start"] == pytest.approx(0.5, abs=0.15)
    assert lines[0]["end"] == pytest.approx(1.5, abs=0.15)
    assert lines[1]["start"] == pytest.approx(3.0, abs=0.15)


def test_the_call_names_the_file_once_it_is_there(tmp_path: Path, kept: list[Any]) -> None:
    called(TimedTranscription(["hello", "there"]), path=tmp_path / "a.jsonl")
    called(TimedTranscription(["...", "..."]), path=tmp_path / "none.jsonl")
    assert [each.stream.transcript for each in kept] == [tmp_path / "a.jsonl", None]


def test_nobody_else_can_read_what_was_said(tmp_path: Path) -> None:
    called(TimedTranscription(["hello"]), path=tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_does_not_end_the_call(
    tmp_path: Path, kept: list[Any]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    called(TimedTranscription(["hello there", "goodbye"]), path=tmp_path / "file" / "a.jsonl")
    assert kept[0].transcripts == [("hello there", True), ("goodbye", True)]


def test_a_path_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"allowed: \{call_id\}"):
        Transcriber(TimedTranscription(), "{caler}.jsonl")


def test_a_service_that_raises_what_it_should_not_is_one_that_failed(kept: list[Any]) -> None:
    fault = Fault(error=LookupError("no ears"), uses=1)
    line = called(TimedTranscription(["one", "two"], fault=fault))
    assert [text for text, _ in kept[0].transcripts] == ["two"]
    assert line.runtime.stream_totals().turns.failures == {"speech_to_text": 1}


def test_an_utterance_that_a_service_fails_on_is_left_out(kept: list[Any]) -> None:
    error = ServiceError("ears", "away", status=503)
    line = called(TimedTranscription(["one", "two"], fault=Fault(error=error, uses=1)))
    assert [text for text, _ in kept[0].transcripts] == ["two"]
    assert line.runtime.stream_totals().turns.failures == {"ears": 1}


def test_a_service_that_stalls_is_given_up(kept: list[Any]) -> None:
    line = called(TimedTranscription(["one", "two"], fault=Fault(uses=1)), patience=1.0, until=5.0)
    assert [text for text, _ in kept[0].transcripts] == ["two"]
    assert line.runtime.stream_totals().turns.failures == {"speech_to_text": 1}


def test_a_service_that_does_not_end_after_its_last_transcript_is_no_failure(
    kept: list[Any],
) -> None:
    class Endless(TimedTranscription):
        async def transcribe(self, audio: Any) -> AsyncGenerator[Any, None]:
            async for transcript in super().transcribe(audio):
                yield transcript
            await asyncio.sleep(3600)

    line = called(Endless(["one", "two"]), patience=0.5)
    assert [text for text, _ in kept[0].transcripts] == ["one", "two"]
    assert line.runtime.stream_totals().turns.failures == {}


@pytest.mark.parametrize("piece", ["hello", None])
def test_a_service_that_sends_what_is_no_transcript_is_one_that_failed(
    kept: list[Any], piece: str | None
) -> None:
    class Wrong(TimedTranscription):
        async def transcribe(self, audio: Any) -> AsyncGenerator[Any, None]:
            async for _ in super().transcribe(audio):
                yield piece

    line = called(Wrong(["one", "two"]))
    assert kept[0].transcripts == []
    assert line.runtime.stream_totals().turns.failures == {"speech_to_text": 2}


def test_nothing_is_transcribed_of_a_silent_caller(kept: list[Any]) -> None:
    called(TimedTranscription(["hello"]), said=silence(3.0), until=3.0)
    assert kept[0].transcripts == []


def test_patience_is_some() -> None:
    with pytest.raises(ValueError, match="above 0, not 0"):
        Transcriber(TimedTranscription(), patience=0)


def test_its_detector_is_made_in_a_thread_before_the_first_call() -> None:
    threads = []

    def make() -> Any:
        threads.append(threading.current_thread())
        return LevelDetector()

    settings = {"speech_to_text": TimedTranscription(["hello"]), "voice_detector": make}

    async def main() -> None:
        async with Routes(Route(Transcriber, settings=settings)).lifespan():
            assert len(threads) == 1

    asyncio.run(main())
    assert threads[0] is not threading.main_thread()


def test_its_service_is_closed_with_the_worker() -> None:
    class Closing(TimedTranscription):
        closed = 0

        async def close(self) -> None:
            self.closed += 1

    service = Closing(["hello"])
    called(service)
    assert service.closed == 1


def test_a_recogniser_has_a_session_that_is_replaced_when_it_is_lost(kept: list[Any]) -> None:
    ears = ToneRecognizer(["hello", "there", "goodbye"])
    hello, goodbye = ears.say("hello there"), ears.say("goodbye")
    said = np.concatenate([silence(0.5), hello, silence(1.5), goodbye, silence(1.5)])

    async def main() -> JoinedCall:
        routes = Routes(Route(Kept, settings={"speech_to_text": ears}))
        async with joined(routes, audio=said) as line:
            await line.phone.wait_until(2.9)
            ears.session.lose()
            await line.phone.wait_until(4.5)
        return line

    line = run_virtual(main())
    finals = [text for text, final in kept[0].transcripts if final]
    assert finals == ["hello there", "goodbye"]
    assert ("hello", False) in kept[0].transcripts
    assert (len(ears.sessions), ears.open) == (2, 0)
    assert line.runtime.stream_totals().turns.failures == {"tones": 1}


def test_each_party_has_a_session(kept: list[Any]) -> None:
    ears = ToneRecognizer(["hello"])
    routes = Routes(Route(Kept, settings={"speech_to_text": ears}))
    call_with_both_tracks(routes, caller=(0.5, 1.5), other=(1.0, 2.0), until=3.0)
    assert len(ears.sessions) == 2
    assert ears.open == 0


def test_what_a_recogniser_hears_is_one_of_two_things() -> None:
    with pytest.raises(ValueError, match="'everything' or 'speech', not 'all'"):
        Transcriber(TimedTranscription(), recognizer_hears="all")  # type: ignore[arg-type]
