from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from audiocodecs import Samples
from interop.application import Application
from interop.plivo_sandbox import PlivoSandbox
from interop.process import Process
from interop.sound import RATE, Found, find, loud


SECONDS = 40
"""Of the call: what is said and echoed takes 30, and more on a slow machine."""

ALIKE = 0.6
"""An echo has lost all above 4 kHz, and has been through mu-law."""

NOTICED = 2 * RATE

PHONE = f"""\
max_seconds: {SECONDS}
ring: 0.2
script:
  - wait: 1
  - say: >-
      Good afternoon. Do you have a room for two people from Friday until Monday, with a view of
      the garden?
  - interrupt: {{after: 1.5, say: "Stop, please. It is for three people, and not for two."}}
  - wait_for_agent
  - say: Thank you very much. That is all I wanted to know.
  - wait_for_agent
  - wait: {SECONDS}
"""


@pytest.fixture
def caller(application: Application, tmp_path: Path) -> Iterator[PlivoSandbox]:
    phone = tmp_path / "phone.yaml"
    phone.write_text(PHONE)
    with PlivoSandbox(application, tmp_path, phone=str(phone)) as running:
        yield running


@pytest.fixture
def pipecat(reporting: dict[str, str]) -> Iterator[Process]:
    with Process("python", "-m", "interop.servers.pipecat_echo", environment=reporting) as running:
        yield running


def test_a_call_of_forty_seconds_with_an_interruption(
    caller: PlivoSandbox, application: Application, pipecat: Process
) -> None:
    url = pipecat.url.replace("http", "ws") + "/stream"
    call = caller.call_with(
        f'{caller.record}<Stream bidirectional="true" keepCallAlive="true"'
        f' contentType="audio/x-mulaw;rate=8000">{url}</Stream>'
    )
    told = caller.ended(call, SECONDS + 30)
    start = application.report("start", call=call)
    application.report("finished")
    said, heard = caller.recorded(call).samples.T
    request, interruption, thanks = utterances(said)

    assert start["provider"] == "plivo"
    assert SECONDS - 2 < int(told["Duration"]) < SECONDS + 2
    # The request came back from its beginning, until it was interrupted …
    came_back = [each.likeness > ALIKE for each in echoes(said[slice(*request)], heard)]
    assert came_back[0]
    assert not came_back[-1]
    # … which took pipecat a moment to notice, but took back all that was not played yet.
    assert not loud(heard[interruption[0] + NOTICED : interruption[1]]).any()
    # What was said after it came back to its end.
    for first, last in (interruption, thanks):
        came_back = [each.likeness > ALIKE for each in echoes(said[first:last], heard[last:])]
        assert sum(came_back) > 0.6 * len(came_back)
    assert len(application.reports("utterance")) == 3


def echoes(said: Samples, heard: Samples, seconds: float = 0.4) -> list[Found]:
    """Find what was said piece by piece: pipecat sends in real time, and leaves gaps at times."""
    size = round(seconds * RATE)
    pieces = [said[start : start + size] for start in range(0, len(said) - size + 1, size)]
    return [find(piece, heard) for piece in pieces]


def utterances(said: Samples, pause: float = 1.0) -> list[tuple[int, int]]:
    """Return where there is speech, in samples: a shorter pause does not end it."""
    frames = np.flatnonzero(loud(said))
    breaks = np.flatnonzero(np.diff(frames) > pause * 50)
    starts = [frames[0], *frames[breaks + 1]]
    ends = [*frames[breaks], frames[-1]]
    pairs = zip(starts, ends, strict=True)
    return [(start * RATE // 50, (end + 1) * RATE // 50) for start, end in pairs]
