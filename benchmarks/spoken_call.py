"""A spoken call from the page in a browser, and what page and phone say of it."""

import base64
import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np

from audiocodecs import L16_16K, AudioFormat, Samples, resample
from benchmarks.chromium import WatchedPage
from benchmarks.errors import BenchmarkError
from benchmarks.heard_passages import (
    HeardClip,
    ReplyDifference,
    ShownReply,
    clips_of,
    compare,
    find_clips,
    shift,
)
from benchmarks.root import ROOT
from mediaserver.agents.services import TextToSpeech
from mediaserver.espeak import speak
from mediaserver.sandbox.audio.speech import SpeechDetector, Spells


QUESTION, INTERRUPTION = "I need a new passport.", "Where can I find you?"
"""What the caller says: the agent of examples/offline.py answers the first at length."""

AGENT_VOICE = "en-us+m7"
"""The voice of that agent."""

_FAREWELL = '    "Thank you. Goodbye!",\n'

_CALLER_VOICE = "en-us+f2"
_MICROPHONE_RATE = 48_000
_BEFORE, _AGAIN, _AFTER = 4.5, 3.5, 1.0
"""Seconds of silence before the question, after it and after the interruption; then it begins anew,
so that whoever is slow hears it once more."""

_MARGIN = 0.2
"""Seconds by which a reply may be heard earlier than the page says that it began."""

_LAST = 0.05
"""Seconds by which the last sound may be heard later than the phone says that a spell ended."""

_GRID = 0.02
"""Seconds for which audio may be heard after a clear: the frame in play is heard to its end."""

_LONGEST = 120.0
"""Seconds that a conversation may take; on a machine that keeps up it is over after 20."""


def write_agent(folder: Path) -> None:
    """Write the agent of the examples as ``agent.py``, but for a sentence that ends the call.

    The caller does not say it, and a machine that does not keep up makes sentences sound alike.
    """
    whole = (ROOT / "examples" / "offline.py").read_text("utf-8")
    shorter = whole.replace(_FAREWELL, "")
    assert shorter != whole, f"examples/offline.py does not understand {_FAREWELL}"
    (folder / "agent.py").write_text(shorter, "utf-8")


def record_caller(path: Path) -> None:
    """Write the caller's recording, which a microphone plays over and over."""

    def silence(seconds: float) -> Samples:
        return np.zeros(round(seconds * _MICROPHONE_RATE), np.int16)

    def said(text: str) -> Samples:
        clip = speak(text, _CALLER_VOICE)
        return resample(clip.samples, clip.rate, _MICROPHONE_RATE)

    parts = [
        silence(_BEFORE), said(QUESTION), silence(_AGAIN), said(INTERRUPTION), silence(_AFTER)
    ]  # fmt: skip
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_MICROPHONE_RATE)
        file.writeframes(np.concatenate(parts).astype("<i2").tobytes())


class AudioMissedError(BenchmarkError):
    """The page did not get all that its phone heard: the machine does not keep up."""


@dataclass(frozen=True)
class ShownCall:
    """What a page shows of a call that is over.

    Attributes:
        call: its identifier.
        format: of its stream.
        replies: what the agent said.
        cuts: when the caller heard nothing more because the agent had fallen silent.
        interruptions: how many barge-ins there were.
        gaps: of the audio, which the page tells: those that the phone measured.
        started_at: when the server read the stream's `start`, in Unix time; times count from then.
        sound: what the caller heard, in the recording that the page offers, and its rate.

    """

    call: str
    format: AudioFormat
    replies: tuple[ShownReply, ...]
    cuts: tuple[float, ...]
    interruptions: int
    gaps: int
    started_at: float
    sound: tuple[Samples, int]


@dataclass(frozen=True)
class HeardCall:
    """What the phone says of the same call; times are those of the page.

    Attributes:
        spells: when the agent was heard.
        clears: when audio was dropped, and how much.
        gaps: short breaks in the audio.
        audio: all that its page got, at 16 kHz. A page that is slow misses some of it.

    """

    spells: tuple[tuple[float, float], ...]
    clears: tuple[tuple[float, float], ...]
    gaps: tuple[tuple[float, float], ...]
    audio: Samples


@dataclass(frozen=True)
class CallDifference:
    """How what a page shows of a call differs from what the phone measured.

    Attributes:
        replies: of the agent's, one by one.
        late: seconds by which the page says later than the phone that a word was over.
        sound_late: the same of the beginnings and ends of the sound.
        cuts_late: the same of the moments at which the agent fell silent.

    """

    replies: tuple[ReplyDifference, ...]
    late: tuple[float, ...]
    sound_late: tuple[float, ...]
    cuts_late: tuple[float, ...]

    @property
    def same_words(self) -> int:
        """Number of replies with the same words."""
        return sum(each.same_words for each in self.replies)


def call_agent(watched: WatchedPage, *, content_type: str = "") -> None:
    """Place a call with the page's phone, once the agent is ready."""
    page = watched.page
    page.get_by_text("The agent is ready.").wait_for()
    page.get_by_label("Audio of the stream").select_option(content_type)
    page.get_by_role("button", name="Call", exact=True).click()
    page.get_by_text("In a call").wait_for()


def converse(watched: WatchedPage) -> None:
    """Wait until a question was answered, the agent interrupted, and a question answered again."""
    _wait_for_words(
        watched,
        """() => {
            const said = mediaserverView.trace?.said ?? [];
            const cut = said.findIndex((each) => each.interrupted && each.turn > 0);
            const answered = ({ heard, text }, index) => index > cut && text && heard === text;
            return cut >= 0 && said.some(answered);
        }""",
    )


def _wait_for_words(watched: WatchedPage, holds: str) -> None:
    ends = monotonic() + _LONGEST
    while not watched.page.evaluate(holds):
        over = watched.page.get_by_text("The call is over").is_visible()
        if over or monotonic() > ends:
            said = watched.page.locator("#words").inner_text()
            why = "the call has ended" if over else f"none within {_LONGEST:g} s"
            raise BenchmarkError(f"no conversation, {why}:\n{said}")
        watched.page.wait_for_timeout(100)


def hang_up(watched: WatchedPage) -> None:
    """End the call, and wait until the page shows all of it."""
    page = watched.page
    page.get_by_role("button", name="Hang up").click()
    page.get_by_text("The call is over").wait_for()
    page.get_by_text("Ended after").wait_for()
    call = page.evaluate("() => mediaserverView.id")
    watched.until(lambda: watched.line.measured(call, "heard"), "what the phone heard")
    page.locator("#recording[src]").wait_for(state="attached")


def shown_call(watched: WatchedPage) -> ShownCall:
    """Read from the page what it shows of the call that is over."""
    page = watched.page
    read = page.evaluate(
        """async () => {
            const { trace, id } = mediaserverView;
            const entries = [...document.querySelectorAll("#words .agent")];
            const said = trace.said.filter(({ side }) => side === "agent");
            const agents = said.map((each, index) => ({
                ...each, shown: entries[index].querySelector(".heard")?.innerText ?? "",
            }));
            const { wavOf } = await import(new URL("sound.js", location.href));
            const recording = wavOf(trace.caller, trace.agent); // what its player has
            const bytes = new Uint8Array(await recording.arrayBuffer());
            let text = "";
            for (const byte of bytes) text += String.fromCharCode(byte);
            const { marks, wire } = trace;
            const { startedAt } = mediaserverView;
            return { id, agents, marks, wire, startedAt, recording: btoa(text) };
        }"""
    )
    wire = read["wire"]
    (opened,) = watched.line.measured(read["id"], "stream opened")
    pieces: list[list[str]] = []
    for line in wire:
        if line["what"] == "reply begins":
            pieces.append([])
        elif line["what"] == "says":
            pieces[-1].append(line["words"])
    agents = read["agents"]
    if len(agents) != len(pieces):
        raise BenchmarkError(f"the page shows {len(agents)} replies of {len(pieces)}")
    with wave.open(io.BytesIO(base64.b64decode(read["recording"]))) as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        sound = both[:, 1].astype(np.int16), file.getframerate()
    return ShownCall(
        call=read["id"],
        format=AudioFormat.parse(opened["text"].rpartition(", ")[2]),
        replies=tuple(
            ShownReply(
                at=each["at"],
                texts=tuple(texts),
                heard=each["shown"],
                words=tuple(
                    (len("".join(each["text"][: word["to"]].split())), word["heardAt"])
                    for word in each["words"]
                ),
            )
            for each, texts in zip(agents, pieces, strict=True)
        ),
        cuts=tuple(line["heard_at"] for line in wire if line["what"] == "audio cut"),
        interruptions=sum(mark["text"] == "barge-in" for mark in read["marks"]),
        gaps=sum(mark["kind"] == "gap" for mark in read["marks"]),
        started_at=read["startedAt"],
        sound=sound,
    )


def heard_call(watched: WatchedPage, shown: ShownCall) -> HeardCall:
    """Return what the phone measured in the call that is over and that the page shows."""
    (told,) = watched.line.measured(shown.call, "heard")
    # The phone counts from when it was sent.
    later = told["started_at"] - shown.started_at
    return HeardCall(
        spells=tuple((begin + later, end + later) for begin, end in told["spells"]),
        clears=tuple((at + later, seconds) for at, seconds in told["clears"]),
        gaps=tuple((at + later, seconds) for at, seconds in told["gaps"]),
        audio=watched.line.audio,
    )


def sounds(samples: Samples, rate: int) -> list[tuple[float, float]]:
    """Return when there is sound, as the sandbox's phone tells it from silence."""
    detector = SpeechDetector(AudioFormat("l16", rate))
    spans = detector.spans(samples.astype("<i2").tobytes())
    return [(begin / 2 / rate, end / 2 / rate) for begin, end in spans]


def difference(
    shown: ShownCall, heard: HeardCall, voice: TextToSpeech, *, within: float
) -> CallDifference:
    """Compare what the page shows of a call with what the phone measured.

    Args:
        shown: what the page shows.
        heard: what the phone measured.
        voice: that of the agent.
        within: seconds by which the two may differ about where a word was cut.

    Raises:
        AudioMissedError: They cannot be compared.

    """
    spells = Spells(L16_16K.rate // 5)
    for begin, end in sounds(heard.audio, L16_16K.rate):
        spells.add(round(begin * L16_16K.rate), round(end * L16_16K.rate))
    got = [edge / L16_16K.rate for spell in spells.spells for edge in spell]
    told = [edge for spell in heard.spells for edge in spell]
    replies = []
    for index, reply in enumerate(shown.replies):
        following = shown.replies[index + 1 : index + 2]
        since, until = reply.at - _MARGIN, following[0].at + _MARGIN if following else np.inf
        # A clip that is cut where it is silent does not show by itself where that was.
        ends = [end for begin, end in heard.spells if since < begin < until - 2 * _MARGIN]
        end = max(ends, default=until)
        until = min(until, end + _LAST)
        begins = shift([each for each in told if since < each < until], got)
        until = min([until, *(at + _GRID for at, _ in heard.clears if abs(at - end) < _LAST)])
        if begins is None:
            raise AudioMissedError(f"the page did not get what its phone heard after {since:.1f} s")
        found = find_clips(
            clips_of(reply.texts, voice, shown.format),
            heard.audio,
            since=since - begins,
            until=until - begins,
        )
        on_its_clock = [
            HeardClip(
                each.clip,
                tuple(stretch._replace(heard=stretch.heard + begins) for stretch in each.stretches),
            )
            for each in found
        ]
        replies.append(compare(reply, on_its_clock, within=within))
    return CallDifference(
        replies=tuple(replies),
        late=tuple(late for each in replies for late in each.late),
        # The phone takes sounds with less than 0.2 s between them together.
        sound_late=tuple(
            late
            for edges, spells in zip(
                zip(*sounds(*shown.sound), strict=True),
                zip(*heard.spells, strict=True),
                strict=True,
            )
            for late in _nearest(edges, spells)
        ),
        cuts_late=_nearest(shown.cuts, [at for at, _ in heard.clears]),
    )


def _nearest(shown: Sequence[float], heard: Sequence[float]) -> tuple[float, ...]:
    """Return by how much later each time is shown than it was heard."""
    return tuple(min((each - at for each in shown), key=abs, default=np.inf) for at in heard)
