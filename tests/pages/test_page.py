"""The page in a real browser: what people see, hear and press."""

import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from audiocodecs import encode_wav
from tests.pages.conftest import TONE, until
from tests.pages.fake_server import FakeServer
from tests.pages.lines import ENDED, START, conversation, line, payload


LAPTOP, PHONE = {"width": 1366, "height": 800}, {"width": 390, "height": 800}

HAS_FOCUS = "(element) => element === document.activeElement"

FOLLOW_SPEAKER = """() => {
    const Node = AudioWorkletNode;
    globalThis.AudioWorkletNode = class extends Node {
        constructor(context, name, options) {
            super(context, name, options);
            if (name !== "speaker") return;
            globalThis.played = new AnalyserNode(context, { fftSize: 8192 });
            this.connect(played);
        }
    };
}"""

LOUDEST = """() => {
    const samples = new Float32Array(played.fftSize);
    played.getFloatTimeDomainData(samples);
    return samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
}"""
"""Of the last half second that the speaker played."""

Opened = Callable[..., Any]


def pixels(page: Any, colour: str) -> int:
    """Return how many pixels of the waveforms have a colour of the style sheet."""
    script = """(colour) => {
        const canvas = document.getElementById("waveforms");
        const probe = document.createElement("span");
        probe.style.color = `var(${colour})`;
        document.body.append(probe);
        const wanted = getComputedStyle(probe).color.match(/[0-9]+/g).map(Number);
        probe.remove();
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let at = 0; at < data.length; at += 4)
            if (data[at + 3] === 255 && wanted.every((each, place) => data[at + place] === each))
                count++;
        return count;
    }"""
    count: int = page.evaluate(script, colour)
    return count


def violations(page: Any) -> list[Any]:
    """Return what axe finds that keeps people from using what is shown now."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]


def test_a_call_is_placed_heard_and_hung_up(opened: Opened, server: FakeServer) -> None:
    page = opened()
    page.get_by_text("Ready", exact=True).wait_for()
    page.get_by_label("Number to call").fill("+14155550123")
    page.get_by_role("button", name="Call", exact=True).press("Enter")
    until(page, lambda: server.asked)
    assert server.asked[-1] == {
        "do": "dial",
        "from": "+14155550100",
        "to": "+14155550123",
        "format": "",
    }
    server.ring(what="ringing", call="c1", **{"from": "+14155550100", "to": "+14155550123"})
    page.get_by_text("Calling +14155550123").wait_for()
    # Who uses the keyboard stays where they can act.
    assert page.get_by_role("button", name="Hang up").evaluate(HAS_FOCUS)
    server.call("c1", START)
    server.ring(what="answered", call="c1")
    page.get_by_text("In a call").wait_for()
    page.get_by_role("heading", name="+14155550100 → +14155550199").wait_for()
    page.wait_for_function("() => document.getElementById('microphone-level').value > 0.1")
    page.get_by_role("button", name="5", exact=True).click()
    page.get_by_role("button", name="Hold").click()
    server.ring(what="held", call="c1", on=True)
    page.get_by_text("On hold").wait_for()
    until(page, lambda: len(server.frames) > 50)
    page.get_by_role("button", name="Hang up").press("Enter")
    server.ring(what="ended", call="c1", cause="Normal Hangup", by="Caller")
    page.get_by_text("The call is over: Normal Hangup, by you").wait_for()
    assert page.get_by_role("button", name="Call", exact=True).evaluate(HAS_FOCUS)
    until(page, lambda: len(server.asked) == 4)
    assert server.asked[1:] == [
        {"do": "digit", "digit": "5"},
        {"do": "hold", "on": True},
        {"do": "hangup"},
    ]
    # What the microphone heard came in pieces of 8 ms, and is the recording.
    assert {len(frame) for frame in server.frames} == {256}
    samples = np.frombuffer(b"".join(server.frames), "<i2")[-8000:].astype(float)
    loudest = np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))
    assert loudest * 16_000 / len(samples) == pytest.approx(TONE, abs=5)


def test_the_line_is_heard(opened: Opened, server: FakeServer) -> None:
    server.offers["paths"] = ["/a", "/b"]
    page = opened()
    page.evaluate(FOLLOW_SPEAKER)
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Path of the stream").fill("/b")
    page.get_by_role("button", name="Have it call you").click()
    until(page, lambda: server.asked)
    numbers = {"from": "+14155550199", "to": "+14155550100"}
    asked = {"do": "call me", **numbers, "format": "", "name": "Ada", "path": "/b"}
    assert server.asked == [asked]
    server.ring(what="incoming", call="c1", **{"from": "+14155550199", "to": "+14155550100"})
    page.get_by_text("+14155550199 is calling").wait_for()
    assert page.title() == "☎ +14155550199 is calling"
    page.get_by_role("button", name="Answer").click()
    server.ring(what="answered", call="c1")
    page.get_by_text("In a call").wait_for()
    assert page.title().startswith("my_agent:Agent")
    page.get_by_role("button", name="Mute").click()
    assert page.get_by_role("button", name="Mute").get_attribute("aria-pressed") == "true"
    assert page.evaluate(LOUDEST) == 0

    def is_heard() -> bool:
        server.speak(np.full(320, 16_000, "<i2").tobytes())
        return bool(page.evaluate(LOUDEST) > 0.4)

    until(page, is_heard)


def test_nothing_is_said_while_the_microphone_is_muted(opened: Opened, server: FakeServer) -> None:
    page = opened()
    page.get_by_role("button", name="Call", exact=True).click()
    until(page, lambda: server.asked)
    server.ring(what="answered", call="c1")
    until(page, lambda: server.frames)
    level = "document.getElementById('microphone-level').value"
    page.wait_for_function(f"() => {level} > 0.1")
    page.get_by_role("button", name="Mute").click()
    page.get_by_role("button", name="5", exact=True).click()
    page.wait_for_function(f"() => {level} === 0")
    page.wait_for_timeout(100)
    page.get_by_role("button", name="6", exact=True).click()
    page.get_by_role("button", name="Mute").click()
    until(page, lambda: len(server.asked) == 3)
    assert server.frames_before[1] == server.frames_before[2]
    until(page, lambda: len(server.frames) > server.frames_before[2])


def test_a_key_that_is_held_down_is_pressed_once(opened: Opened, server: FakeServer) -> None:
    page = opened()
    server.call("c1", START)
    server.ring(what="answered", call="c1")
    page.get_by_text("In a call").wait_for()
    for _ in range(3):
        page.keyboard.down("5")
    page.keyboard.up("5")
    page.keyboard.press("#")
    until(page, lambda: {"do": "digit", "digit": "#"} in server.asked)
    assert server.asked == [{"do": "digit", "digit": "5"}, {"do": "digit", "digit": "#"}]


def test_troubles_are_told_to_the_line(opened: Opened, server: FakeServer) -> None:
    page = opened()
    page.get_by_text("Troubles", exact=True).click()
    page.get_by_label("Noise on the line").select_option("street")
    page.get_by_label("The caller is silent").check()
    page.get_by_label("Jitter").fill("80")
    page.get_by_role("button", name="Stall for 1 s").click()
    page.get_by_role("button", name="No troubles").click()
    until(page, lambda: len(server.asked) == 5)
    none = {"jitter": 0, "loss": 0, "noise": "", "noise_level": -35, "silent": False}
    assert server.asked == [
        {"do": "troubles", **none, "noise": "street"},
        {"do": "troubles", **none, "noise": "street", "silent": True},
        {"do": "troubles", **none, "noise": "street", "silent": True, "jitter": 0.08},
        {"do": "stall", "seconds": 1},
        {"do": "troubles", **none},
    ]


def test_a_server_that_comes_back_is_told_of_the_troubles(
    opened: Opened, server: FakeServer
) -> None:
    page = opened()
    page.get_by_text("Troubles", exact=True).click()
    page.get_by_label("The caller is silent").check()
    until(page, lambda: server.asked)
    page.locator("#troubles summary.on").wait_for()
    server.drop()
    until(page, lambda: len(server.asked) == 2)
    assert server.asked[1] == server.asked[0]


def test_words_come_as_they_are_understood_and_heard(opened: Opened, server: FakeServer) -> None:
    server.call("c1", START, line(1.0, "caller speaks", over_agent=False))
    page = opened("#live/c1")
    server.tell("c1", line(1.5, "hears", words="do you"))
    page.locator(".caller .interim", has_text="do you").wait_for()
    server.tell("c1", line(2.0, "understood", dropped=False, words="Do you have tea?"))
    page.locator(".caller .final", has_text="Do you have tea?").wait_for()
    server.tell(
        "c1",
        line(2.1, "reply begins", turn=1),
        line(2.2, "says", words="Yes, we have twelve."),
        line(2.2, "spoken", words="Yes,", heard_in=0.0),
        line(2.2, "spoken", words="we have twelve.", heard_in=3600),
    )
    page.locator(".agent .heard", has_text="Yes,").wait_for()
    assert page.locator(".agent .heard").inner_text() == "Yes,"
    assert page.locator(".agent .unheard").inner_text().strip() == "we have twelve."
    server.tell(
        "c1",
        line(2.6, "barge-in", confirmed=True),
        line(2.7, "turn", number=1, interrupted=True, error=None, words=["…", "Yes, we"]),
    )
    page.locator(".agent del", has_text="have twelve.").wait_for()
    assert page.locator(".agent .heard").inner_text() == "Yes, we"
    page.get_by_text("The caller interrupted the agent.").wait_for()


def test_a_whole_call_is_seen(opened: Opened, server: FakeServer) -> None:
    server.call("c1", *conversation())
    page = opened("#live/c1")
    page.get_by_role("row", name="1 interrupted").wait_for()
    row = page.get_by_role("row", name="1 interrupted").get_by_role("cell")
    assert row.all_inner_texts() == ["0.30", "0.40", "0.70", "0.90", "0.95"]
    assert page.locator("svg.stages rect").count() == 7
    tool = page.locator("#tools li").inner_text()
    assert "in_stock" in tool
    assert '{"item": "tea"}' in tool
    assert "→ 12" in tool
    server.tell("c1", line(6.1, "tool begins", tool="read", words="long " * 100))
    page.locator("#tools details", has_text="long long").wait_for()
    page.get_by_text("Underrun: the caller heard a gap, 0.08 s").wait_for()
    page.get_by_text("The caller pressed 5.").wait_for()
    assert pixels(page, "--caller") > 500
    assert pixels(page, "--agent") > 500
    assert pixels(page, "--wrong") > 20
    assert page.locator("#wire li").count() == 0
    page.get_by_text("Lines of the trace").click()
    page.get_by_text("tool begins  tool=in_stock").wait_for()
    server.tell("c1", ENDED)
    server.end("c1")
    page.get_by_text("Ended after 6.5 s: the caller hung up").wait_for()
    seconds = "() => document.getElementById('recording').duration"
    page.wait_for_function(f"() => ({seconds})() > 0")
    assert page.evaluate(seconds) == pytest.approx(3.2, abs=0.05)
    # What is clicked is where the recording goes on.
    page.locator("#words").get_by_text("Do you have tea?").click()
    assert page.evaluate("() => document.getElementById('recording').currentTime") == 2.0
    page.locator("#waveforms").click(position={"x": 5, "y": 50})
    assert page.evaluate("() => document.getElementById('recording').currentTime") < 0.5


def test_of_a_long_call_the_latest_entries_are_shown(opened: Opened, server: FakeServer) -> None:
    lines = [
        each
        for number in range(600)
        for each in (
            line(number, "turn", number=number, audio_heard=0.5),
            line(number, "tool begins", tool=f"tool{number}"),
            line(number, "connection lost"),
        )
    ]
    server.call("c1", START, *lines)
    page = opened("#live/c1")
    page.locator("#tools li", has_text="tool599").wait_for()
    for shown in ("#tools li", "#turns tbody", "#happened li"):
        assert page.locator(shown).count() == 500
    server.tell("c1", line(601, "tool ends", tool="tool599", words="the last"))
    page.locator("#tools li", has_text="the last").wait_for()
    server.tell("c1", line(602, "turn", number=600))
    page.get_by_role("row", name="600").wait_for()
    assert page.locator("#turns tbody").count() == 500


def test_many_tools_take_no_more_room_and_the_latest_is_seen(
    opened: Opened, server: FakeServer
) -> None:
    tools = [line(1.0 + each, "tool begins", tool=f"t{each}", words="{}") for each in range(60)]
    server.call("c1", START, *tools)
    page = opened("#live/c1")
    seen = """() => {
        const place = document.getElementById("tools").parentElement;
        const latest = document.getElementById("tools").lastElementChild;
        const end = place.getBoundingClientRect().bottom + 1;
        return place.clientHeight < 500 && latest.getBoundingClientRect().bottom < end;
    }"""
    page.get_by_text("t59", exact=True).wait_for()
    page.wait_for_function(seen)
    server.tell("c1", line(70.0, "tool begins", tool="t60", words="{}"))
    page.get_by_text("t60", exact=True).wait_for()
    page.wait_for_function(seen)


def test_a_call_without_a_stream_is_said_so(opened: Opened, server: FakeServer) -> None:
    page = opened()
    server.ring(what="incoming", call="c1", **{"from": "14155550199", "to": "14155550100"})
    page.get_by_role("heading", name="+14155550199 → +14155550100").wait_for()
    server.ring(what="ended", call="c1", cause="Canceled", by="API Request")
    page.get_by_text("The call is over: Canceled, by the agent").wait_for()
    page.get_by_text("The call had no audio stream.").wait_for()


def test_a_stream_that_was_too_short_for_the_list_is_shown(
    opened: Opened, server: FakeServer
) -> None:
    page = opened()
    server.ring(what="ringing", call="c1", **{"from": "14155550100", "to": "14155550199"})
    format = START["format"]
    opening = {"kind": "stream opened", "at": 0, "text": f"ws://127.0.0.1/, {format}"}
    server.ring(what="measured", call="c1", **opening)
    server.call("c1", *conversation(), ENDED, live=False)
    server.ring(what="ended", call="c1", cause="Normal Hangup", by="Answer XML")
    page.get_by_text("Ended after 6.5 s: the caller hung up").wait_for()
    page.get_by_role("heading", name="+14155550100 → +14155550199").wait_for()
    assert page.evaluate("() => mediaserverView.trace.caller.peak(2, 3) > 0.3")


def test_a_short_call_of_which_nothing_is_kept_is_over(opened: Opened, server: FakeServer) -> None:
    server.offers["past"] = True
    page = opened()
    page.get_by_text("Ready", exact=True).wait_for()
    server.ring(what="ringing", call="c1", to="+14155550199", **{"from": "+14155550100"})
    server.ring(what="measured", call="c1", at=0.0, kind="stream opened", text="s1, audio/x-mulaw")
    server.ring(what="ended", call="c1", cause="Normal Hangup", by="Caller")
    page.get_by_text("The call is over. What was kept of it is among the past calls.").wait_for()


@pytest.mark.parametrize(
    ("fragment", "words"),
    [
        ("#live/c9", "The call is over."),
        ("#past/c9", "Nothing of this call is kept on this machine."),
    ],
)
def test_a_call_that_is_gone_when_the_page_opens_is_no_error(
    opened: Opened, server: FakeServer, fragment: str, words: str
) -> None:
    page = opened(fragment)
    page.get_by_role("alert").filter(has_text=words).wait_for()


def test_a_call_whose_stream_has_just_ended_is_over(opened: Opened, server: FakeServer) -> None:
    server.call("c1", state="ending")
    server.refuse("c1", 409, "the stream of call c1 has ended", "it is gone from GET /calls soon")
    page = opened("#live/c1")
    page.get_by_role("alert").filter(has_text="The call is over.").wait_for()


def test_more_calls_than_can_be_followed_are_no_error(opened: Opened, server: FakeServer) -> None:
    server.call("c1")
    server.refuse("c1", 429, "8 calls are followed already", "stop following one of them")
    page = opened("#live/c1")
    page.get_by_role("alert").filter(has_text="8 calls are followed already").wait_for()


def test_a_call_that_goes_on_with_another_stream_is_shown_on(
    opened: Opened, server: FakeServer
) -> None:
    page = opened()
    server.call("c1", START, line(1.0, "understood", words="First."))
    server.ring(what="answered", call="c1")
    stream = {"what": "measured", "call": "c1", "kind": "stream opened", "at": 0.0}
    server.ring(**stream, stream="s1")
    page.get_by_text("First.", exact=True).wait_for()
    # The page may hear of it before the trace of the stream before is over, or after.
    server.ring(**stream, stream="s2")
    server.ring(what="measured", call="c1", kind="heard", stream="s1", gaps=[])
    server.end("c1")
    server.call("c1", START, line(1.0, "understood", words="Second."))
    page.get_by_text("Second.", exact=True).wait_for()
    server.end("c1")
    page.get_by_text("Ended after").wait_for()
    server.call("c1", START, line(1.0, "understood", words="Third."))
    server.ring(**stream, stream="s3")
    page.get_by_text("Third.", exact=True).wait_for()
    page.get_by_text("Live 0:").wait_for()


def test_calls_that_are_left_leave_the_one_that_is_shown_alone(
    opened: Opened, server: FakeServer
) -> None:
    server.offers |= {"past": True, "phone": False}
    server.call("c1", *conversation())
    server.call("c2", START)
    server.call("c3", START, live=False, captured=True, cause="loads for long")
    server.goes_on("c3")
    page = opened("#live/c1")
    page.wait_for_function("() => globalThis.mediaserverView")
    page.evaluate(
        "() => { let over = 0; mediaserverView._ended = () => (globalThis.over = ++over); }"
    )
    page.get_by_text("Underrun").first.wait_for()
    page.get_by_role("button", name="loads for long").click()
    page.locator("#call-about", has_text="c3").wait_for()
    page.locator("#view").wait_for()
    page.locator("#live button").nth(1).click()
    page.locator("#call-about", has_text="c2").wait_for()
    page.locator("#view").wait_for()
    # A trace that is over can be opened again, while its call lives.
    server.cut("c2")
    page.get_by_text("the server tells no more").wait_for()
    assert page.evaluate("() => globalThis.over") == 1
    assert page.locator("#latest").get_attribute("aria-pressed") == "true"
    server.goes_on("c2")
    page.locator("#live button").nth(1).click()
    page.locator("#call-state[data-state=live]").wait_for()


def test_a_list_keeps_the_entries_that_stay(opened: Opened, server: FakeServer) -> None:
    server.call("c1", START)
    server.call("c2", START, handler="Second")
    page = opened()
    page.locator("#live button", has_text="Second").focus()
    server.calls[1]["state"] = "ending"
    server.call("c3", START, handler="Third")
    page.locator("#live button", has_text="Third").wait_for()
    focused = page.evaluate("() => document.activeElement.textContent")
    assert focused.endswith("Second · ending")
    server.end("c1")
    page.locator("#live button").nth(2).wait_for(state="detached")
    assert page.evaluate("() => document.activeElement.textContent") == focused


def test_what_the_phone_measured_is_shown_beside_it(opened: Opened, server: FakeServer) -> None:
    page = opened()
    server.call("c1", START)
    server.ring(what="answered", call="c1")
    page.locator("#view").wait_for()
    server.ring(what="measured", call="c1", kind="heard", spells=[[0.5, 2.0]], gaps=[[1.0, 0.24]])
    page.get_by_text("The phone heard a gap of 0.24 s.").wait_for()
    server.tell("c1", line(1.3, "underrun", times=1, seconds=0.24))
    page.get_by_text("Underrun").wait_for()
    page.get_by_text("1 fault of the audio", exact=True).wait_for()


@pytest.mark.parametrize(
    ("read_at", "gap_at"),
    [
        ("2026-11-30T12:00:00.250+00:00", 1.25),
        # Its clock has not stood while the machine slept, as that of the phone has.
        ("2026-11-30T13:00:00.000+00:00", 1.5),
        ("2026-11-30T11:00:00.000+00:00", 1.5),
    ],
)
def test_the_times_of_the_phone_become_those_of_the_server(
    opened: Opened, server: FakeServer, read_at: str, gap_at: float
) -> None:
    page = opened()
    server.call("c1", START, started_at=read_at)
    server.ring(what="answered", call="c1")
    page.locator("#view").wait_for()
    sent_at = datetime.fromisoformat("2026-11-30T12:00:00+00:00").timestamp()
    heard = {"kind": "heard", "started_at": sent_at, "spells": [], "gaps": [[1.0, 0.5]]}
    server.ring(what="measured", call="c1", **heard)
    page.get_by_text("The phone heard a gap of 0.50 s.").wait_for()
    gap = "() => mediaserverView.trace.marks.find(({ kind }) => kind === 'gap').at"
    assert page.evaluate(gap) == pytest.approx(gap_at)


def test_an_event_loop_that_stood_still_is_shown(opened: Opened, server: FakeServer) -> None:
    lags = [line(each, "media", loop_lag=lag) for each, lag in ((1.0, 0.02), (2.0, 0.75))]
    server.call("c1", START, *lags)
    page = opened("#live/c1")
    page.get_by_text("The event loop stood still for 0.75 s").wait_for()
    assert page.locator("#happened li").count() == 1


def test_why_the_handler_failed_is_shown(opened: Opened, server: FakeServer) -> None:
    words = "my_agent.py:12: ValueError: there is no clip"
    for call, told in (("c1", words), ("c2", "…")):
        server.call(call, START, line(1.0, "handler failed", failure="ValueError", words=told))
    page = opened("#live/c1")
    page.get_by_text(f"The handler failed: {words}", exact=True).wait_for()
    page.locator("#live button").nth(1).click()
    page.get_by_text("The handler failed: ValueError …", exact=True).wait_for()


def test_words_are_never_read_as_html(opened: Opened, server: FakeServer) -> None:
    words = "<img src=x onerror=alert(1)><b>bold</b>"
    server.call(
        "c1", START, line(1, "understood", dropped=False, words=words),
        line(1, "says", words=words), line(1, "tool begins", tool=words, words=words),
        line(2, "service failed", failure=words, words=words), caller=words, handler=words,
    )  # fmt: skip
    page = opened("#live/c1")
    page.locator("#tools li").wait_for()
    page.locator("#live li").wait_for()
    assert page.locator(".caller p").inner_text() == words
    assert page.locator("img").count() == 0


def test_the_agents_fault_is_shown_until_it_is_mended(opened: Opened, server: FakeServer) -> None:
    server.agent("failed", "my_agent.py:3: NameError: name 'Agnet' is not defined")
    page = opened()
    page.get_by_role("alert").filter(has_text="my_agent.py:3: NameError").wait_for()
    assert page.get_by_role("button", name="Call", exact=True).is_disabled()
    page.get_by_role("button", name="Start the agent again").click()
    until(page, lambda: server.starts == 1)
    server.agent("ready")
    page.get_by_text("my_agent:Agent: The agent is ready.").wait_for()
    assert page.get_by_text("NameError").count() == 0


def test_why_no_handler_took_a_call_is_shown(opened: Opened, server: FakeServer) -> None:
    page = opened()
    page.get_by_text("Ready", exact=True).wait_for()
    server.ring(what="ringing", call="c1", to="+14155550199", **{"from": "+14155550100"})
    why = "no handler takes the path /x; there is /sales"
    server.ring(what="ended", call="c1", cause="Rejected", by="Answer XML", why=why)
    page.get_by_text(f"The call is over: {why}", exact=True).wait_for()


def test_a_page_that_nobody_sees_takes_no_connection_of_the_others(
    opened: Opened, server: FakeServer
) -> None:
    def hide(on: bool) -> None:
        script = """(value) => {
            Object.defineProperty(document, "hidden", { value, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        page.evaluate(script, on)

    page = opened()
    page.get_by_text("The agent is ready.").wait_for()
    assert server.watching == 1
    hide(True)
    until(page, lambda: server.watching == 0)
    server.agent("failed", "no")
    hide(False)
    page.get_by_text("The agent does not run.").wait_for()
    assert server.watching == 1


def test_an_error_of_the_phone_is_shown_until_the_next_call(
    opened: Opened, server: FakeServer
) -> None:
    page = opened()
    page.get_by_text("Ready", exact=True).wait_for()
    server.ring(what="error", error="+0 is no number: write +14155550100")
    page.get_by_role("alert").filter(has_text="+0 is no number").wait_for()
    page.get_by_role("button", name="Call", exact=True).click()
    page.locator("#phone-problem").wait_for(state="hidden")


def test_a_server_with_a_token_asks_for_it(opened: Opened, server: FakeServer) -> None:
    server.token = "secret"
    server.offers["phone"] = False
    server.call("c1", START)
    page = opened()
    page.locator("#token").fill("wrong")
    page.get_by_role("button", name="Open").click()
    page.get_by_text("This is not the server's token.").wait_for()
    page.locator("#token").fill("secret")
    page.locator("#token").press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'call'")
    page.get_by_role("button", name="+14155550100 → +14155550199").click()
    page.get_by_role("heading", name="+14155550100 → +14155550199").wait_for()
    assert page.locator("#phone").is_hidden()


def test_the_form_for_the_token_reads_well(opened: Opened, server: FakeServer) -> None:
    server.token = "secret-token"
    page = opened()
    page.locator("#token").wait_for()
    assert violations(page) == []


def test_what_can_be_no_token_is_not_kept(opened: Opened, server: FakeServer) -> None:
    server.offers |= {"mode": "view", "phone": False}
    server.token = "secret-token"
    page = opened()
    page.locator("#token").fill("sëcret-tokeń")
    page.get_by_role("button", name="Open").click()
    assert page.locator("#token").evaluate("(field) => field.validity.patternMismatch")
    assert page.evaluate("() => sessionStorage.length") == 0
    page.locator("#token").fill(" secret-token ")
    page.get_by_role("button", name="Open").click()
    page.get_by_text("There is no live call.").wait_for()


def test_a_past_call_is_found_and_shown(opened: Opened, server: FakeServer) -> None:
    server.offers |= {"past": True, "phone": False}
    server.call("c1", *conversation(), ENDED, live=False, cause="caller hung up", captured=True)
    server.call("c2", live=False, captured=False)
    page = opened()
    page.get_by_label("Number", exact=True).fill("+14155550100")
    page.get_by_label("Until").fill("2027-01-16T08:30")
    page.get_by_label("Fault").select_option("the handler failed")
    page.get_by_role("button", name="Search").click()
    page.get_by_text("nothing was kept to show").wait_for()
    assert page.locator("#past [aria-current=true]").count() == 0
    page.get_by_role("button", name="caller hung up").click()
    page.locator("#past [aria-current=true]", has_text="caller hung up").wait_for()
    page.get_by_text("Ended after 6.5 s").wait_for()
    assert server.queries[0] == {}
    until = server.queries[1].pop("until")
    assert datetime.fromisoformat(until).timestamp() == datetime(2027, 1, 16, 8, 30).timestamp()
    assert server.queries[1] == {"number": "+14155550100", "cause": "handler_error"}


def test_older_calls_are_found_and_a_failed_search_can_be_tried_again(
    opened: Opened, server: FakeServer
) -> None:
    server.offers |= {"mode": "view", "phone": False, "past": True}
    server.page = 2
    for number in range(3):
        server.call(f"c{number}", live=False, captured=True, handler=f"Agent {number}")
    page = opened(quiet=("503", "willReadFrequently"))
    more = page.get_by_role("button", name="Older calls")
    more.wait_for()
    server.away = True
    more.press("Enter")
    page.get_by_text("the database is away: try again").wait_for()
    assert page.locator("#past li").count() == 2
    server.away = False
    more.press("Enter")
    page.locator("#past li").nth(2).wait_for()
    assert more.is_hidden()
    page.wait_for_function("() => document.activeElement.textContent.includes('Agent 2')")


def test_faults_can_be_searched_where_there_are_records(opened: Opened, server: FakeServer) -> None:
    server.offers |= {"past": True, "phone": False, "records": True}
    page = opened()
    page.get_by_label("Fault").wait_for()
    server.offers["records"] = False
    page.reload()
    page.get_by_label("Handler").wait_for()
    assert page.get_by_label("Fault").is_hidden()


def test_the_recording_of_a_past_call_is_shown_and_can_be_played(
    opened: Opened, server: FakeServer
) -> None:
    server.offers |= {"past": True, "phone": False}
    tone = (8000 * np.sin(np.arange(16_000) * 0.4)).astype(np.int16)
    sides = np.stack([tone, np.zeros_like(tone)], axis=1)
    server.recording = encode_wav(sides, 8000)
    server.offers["words"] = False
    said = line(0.5, "says", words="…")
    answered = line(0.5, "turn", number=1, words="…")
    server.call("c1", line(0.0, "recording"), said, answered, ENDED, live=False, recording=True)
    page = opened("#past/c1")
    page.locator("#recording").wait_for()
    page.wait_for_function("() => document.getElementById('recording').duration === 2")
    page.wait_for_function("() => mediaserverView.trace.caller.peak(0, 2) > 0.2")
    assert page.evaluate("() => mediaserverView.trace.agent.peak(0, 2)") == 0
    summary = page.locator("#sound-summary")
    until(page, lambda: summary.inner_text() == "No barge-in, no fault of the audio")
    until(page, lambda: pixels(page, "--caller"))
    assert "the recording has" not in page.locator("#sound-summary").inner_text()
    assert page.locator("#words del").count() == 0
    page.get_by_text("--admin-personal-data").wait_for()


def test_a_live_call_is_heard_when_somebody_asks_for_it(opened: Opened, server: FakeServer) -> None:
    server.offers |= {"mode": "view", "phone": False}
    server.call("c1", START)
    server.audio("c1", *(line(1.0, "audio sent", heard_at=at, payload=payload()) for at in (1, 2)))
    page = opened("#live/c1")
    page.locator("#view").wait_for()
    assert server.heard == []
    button = page.get_by_role("button", name="Listen in")
    button.click()
    page.wait_for_function("() => mediaserverView.trace.agent.peak(2, 2.02) > 0.3")
    assert server.heard == ["c1"]
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    server.end("c1")
    page.locator("#recording[src]").wait_for()
    page.get_by_text("the recording has what you listened to").wait_for()


def test_a_past_call_is_heard_when_somebody_asks_for_it(opened: Opened, server: FakeServer) -> None:
    server.offers |= {"mode": "view", "phone": False, "past": True}
    loud = line(1.0, "loudness", caller=[[0, *[0.5] * 50]], agent=[])
    server.call("c1", START, loud, ENDED, live=False, captured=True)
    server.audio("c1", *conversation(), ENDED, live=False)
    page = opened("#past/c1")
    button = page.get_by_role("button", name="Hear the recording")
    button.wait_for()
    assert server.heard == []
    button.click()
    page.locator("#recording[src]").wait_for()
    assert server.heard == ["c1"]
    assert button.is_hidden()


MARKUP = (
    """<img src=x onerror="document.title='changed'"><script>document.title='changed'</script>"""
)

HOSTILE = [
    START,
    *(
        line(1.0, what, **dict.fromkeys(("words", "tool", "name", "digit", "error"), MARKUP))
        | {"event": "Dtmf", "problem": MARKUP, "failure": MARKUP, "track": MARKUP}
        for what in (
            "caller speaks",
            "hears",
            "understood",
            "reply begins",
            "says",
            "spoken",
            "tool begins",
            "tool ends",
            "service failed",
            "checkpoint",
            "received",
            "sent",
            "underrun",
            "barge-in",
            MARKUP,
        )
    ),
    line(1.1, "turn", number=MARKUP, audio_heard=MARKUP, error=MARKUP, words=[MARKUP, MARKUP]),
    line(1.1, "vad", probability=MARKUP),
    line(1.1, "audio received", timestamp=10**30, payload=MARKUP, track="inbound"),
    line(1.1, "audio sent", heard_at=10**30, payload="////"),
    line(10**30, "reconnected", seconds={"a": MARKUP}),
    {"what": None, "at": [MARKUP]},
]


KINDS = (
    "audio received", "audio sent", "audio cut", "loudness", "caller speaks", "hears", "says",
    "taken for noise", "understood", "reply begins", "spoken", "reply cancelled", "turn",
    "tool begins", "tool ends", "underrun", "checkpoint", "received", "sent", "service failed",
    "reconnected", "lines missed", "vad",
)  # fmt: skip
FIELDS = (
    "words", "tool", "name", "digit", "digits", "error", "event", "command", "failure", "track",
    "timestamp", "payload", "heard_at", "heard_in", "seconds", "times", "number", "turn", "lines",
    "probability", "caller", "agent", "end_of_turn", "transcript", "first_token", "audio_heard",
)  # fmt: skip


def test_what_others_wrote_is_shown_as_text_and_stops_nothing(
    opened: Opened, server: FakeServer
) -> None:
    server.offers |= {"past": True, "phone": False, "title": MARKUP}
    numbers: dict[str, Any] = dict.fromkeys(("caller", "called", "handler"), MARKUP)
    server.call("c1", *HOSTILE, **numbers, state=MARKUP)
    server.call("c2", live=False, cause=MARKUP, complaints=[MARKUP], **numbers)
    page = opened("#live/c1")
    page.get_by_text("Lines of the trace").click()
    server.tell("c1", line(1.5, "understood", words="It goes on."))
    page.get_by_text("It goes on.", exact=True).wait_for()
    page.get_by_text("A line of the trace cannot be shown").first.wait_for()
    page.get_by_role("button", name=f"{MARKUP} → {MARKUP}").first.wait_for()
    assert page.locator("img, main script, aside script").count() == 0
    assert page.title().startswith(MARKUP)


@pytest.mark.parametrize("value", [None, True, 7, [], {}])
def test_a_line_whose_fields_make_no_sense_stops_nothing(
    opened: Opened, server: FakeServer, value: Any
) -> None:
    server.offers |= {"mode": "view", "phone": False}
    told = [{**dict.fromkeys(FIELDS, value), "at": 1.0, "what": what} for what in KINDS]
    server.call("c1", START, value, *told)
    page = opened("#live/c1")
    page.get_by_text("Lines of the trace").click()
    server.tell("c1", line(1.5, "barge-in", confirmed=True))
    page.get_by_text("The caller interrupted the agent.").first.wait_for()


def test_a_trace_that_breaks_off_is_read_on(opened: Opened, server: FakeServer) -> None:
    server.offers |= {"mode": "view", "phone": False}
    server.call("c1", START, line(1.0, "understood", words="Before."))
    page = opened("#live/c1", quiet=("ERR_", "willReadFrequently"))
    page.get_by_text("Before.", exact=True).wait_for()
    server.fall_silent()
    server.break_off()
    page.get_by_text("The page tries again").wait_for()
    server.answer_again()
    server.tell("c1", line(2.0, "understood", words="After."))
    page.get_by_text("After.", exact=True).wait_for()
    page.get_by_text("what happened until it was back is not shown").wait_for()
    page.get_by_text("Live 0:").wait_for()
    assert page.locator("#call-problem").is_hidden()


def test_a_call_that_is_over_when_the_server_is_back_is_said_so(
    opened: Opened, server: FakeServer
) -> None:
    server.offers |= {"mode": "view", "phone": False}
    server.call("c1", START)
    page = opened("#live/c1", quiet=("ERR_", "willReadFrequently"))
    page.locator("#view").wait_for()
    server.calls.clear()
    server.break_off()
    page.get_by_text("The call is over.").wait_for()
    page.get_by_text("Ended after").wait_for()


def test_the_address_can_be_changed_to_another_call(opened: Opened, server: FakeServer) -> None:
    server.offers |= {"mode": "view", "phone": False}
    server.call("c1", START)
    server.call("c 2", START)
    page = opened("#live/c1")
    page.locator("#call-about").get_by_text("c1").wait_for()
    page.evaluate("location.hash = '#live/c%202'")
    page.locator("#call-about").get_by_text("c 2").wait_for()


def test_an_address_that_was_cut_is_that_of_no_call(opened: Opened, server: FakeServer) -> None:
    server.offers |= {"mode": "view", "phone": False}
    server.call("c1", START)
    page = opened("#live/%E0%A4", quiet=("404", "willReadFrequently"))
    page.get_by_text("The call is over.").wait_for()
    page.locator("#live button").click()
    page.locator("#view").wait_for()


def test_a_call_that_is_gone_is_said_so(opened: Opened, server: FakeServer) -> None:
    server.call("c1", START)
    page = opened("#live/c1")
    page.locator("#view").wait_for()
    server.end("c1")
    page.get_by_text("the server tells no more").wait_for()


def test_a_screen_reader_is_told_what_is_said_once_it_is_final(
    opened: Opened, server: FakeServer
) -> None:
    server.call("c1", START, line(1.0, "hears", words="do you"))
    page = opened("#live/c1")
    announced = page.locator("#words-announced")
    page.get_by_text("do you", exact=True).wait_for()
    assert announced.inner_text() == ""
    server.tell("c1", line(2.0, "understood", words="Do you have tea?"))
    announced.get_by_text("Caller: Do you have tea?", exact=True).wait_for()
    server.tell(
        "c1", line(2.5, "reply begins", turn=1), line(2.5, "says", words="Yes, twelve kinds."),
        line(3.5, "turn", number=1, interrupted=True, words=["Do you have tea?", "Yes, twelve"]),
    )  # fmt: skip
    announced.get_by_text("Agent: Yes, twelve", exact=True).wait_for()


def test_everything_can_be_done_by_keyboard(opened: Opened, server: FakeServer) -> None:
    server.call("c1", *conversation())
    page = opened("#live/c1")
    page.get_by_text("Underrun").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to the call"
    page.get_by_label("Time shown").focus()
    begin = "() => [mediaserverView.waveforms.begin, mediaserverView.waveforms.seconds]"
    page.keyboard.press("Home")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(begin) == [pytest.approx(7.5), 10]
    assert page.locator("#latest").get_attribute("aria-pressed") == "false"
    page.keyboard.press("End")
    assert page.locator("#latest").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_it_reads_well(
    opened: Opened, server: FakeServer, scheme: str, size: dict[str, int]
) -> None:
    server.offers["past"] = True
    server.call("c0", live=False)
    server.call("c1", *conversation())
    page = opened("#live/c1", color_scheme=scheme, viewport=size, reduced_motion="reduce")
    server.ring(what="answered", call="c1")
    page.get_by_text("In a call").wait_for()
    server.ring(what="error", error="something is wrong")
    page.get_by_text("Underrun").wait_for()
    page.get_by_text("Troubles", exact=True).click()
    page.get_by_text("Lines of the trace").click()
    page.get_by_text("tool begins").wait_for()
    if folder := os.environ.get("MEDIASERVER_SCREENSHOTS"):
        path = f"{folder}/page-{scheme}-{size['width']}.png"
        page.screenshot(path=path, full_page=True)
    assert violations(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= size["width"]
