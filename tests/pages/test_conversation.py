"""A spoken conversation from the page, and an agent that is changed meanwhile: all of it is real.

What the page shows is compared with what its phone measured: two accounts of one call, each of
which says when its seconds begin. On a busy machine the server's estimate of when something is
heard is late or early by what messages wait for; the tolerance is above that, and below what a
mistake makes: a word that is held up by a pause of the agent's is moved by 0.6 s.
`python -m benchmarks.page` measures how exact the times are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.chromium import LAPTOP, WatchedPage, launched
from benchmarks.dev_page import await_agent, developing
from benchmarks.spoken_call import (
    AGENT_VOICE,
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


TOLERANCE, MEDIAN = 0.3, 0.1
"""Seconds: of each time, and of all in a call without a gap."""

CALLS = 3
"""Calls until one is without a gap."""

ECHO = """\
async def agent(stream):
    async for frame in stream.audio():
        await stream.play(frame)
"""


@pytest.fixture
def speaking_chromium(playwright: Any, tmp_path: Path) -> Iterator[Any]:
    """Return a browser whose microphone hears a caller."""
    record_caller(tmp_path / "caller.wav")
    with launched(playwright, tmp_path / "caller.wav") as browser:
        yield browser


@pytest.mark.timeout(900)
def test_a_spoken_conversation_is_shown_as_the_phone_heard_it(
    speaking_chromium: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "agent"
    folder.mkdir()
    write_agent(folder)
    with developing("agent.py", folder) as url:
        watched = WatchedPage(speaking_chromium, url, viewport=LAPTOP)
        for _ in range(CALLS):
            call_agent(watched)
            converse(watched)
            struck_out = watched.page.locator("#words .agent del").count()
            hang_up(watched)
            shown = shown_call(watched)
            caller = watched.page.evaluate("() => mediaserverView.trace.caller.peak(0, 1000)")
            unreadable = watched.page.get_by_text("A line of the trace cannot be shown").count()
            heard = heard_call(watched, shown)
            # In a call with gaps the machine did not keep up, and the page may have missed audio.
            if not heard.gaps:
                break
        watched.close()
    found = difference(shown, heard, EspeakSpeech(AGENT_VOICE), within=0.1)
    assert struck_out
    assert shown.interruptions
    assert caller > 0.05
    assert not unreadable
    assert [each.same_words for each in found.replies] == [True] * len(shown.replies)
    assert len(found.late) > 15
    # What follows a gap is later.
    tolerance = TOLERANCE + sum(seconds for _, seconds in heard.gaps)
    times = (*found.late, *found.sound_late, *found.cuts_late)
    assert np.abs(times).max() < tolerance, found
    # What is late once is the machine's; what is late mostly is a mistake.
    if not heard.gaps:
        assert abs(np.median(times)) < MEDIAN, found
    assert shown.gaps == len(heard.gaps)
    assert watched.console == []
    assert watched.elsewhere == []


def change(agent: Path, text: str) -> None:
    """Write an agent anew, as one change."""
    new = agent.with_suffix(".new")
    new.write_text(text)
    new.replace(agent)


@pytest.mark.timeout(400)
def test_the_page_stays_while_the_agent_is_changed(chromium: Any, tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(ECHO)
    with developing("agent.py", tmp_path) as url:
        watched = WatchedPage(chromium, url)
        page = watched.page
        page.evaluate("() => { globalThis.stays = true; }")
        call_agent(watched)
        watched.until(lambda: watched.line.first_sound, "an echo")
        # It is changed in the middle of a call.
        change(agent, ECHO + "\n")
        page.get_by_text("The call is over").wait_for()
        await_agent(url, starts=2)
        call_agent(watched)
        watched.until(lambda: watched.line.first_sound, "an echo of the changed agent")
        page.get_by_role("button", name="Hang up").click()
        # It cannot be imported.
        change(agent, "import nothing_of_that_name\n")
        problem = page.get_by_role("alert").filter(has_text="nothing_of_that_name")
        problem.wait_for()
        assert "agent.py:1" in problem.inner_text()
        # It is mended.
        change(agent, ECHO)
        await_agent(url, starts=4)
        problem.wait_for(state="hidden")
        call_agent(watched)
        watched.until(lambda: watched.line.first_sound, "an echo of the mended agent")
        page.get_by_role("button", name="Hang up").click()
        page.get_by_text("The call is over").wait_for()
        assert page.evaluate("() => globalThis.stays")
        watched.close()
    assert watched.console == []
    assert watched.elsewhere == []
