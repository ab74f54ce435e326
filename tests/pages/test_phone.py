"""What the page does where the browser has no microphone or speaker, or may not use them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.pages.conftest import until
from tests.pages.fake_server import FakeServer


Opened = Callable[..., Any]


def call(page: Any, server: FakeServer) -> Any:
    """Place a call that is answered; return where the page says what is wrong with its sound."""
    page.get_by_text("Ready", exact=True).wait_for()
    page.get_by_role("button", name="Call", exact=True).click()
    page.wait_for_function("() => document.getElementById('phone-state').textContent === 'Ready'")
    server.ring(what="ringing", call="c1", to="+14155550199", **{"from": "+14155550100"})
    server.ring(what="answered", call="c1")
    page.get_by_text("In a call").wait_for()
    until(page, lambda: [each["do"] for each in server.asked] == ["dial"])
    return page.locator("#phone-problem")


def test_a_microphone_that_is_not_allowed_is_said(opened: Opened, server: FakeServer) -> None:
    problem = call(opened(permissions=[]), server)
    assert "was not allowed to use the microphone: the agent hears silence" in problem.inner_text()
    assert "Allow it beside the address of the page" in problem.inner_text()


def test_a_page_of_another_machine_has_no_sound(opened: Opened, server: FakeServer) -> None:
    page = opened(host="elsewhere.test")
    told = call(page, server).inner_text()
    assert "you hear nothing, and the agent hears silence" in told
    assert page.evaluate("() => `http://localhost:${location.port}/`") in told


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NotFoundError", "There is no microphone: the agent hears silence. Connect one"),
        ("NotReadableError", "Another program holds the microphone: the agent hears silence."),
        ("AbortError", "The microphone could not be opened: AbortError. The agent hears silence."),
    ],
)
def test_why_there_is_no_microphone_is_said(
    opened: Opened, server: FakeServer, name: str, words: str
) -> None:
    page = opened()
    fails = "(name) => { navigator.mediaDevices.getUserMedia = async () => { throw %s; } }"
    page.evaluate(fails % "new DOMException('', name)", name)
    assert words in call(page, server).inner_text()


def test_a_browser_without_microphones_is_said(opened: Opened, server: FakeServer) -> None:
    page = opened()
    page.evaluate("() => Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    assert "this browser gives it to no page" in call(page, server).inner_text()


def test_a_microphone_that_goes_during_a_call_is_said(opened: Opened, server: FakeServer) -> None:
    page = opened()
    problem = call(page, server)
    assert problem.is_hidden()
    page.context.clear_permissions()
    page.get_by_text("The microphone is gone: the agent hears silence.").wait_for()


def test_a_speaker_that_never_opens_is_said(opened: Opened, server: FakeServer) -> None:
    page = opened()
    page.evaluate("""() => {
        AudioContext.prototype.resume = () => new Promise(() => {});
        Object.defineProperty(AudioContext.prototype, "state", { get: () => "suspended" });
    }""")
    assert "is there a loudspeaker or a headphone?" in call(page, server).inner_text()
