"""Turn-taking with several voice detectors: missed and false turns, delays, processor time.

    python -m benchmarks.voice_activity [--quick] [--json FILE] [--speech FOLDER] [--noises FOLDER]

Four tables: turns in noise, ten minutes of noise while the agent speaks, short interruptions, and
processor time. Everything passes through a telephone: 8 kHz, mu-law, 20 ms a frame.

Without folders everything is synthesised: speech by eSpeak NG; coughs, typing, a street and hold
music from random numbers. With folders, recordings are measured too, in separate rows. The energy
of the clean signal decides what is speech, in recordings and in synthesised speech.

Packages of other projects contain recordings. Of people:

    pip download --no-deps --no-binary :all: pocketsphinx
    tar xf pocketsphinx-*.tar.gz          # --speech: test/data/{cards,forever,librivox} in one

and of rooms, keyboards and hold music:

    pip download --no-deps livekit-agents
    unzip livekit_agents-*.whl            # --noises: livekit/agents/resources
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from audiocodecs import MULAW_8K, mulaw_encode, resample
from mediaserver.agents.turns import (
    LevelDetector,
    SileroDetector,
    SpeechConfirmed,
    SpeechDropped,
    SpeechStarted,
    TurnEnded,
    TurnEvent,
    TurnSettings,
    TurnTaker,
    VoiceDetector,
    WebrtcDetector,
    default_detector,
)
from mediaserver.call import Frame
from mediaserver.espeak import speak
from mediaserver.sandbox.audio.background_noise import NOISES, RATE, Signal, at_level


DETECTORS: dict[str, Callable[[], VoiceDetector]] = {
    "level": LevelDetector,
    "webrtcvad": lambda: WebrtcDetector(3),
    "Silero": SileroDetector,
    "default": default_detector,
}

VOICES = ("en-us", "en-us+f3", "en-gb-x-rp", "en-gb-x-rp+f2")
SENTENCES = (
    "I would like a table for two, tonight at eight.",
    "My order has not arrived yet.",
    "Could you please tell me when the next train to the airport leaves?",
    "Yes.",
    "No, not on Tuesday.",
    "Thursday afternoon would suit me a good deal better.",
    "Hello?",
    "What does it cost?",
)
INTERRUPTIONS = ("Stop!", "No, wait.", "Hold on.", "Excuse me.", "No!", "Wait a minute.")
AGREEMENTS = ("Mm-hmm.", "Yeah.", "Okay.", "Right.", "I see.", "Uh-huh.")

SPEECH_LEVEL = -20.0  # decibels relative to full scale, of the louder parts
NOISE_LEVEL = -26.0  # of noise alone: loud, for a telephone
PAUSE = 2.0  # between utterances; longer than any pause that ends a turn
FRAME = 160
GRACE = 0.1  # how long a start may come before the energy shows it

SETTINGS = TurnSettings(silence=None)


# Sounds


def recording(path: Path) -> Signal:
    signal, rate = soundfile.read(path, dtype="int16", always_2d=True)
    mono = np.rint(signal.mean(axis=1)).astype(np.int16)
    return resample(mono, rate, RATE).astype(np.float64)


def recordings(folder: Path) -> dict[str, Signal]:
    suffixes = {".wav", ".flac", ".ogg"}
    paths = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes)
    found = {path.stem: recording(path) for path in paths if soundfile.info(path).duration >= 1}
    if not found:
        raise SystemExit(f"there is no WAV, FLAC or OGG file of a second or more in {folder}")
    return found


@dataclass(frozen=True)
class Clip:
    """Somebody says something; a recording also contains noise."""

    signal: Signal
    recorded: bool = False


def spoken(text: str, voice: str) -> Clip:
    wav = speak(text, voice)
    return Clip(resample(wav.samples, wav.rate, RATE).astype(np.float64))


def telephone(signal: Signal) -> list[Frame]:
    samples = np.rint(signal).clip(-32_768, 32_767).astype(np.int16)
    payload = mulaw_encode(resample(samples, RATE, 8_000))
    return [
        Frame(payload[start : start + FRAME], MULAW_8K)
        for start in range(0, len(payload) - FRAME + 1, FRAME)
    ]


Span = tuple[float, float]


def utterances(clip: Clip) -> list[Span]:
    """Return when somebody speaks, by the energy; short pauses count as speech.

    Speech is within 30 dB of the loud parts and lasts 30 ms. In a recording it is also 10 dB above
    the quietest part.
    """
    size = RATE // 100
    blocks = clip.signal[: len(clip.signal) // size * size].reshape(-1, size)
    levels = 10 * np.log10(np.mean(np.square(blocks), axis=1) / 2**30 + 1e-9)
    least = SPEECH_LEVEL - 30
    if clip.recorded:
        least = min(max(least, np.percentile(levels, 5) + 10), SPEECH_LEVEL - 20)
    loud = levels > least
    steady = loud[:-2] & loud[1:-1] & loud[2:]
    spans: list[Span] = []
    for index in map(int, np.flatnonzero(steady)):
        start, end = index / 100, (index + 3) / 100
        if spans and start - spans[-1][1] < SETTINGS.end_of_turn:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return [(start, end) for start, end in spans if end - start >= 0.1]


def conversation(clips: Iterable[Clip], pause: float = PAUSE) -> tuple[Signal, list[Span]]:
    """Return the clips with pauses around them, and when somebody speaks in the result."""
    silence = np.zeros(int(pause * RATE))
    pieces, truth = [silence], []
    for clip in clips:
        levelled = Clip(at_level(clip.signal, SPEECH_LEVEL), clip.recorded)
        begun = sum(map(len, pieces)) / RATE
        truth += [(begun + start, begun + end) for start, end in utterances(levelled)]
        pieces += [levelled.signal, silence]
    return np.concatenate(pieces), truth


# What turn-taking makes of them


def events(detector: str, frames: Iterable[Frame], *, agent_speaking: bool) -> list[TurnEvent]:
    taker = TurnTaker(SETTINGS, DETECTORS[detector]())
    heard = (taker.hear(frame, agent_speaking=agent_speaking) for frame in frames)
    return [event for event in heard if event is not None]


@dataclass
class Turns:
    """What became of the utterances.

    Attributes:
        said: How many there were.
        missed: Utterances in which no turn was seen.
        false: Turns in which nobody spoke, or that began well before somebody did.
        split: Ends of turn in the middle of an utterance.
        unended: Turns that had not ended when the next utterance began.
        onsets: Seconds from the first speech to `SpeechStarted`.
        ends: Seconds from the last speech to `TurnEnded`.

    """

    said: int = 0
    missed: int = 0
    false: int = 0
    split: int = 0
    unended: int = 0
    onsets: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def add(self, truth: Sequence[Span], found: Iterable[TurnEvent], seconds: float) -> None:
        """Compare the turns found with what was said."""
        turns = list(_confirmed(found, seconds))
        self.said += len(truth)
        for start, end, _ in turns:
            touched = [span for span in truth if span[0] - GRACE < end and start < span[1] + GRACE]
            self.false += int(not touched or start < touched[0][0] - GRACE)
        limits = [start for start, _ in truth[1:]] + [seconds]
        for (begin, finish), limit in zip(truth, limits, strict=True):
            own = [turn for turn in turns if turn[0] < finish and turn[1] > begin]
            if not own:
                self.missed += 1
                continue
            if own[0][0] >= begin - GRACE:
                self.onsets.append(own[0][0] - begin)
            self.split += len(own) - 1
            if own[-1][2] > limit:
                self.unended += 1
            else:
                self.ends.append(own[-1][2] - finish)


def _confirmed(found: Iterable[TurnEvent], seconds: float) -> Iterator[tuple[float, float, float]]:
    """Yield the start, the end of speech and the end of each confirmed turn."""
    started, confirmed = 0.0, False
    for event in found:
        match event:
            case SpeechStarted(at):
                started, confirmed = at, False
            case SpeechConfirmed():
                confirmed = True
            case TurnEnded(at, ended):
                yield started, ended, at
                confirmed = False
    if confirmed:
        yield started, seconds, seconds + 1


def measure_turns(
    sources: dict[str, list[Clip]], noises: dict[str, Signal], snrs: Sequence[int]
) -> list[dict[str, Any]]:
    """Return what became of the utterances, by source of speech, SNR and detector."""
    rows = []
    for source, clips in sources.items():
        clean, truth = conversation(clips)
        seconds = len(clean) / RATE
        mixtures: dict[str, list[list[Frame]]] = {"none": [telephone(clean)]}
        for snr in snrs:
            mixtures[f"{snr} dB"] = [
                telephone(clean + at_level(np.resize(noise, len(clean)), SPEECH_LEVEL - snr))
                for noise in noises.values()
            ]
        for condition, tracks in mixtures.items():
            for detector in DETECTORS:
                turns = Turns()
                for frames in tracks:
                    turns.add(truth, events(detector, frames, agent_speaking=False), seconds)
                row = {"speech": source, "noise": condition, "detector": detector}
                rows.append(row | asdict(turns))
    return rows


def measure_noises(noises: dict[str, Signal]) -> list[dict[str, Any]]:
    """Return how often noise made the agent pause and interrupted it, by noise and detector."""
    rows = []
    for name, noise in noises.items():
        frames = telephone(at_level(noise, NOISE_LEVEL))
        for detector in DETECTORS:
            found = events(detector, frames, agent_speaking=True)
            paused, begun = 0.0, 0.0
            for event in found:
                if isinstance(event, SpeechStarted):
                    begun = event.at
                elif isinstance(event, SpeechDropped):
                    paused += event.at - begun
            rows.append(
                {
                    "noise": name,
                    "seconds": len(noise) / RATE,
                    "detector": detector,
                    "confirmed": sum(isinstance(event, SpeechConfirmed) for event in found),
                    "pauses": sum(isinstance(event, SpeechDropped) for event in found),
                    "paused": paused,
                }
            )
    return rows


def measure_interruptions(noises: dict[str, Signal]) -> list[dict[str, Any]]:
    """Return what becomes of a few words while the agent speaks, judged by their length only."""
    rows = []
    for kind, texts in (("interruption", INTERRUPTIONS), ("agreement", AGREEMENTS)):
        for text in texts:
            clean, truth = conversation(spoken(text, voice) for voice in VOICES)
            noise = at_level(np.resize(noises["street"], len(clean)), SPEECH_LEVEL - 15)
            frames = telephone(clean + noise)
            for detector in DETECTORS:
                found = events(detector, frames, agent_speaking=True)
                starts = [event.at for event in found if isinstance(event, SpeechStarted)]
                confirms = [event.at for event in found if isinstance(event, SpeechConfirmed)]
                row: dict[str, Any] = {"kind": kind, "text": text, "detector": detector}
                row["said"] = len(truth)
                row["onsets"] = list(_first_after(truth, starts))
                row["confirms"] = list(_first_after(truth, confirms))
                rows.append(row)
    return rows


def _first_after(truth: Iterable[Span], times: Sequence[float]) -> Iterator[float]:
    for start, end in truth:
        within = [at - start for at in times if start - GRACE <= at < end + 1]
        if within:
            yield within[0]


def measure_costs(
    clips: Sequence[Clip], noises: dict[str, Signal], repeats: int
) -> list[dict[str, Any]]:
    """Return milliseconds of CPU per second of a call in which the caller talks 40 %."""
    together, truth = conversation(clips, 0.7)
    talk = sum(end - start for start, end in truth)
    clean = np.concatenate([together, np.zeros(max(0, int(2.5 * talk * RATE) - len(together)))])
    tracks = {"none": clean}
    for name, noise in noises.items():
        tracks[name] = clean + at_level(np.resize(noise, len(clean)), SPEECH_LEVEL - 20)
    rows = []
    for name, track in tracks.items():
        frames = telephone(track)
        spent: dict[str, list[float]] = {detector: [] for detector in DETECTORS}
        for _ in range(repeats):
            for detector, times in spent.items():  # in turns
                began = time.process_time()
                events(detector, frames, agent_speaking=False)
                times.append(1_000 * (time.process_time() - began) / (len(frames) / 50))
        for detector, times in spent.items():
            row = {"noise": name, "detector": detector, "talk": talk / (len(frames) / 50)}
            rows.append(row | {"cpu_ms": float(np.median(times))})
    return rows


# Tables


def milliseconds(values: Sequence[float], *percentiles: int) -> str:
    if not values:
        return "-"
    return " / ".join(f"{1_000 * np.percentile(values, each):.0f}" for each in percentiles)


def table(title: str, rows: Iterable[Any], columns: dict[str, Callable[[Any], str]]) -> Table:
    made = Table(title=title, title_justify="left", box=MARKDOWN)
    for index, heading in enumerate(columns):
        made.add_column(heading, justify="left" if index < 2 else "right", no_wrap=True)
    for row in rows:
        made.add_row(*(show(row) for show in columns.values()))
    return made


def turn_table(rows: list[Any]) -> Table:
    return table(
        "Turns; delays in ms, p50 / p95",
        rows,
        {
            "speech": lambda row: row["speech"],
            "detector": lambda row: row["detector"],
            "SNR": lambda row: row["noise"],
            "said": lambda row: str(row["said"]),
            "missed": lambda row: str(row["missed"]),
            "false": lambda row: str(row["false"]),
            "split": lambda row: str(row["split"]),
            "unended": lambda row: str(row["unended"]),
            "onset": lambda row: milliseconds(row["onsets"], 50, 95),
            "end of turn": lambda row: milliseconds(row["ends"], 50, 95),
        },
    )


def noise_table(rows: list[Any]) -> Table:
    return table(
        "Noise while the agent speaks",
        rows,
        {
            "noise": lambda row: row["noise"],
            "detector": lambda row: row["detector"],
            "seconds": lambda row: f"{row['seconds']:.0f}",
            "interruptions": lambda row: str(row["confirmed"]),
            "pauses": lambda row: str(row["pauses"]),
            "seconds paused": lambda row: f"{row['paused']:.1f}",
        },
    )


def interruption_table(rows: list[Any]) -> Table:
    return table(
        "A few words while the agent speaks, without a transcript, 15 dB above a street; in ms",
        rows,
        {
            "kind": lambda row: row["kind"],
            "words": lambda row: row["text"],
            "detector": lambda row: row["detector"],
            "paused": lambda row: f"{len(row['onsets'])} of {row['said']}",
            "interrupted": lambda row: f"{len(row['confirms'])} of {row['said']}",
            "pause, p50 / p95": lambda row: milliseconds(row["onsets"], 50, 95),
            "interrupted, p50": lambda row: milliseconds(row["confirms"], 50),
        },
    )


def cost_table(rows: list[Any]) -> Table:
    return table(
        f"CPU per second of a call, {rows[0]['talk']:.0%} talk, noise 20 dB below it",
        rows,
        {
            "noise": lambda row: row["noise"],
            "detector": lambda row: row["detector"],
            "CPU": lambda row: f"{row['cpu_ms']:.2f} ms",
        },
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.voice_activity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="little of everything")
    parser.add_argument("--speech", type=Path, metavar="FOLDER", help="recordings of people")
    parser.add_argument("--noises", type=Path, metavar="FOLDER", help="recordings of noises")
    options = parser.parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)

    rng = np.random.default_rng(1)
    noise_seconds = 20.0 if options.quick else 150.0
    noises = {name: make(noise_seconds, rng) for name, make in NOISES.items()}
    voices = VOICES[:1] if options.quick else VOICES
    sources = {"synthesised": [spoken(text, voice) for voice in voices for text in SENTENCES]}
    if options.noises is not None:
        found = recordings(options.noises)
        noises |= {
            f"{name} (rec.)": np.resize(noise, int(noise_seconds * RATE))
            for name, noise in found.items()
        }
    if options.speech is not None:
        sources["recorded"] = [
            Clip(signal, recorded=True) for signal in recordings(options.speech).values()
        ]
    snrs = (10,) if options.quick else (20, 10, 5, 0)

    figures = {
        "turns": measure_turns(sources, noises, snrs),
        "noises": measure_noises(noises),
        "interruptions": measure_interruptions(noises),
        "costs": measure_costs(sources["synthesised"], noises, 1 if options.quick else 3),
    }
    console.print(turn_table(figures["turns"]))
    console.print(noise_table(figures["noises"]))
    console.print(interruption_table(figures["interruptions"]))
    console.print(cost_table(figures["costs"]))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
