"""The page of mediaserver dev in a real Chromium: what it shows, beside what its phone measured.

    python -m benchmarks.page [--only start,words,states] [--rounds 2] [--json FILE]
    python -m benchmarks.page --pictures docs    # draws the pictures of the documentation

README.md in this folder says what is measured and how to read it.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

import numpy as np
from rich.console import Console


if not sys.platform.startswith("linux"):
    raise SystemExit("this benchmark starts Debian's Chromium, which only works on Linux")

from benchmarks.chromium import LAPTOP, TELEPHONE, WatchedPage, chromium
from benchmarks.dev_page import developing
from benchmarks.errors import BenchmarkError
from benchmarks.experiments import Findings, arguments_of, report_on
from benchmarks.spoken_call import (
    AGENT_VOICE,
    AudioMissedError,
    CallDifference,
    call_agent,
    converse,
    difference,
    hang_up,
    heard_call,
    record_caller,
    shown_call,
    write_agent,
)
from mediaserver.agents.services.espeak import EspeakSpeech
from mediaserver.protocol import PLIVO_FORMATS


EXPERIMENTS: Final = ("start", "words", "states")

START_GOAL: Final = 60.0
"""Seconds."""

TIMES_GOAL: Final = 40.0
"""Milliseconds."""

_CUT_WITHIN: Final = 0.02
"""Seconds by which page and phone may differ about a cut: a frame of the carrier's grid."""

LOOKS: Final = [(scheme, size) for scheme in ("light", "dark") for size in (LAPTOP, TELEPHONE)]

PICTURES: Final = (
    ("page.png", "light", LAPTOP, "header"),
    ("page-phone.png", "dark", TELEPHONE, "#call"),
)
_COLOURS: Final = 64
_SHARP: Final = 1.5
"""Points of a picture for each of the page."""


class Benchmark:
    """The experiments."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        self.chosen = chosen
        self._progress = progress
        settings = {
            "rounds": chosen.rounds,
            "quick": chosen.quick,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load_average": os.getloadavg()[0],
        }
        self.report = Findings(settings, "The page in Chromium")

    def run(self) -> None:
        """Measure."""
        if os.getloadavg()[0] > 0.5:
            self.report.doubts.append(
                f"the machine was busy before (load average {os.getloadavg()[0]:.1f})"
            )
        experiments = {"start": self._start, "words": self._words, "states": self._states}
        for name in self.chosen.only:
            try:
                experiments[name]()
            except BenchmarkError as error:
                self.report.missing.append(f"{name}: {error}")

    def _say(self, line: str) -> None:
        self._progress.print(line, highlight=False, markup=False)

    def _start(self) -> None:
        """From the command to the agent's voice, with nothing compiled and nothing cached."""
        with tempfile.TemporaryDirectory() as compiled, _agent_folder() as folder:
            began = monotonic()
            with (
                developing("agent.py", folder, {"PYTHONPYCACHEPREFIX": compiled}) as url,
                chromium(folder / "caller.wav") as browser,
            ):
                watched = WatchedPage(browser, url, viewport=LAPTOP)
                call_agent(watched)
                watched.until(lambda: watched.line.first_sound, "the agent's voice")
                assert watched.line.first_sound is not None
                seconds = watched.line.first_sound - began
        add = self.report.add
        add("start", "command to the agent's voice", round(seconds, 1), "s", START_GOAL)

    def _words(self) -> None:
        formats = sorted(map(str, PLIVO_FORMATS))[: 1 if self.chosen.quick else None]
        found: list[CallDifference] = []
        voice = EspeakSpeech(AGENT_VOICE)
        interruptions = gaps = broken = 0
        with _page() as (url, browser, _):
            for content_type in formats * self.chosen.rounds:
                watched = WatchedPage(browser, url, viewport=LAPTOP)
                call_agent(watched, content_type=content_type)
                converse(watched)
                hang_up(watched)
                shown = shown_call(watched)
                heard = heard_call(watched, shown)
                watched.close()
                try:
                    found.append(difference(shown, heard, voice, within=_CUT_WITHIN))
                except AudioMissedError as error:
                    self.report.doubts.append(f"words: a call was left out: {error}")
                    continue
                interruptions += shown.interruptions
                broken += len(heard.gaps)
                gaps += abs(shown.gaps - len(heard.gaps))
                most = 1000 * max(map(abs, found[-1].late))
                same = f"{found[-1].same_words} of {len(shown.replies)} replies have the same words"
                self._say(f"words: {content_type}: {same}, times within {most:.0f} ms")
        add = self.report.add
        replies = sum(len(each.replies) for each in found)
        add("words", "calls", len(found))
        add("words", "gaps that the phone heard", broken)
        add("words", "interruptions", interruptions)
        add("words", "replies of the agent", replies)
        right = sum(each.same_words for each in found)
        add("words", "replies with other words than the phone heard", replies - right, limit=0)
        add("words", "gaps that only one of them has", gaps, limit=0)
        for name, late in (
            ("end of a word", [late for each in found for late in each.late]),
            ("sound begins or ends", [late for each in found for late in each.sound_late]),
            ("agent falls silent", [late for each in found for late in each.cuts_late]),
        ):
            if not late:
                self.report.missing.append(f"words: {name}: nothing to compare")
                continue
            away = 1000 * np.abs(late)
            add("words", f"{name}: compared", len(late))
            add("words", f"{name}: mean", round(1000 * float(np.mean(late)), 1), "ms")
            add(
                "words",
                f"{name}: away, p95",
                round(float(np.percentile(away, 95)), 1),
                "ms",
                TIMES_GOAL,
            )
            add("words", f"{name}: away, most", round(float(away.max()), 1), "ms", TIMES_GOAL)

    def _states(self) -> None:
        with _page() as (url, browser, folder):
            watched = WatchedPage(browser, url)
            violations: list[str] = []
            states = 0
            for state in _states(watched, folder / "agent.py"):
                states += 1
                for scheme, size in LOOKS[:: 3 if self.chosen.quick else 1]:
                    watched.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                    watched.page.set_viewport_size(size)
                    found = watched.violations()
                    violations += found
                    for each in found:
                        self._say(f"states: {state}, {scheme}, {size['width']}: {each}")
            watched.close()
        for wrong in (*watched.console, *watched.elsewhere):
            self._say(f"states: {wrong}")
        add = self.report.add
        add("states", "states", states)
        add("states", "violations that axe finds", len(violations), limit=0)
        add("states", "errors and warnings in the console", len(watched.console), limit=0)
        add("states", "requests to other hosts", len(watched.elsewhere), limit=0)


def _states(watched: WatchedPage, agent: Path) -> Iterator[str]:
    """Bring the page from one state to the next."""
    page = watched.page
    page.get_by_text("The agent is ready.").wait_for()
    page.get_by_text("Troubles", exact=True).click()
    yield "idle"
    page.get_by_role("button", name="Have it call you").click()
    page.get_by_text("is calling").wait_for()
    yield "ringing"
    page.get_by_role("button", name="Answer").click()
    page.locator("#words .agent .heard", has_text="Town").wait_for()
    page.get_by_text("Lines of the trace", exact=True).click()
    yield "in a call"
    converse(watched)
    hang_up(watched)
    yield "ended"
    page.locator("#past button:enabled").first.click()
    page.get_by_text("Ended after").wait_for()
    yield "past call"
    whole = agent.read_text()
    agent.write_text("import nothing_of_that_name\n")
    page.get_by_role("alert").filter(has_text="nothing_of_that_name").wait_for()
    yield "agent failed"
    agent.write_text(whole)
    page.get_by_text("The agent is ready.").wait_for()


def draw_pictures(folder: Path) -> None:
    """Draw a call, for the documentation."""
    from PIL import Image

    with _page() as (url, browser, _), tempfile.TemporaryDirectory() as name:
        watched = WatchedPage(browser, url, viewport=LAPTOP, device_scale_factor=_SHARP)
        page = watched.page
        call_agent(watched)
        converse(watched)
        for picture, scheme, size, shown in PICTURES:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            page.locator(shown).evaluate("(element) => element.scrollIntoView()")
            page.screenshot(path=f"{name}/whole.png")
            with Image.open(f"{name}/whole.png") as whole:
                reduced = whole.convert("RGB").quantize(_COLOURS)
                reduced.save(folder / picture, optimize=True)
        hang_up(watched)
        watched.close()


@contextmanager
def _agent_folder() -> Iterator[Path]:
    """Yield a folder with the agent of the examples, and the caller's recording."""
    with tempfile.TemporaryDirectory(prefix="page-") as name:
        folder = Path(name)
        write_agent(folder)
        record_caller(folder / "caller.wav")
        yield folder


@contextmanager
def _page() -> Iterator[tuple[str, Any, Path]]:
    """Yield the page's URL, a browser, and the folder of the agent."""
    with (
        _agent_folder() as folder,
        developing("agent.py", folder) as url,
        chromium(folder / "caller.wav") as browser,
    ):
        yield url, browser, folder


def main() -> int:
    """Return the exit status."""
    parser = arguments_of("page", "The page beside what its phone measured.", EXPERIMENTS)
    parser.add_argument("--rounds", type=int, default=2, help="calls in each of the four formats")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="only draw the pictures of the documentation"
    )
    chosen = parser.parse_args()
    if chosen.pictures:
        try:
            chosen.pictures.mkdir(parents=True, exist_ok=True)
            draw_pictures(chosen.pictures)
        except (BenchmarkError, OSError) as error:
            raise SystemExit(f"no pictures: {error}") from None
        return 0
    if chosen.quick:
        chosen.rounds = 1
    return report_on(Benchmark(chosen, Console(stderr=True)), chosen, width=110)


if __name__ == "__main__":
    sys.exit(main())
