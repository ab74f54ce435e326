"""How well the words that were heard before an interruption are estimated, without word marks.

    python -m benchmarks.heard_words [--json FILE] [--quick]

eSpeak NG speaks the replies and says where their words are; they are interrupted at random times.
The estimate gets the telephone audio and the text. It is made twice: once as in most calls, where
all of the reply was synthesised long before it was heard, and once as if the service had been only
a second ahead, with the speed taken from another reply of the same voice.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from audiocodecs import MULAW_8K
from mediaserver.agents.conversing.heard_words import Spoken
from mediaserver.agents.conversing.word_estimate import spoken_words
from mediaserver.agents.services import WordMark
from mediaserver.agents.services.espeak import EspeakSpeech
from mediaserver.call import Frame


REPLIES = (
    "Thank you for calling. How can I help you today?",
    "I have a table for two at seven, or one by the window at half past eight.",
    "Your order 4711 was sent yesterday, and it should be with you on Thursday before noon.",
    "We are open from 9 a.m. to 5 p.m., Monday to Friday. On Saturdays we close at noon.",
    "The next train to the airport leaves at 10:45 from platform 3.",
    "That comes to $42.50, including delivery. Shall I charge the card that ends in 1234?",
    "Unfortunately the doctor has no free appointments this week, but there is one on Tuesday.",
    "Well, it depends. If the parcel is lost, we send another; if it is only late, please wait.",
    "Great! I've booked you in. You will get a message with all the details in a few minutes.",
    "Your flight BA249 has been delayed by about an hour and a half. Boarding begins at gate 22.",
    "For security reasons I need to verify your identity first. What is your date of birth?",
    "There are three plans: basic, professional, and enterprise. Most begin with the second one.",
    "Cancellations within twenty-four hours are subject to a fee of fifteen percent of the total.",
    "Thanks for waiting. I've checked, and the blue one won't be available until December.",
)
VOICES = ("en-us", "en-gb-x-rp", "en-us+f3", "en-us+m4")
SPEEDS = (140, 160, 185)
AHEAD_SECONDS = 1.0

Items = list[Frame | WordMark]


async def synthesised(text: str, voice: str, speed: int) -> Items:
    return [item async for item in EspeakSpeech(voice, speed).speak(text, MULAW_8K)]


def frames_of(items: Items) -> list[Frame]:
    return [item for item in items if isinstance(item, Frame)]


def spoken(text: str, items: Sequence[Frame | WordMark]) -> Spoken:
    """Return all of a reply."""
    made = Spoken(text)
    for item in items:
        made.take(item)
    made.finish()
    return made


def measure(count: int, seed: int, *, ahead: float | None) -> dict[str, Any]:
    """Interrupt `count` replies; `ahead` is how far synthesis leads playback, None for all."""
    rng = random.Random(seed)
    cases = [
        (rng.choice(REPLIES), *rng.choice(list(product(VOICES, SPEEDS)))) for _ in range(count)
    ]
    misses, costs, rows = [], [], []
    for text, voice, speed in cases:
        items = asyncio.run(synthesised(text, voice, speed))
        frames = frames_of(items)
        truth = spoken(text, items)
        at = rng.uniform(0, truth.seconds)
        if ahead is None:
            estimate = spoken(text, frames)
        else:
            other = REPLIES[0] if text != REPLIES[0] else REPLIES[1]
            before = spoken(other, frames_of(asyncio.run(synthesised(other, voice, speed))))
            pace = before.seconds_per_letter
            estimate = Spoken(text, seconds_per_letter=pace)
            for frame in frames:
                if estimate.seconds < at + ahead:
                    estimate.take(frame)
            estimate.complete = estimate.seconds >= truth.seconds
        began = time.perf_counter()
        ours = estimate.heard(at)
        costs.append(time.perf_counter() - began)
        theirs = truth.heard(at)
        misses.append(len(spoken_words(ours)) - len(spoken_words(theirs)))
        rows.append({"voice": voice, "speed": speed, "at": at, "heard": theirs, "estimate": ours})
    return {
        "interruptions": count,
        "exact": sum(miss == 0 for miss in misses),
        "within_one": sum(abs(miss) <= 1 for miss in misses),
        "worst": max(misses, key=abs),
        "mean": sum(misses) / count,
        "median_ms": 1000 * sorted(costs)[count // 2],
        "cases": rows,
    }


def table(results: dict[str, dict[str, Any]]) -> Table:
    made = Table(title="Words heard, estimated without word marks", title_justify="left")
    for heading in ("audio", "interruptions", "exact", "within a word", "worst", "mean", "takes"):
        made.add_column(heading, justify="left" if heading == "audio" else "right")
    for name, row in results.items():
        made.add_row(
            name,
            str(row["interruptions"]),
            f"{100 * row['exact'] / row['interruptions']:.0f} %",
            f"{100 * row['within_one'] / row['interruptions']:.0f} %",
            f"{row['worst']:+d}",
            f"{row['mean']:+.2f}",
            f"{row['median_ms']:.1f} ms",
        )
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heard_words", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="make 20 interruptions instead of 100")
    parser.add_argument("--seed", type=int, default=1, help="of the random times")
    options = parser.parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    count = 20 if options.quick else 100
    results = {
        "all of it": measure(count, options.seed, ahead=None),
        "a second ahead": measure(count, options.seed, ahead=AHEAD_SECONDS),
    }
    console.print(table(results))
    console.print("Speech is synthesised; the positions of words come from eSpeak NG.")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
