import asyncio
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from audiocodecs import Wav
from mediaserver import Dtmf, Stream
from mediaserver.agents.menu import Menu, Transfer
from mediaserver.agents.services import ServiceError
from mediaserver.handler import Handler, HandlerError
from mediaserver.sandbox import CallReport
from mediaserver.testing import joined, run_virtual
from mediaserver.testing.services import Fault, TimedSpeech, Timing
from mediaserver.testing.voice import ToneVoice


def clip(seconds: float = 1.0) -> Wav:
    times = np.arange(round(seconds * 8000)) / 8000
    return Wav((8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16), 8000)


def called(menu: Menu, *keys: Any, until: float | None = None) -> CallReport:
    """Press keys at their times, and return what the caller heard and when the call was over."""

    async def main() -> CallReport:
        async with joined(menu) as line:
            for time, digits in keys:
                await line.phone.wait_until(time)
                line.phone.press(digits)
            if until is None:
                await line.phone.wait_closed()
            else:
                await line.phone.wait_until(until)
        return line.phone.report()

    return run_virtual(main())


@pytest.fixture
def went() -> list[Any]:
    return []


@pytest.fixture
def to(went: list[Any]) -> Callable[..., Any]:
    """Make handlers that write down that they were run."""

    def to(name: str) -> Callable[..., Any]:
        async def handler(stream: Stream) -> None:
            went.append(name)

        return handler

    return to


def test_a_key_leads_to_a_handler(to: Callable[..., Any], went: list[Any]) -> None:
    report = called(Menu(prompt=clip(), choices={"1": to("one"), "2": to("two")}), (2.0, "2"))
    assert went == ["two"]
    assert report.duration == pytest.approx(2.0, abs=0.1)
    assert report.close_code == 1000


def test_a_key_stops_the_prompt(to: Callable[..., Any], went: list[Any]) -> None:
    report = called(Menu(prompt=clip(5.0), choices={"1": to("one")}), (0.5, "1"))
    assert went == ["one"]
    assert report.audio_played == pytest.approx(0.5, abs=0.06)


def test_without_barge_in_keys_count_after_the_prompt(
    to: Callable[..., Any], went: list[Any]
) -> None:
    menu = Menu(prompt=clip(), choices={"1": to("one"), "2": to("two")}, barge_in=False)
    report = called(menu, (0.5, "1"), (1.5, "2"))
    assert went == ["two"]
    assert report.audio_played == pytest.approx(1.0, abs=0.05)


def test_a_class_can_be_chosen(went: list[Any]) -> None:
    class Chosen(Handler):
        async def on_start(self) -> None:
            went.append(self.stream.call_id)
            self.stream.close()

    called(Menu(prompt=clip(), choices={"1": Chosen}), (0.5, "1"))
    assert len(went) == 1


def test_a_handler_that_was_chosen_can_hear_and_read_keys(went: list[Any]) -> None:
    async def talk(stream: Stream) -> None:
        async for frame in stream.audio():
            went.append(frame.seconds)
            if len(went) == 3:
                break
        async for event in stream.controls():
            if isinstance(event, Dtmf):
                went.append(event.digit)
                return

    called(Menu(prompt=clip(), choices={"1": talk}), (0.5, "1"), (2.0, "7"))
    assert went == [0.02, 0.02, 0.02, "7"]


def test_several_keys_are_a_choice_once_no_longer_one_is_left(
    to: Callable[..., Any], went: list[Any]
) -> None:
    menu = Menu(prompt=clip(), choices={"1": to("one"), "12": to("twelve"), "123": to("long")})
    report = called(menu, (1.5, "123"))
    assert went == ["long"]
    assert report.duration == pytest.approx(1.7, abs=0.1)


def test_a_choice_that_another_begins_with_is_taken_after_a_while(
    to: Callable[..., Any], went: list[Any]
) -> None:
    menu = Menu(prompt=clip(), choices={"1": to("one"), "12": to("twelve")}, between=1.0)
    report = called(menu, (1.5, "1"))
    assert went == ["one"]
    assert report.duration == pytest.approx(2.5, abs=0.1)


def test_a_choice_that_another_begins_with_is_taken_at_the_terminator(
    to: Callable[..., Any], went: list[Any]
) -> None:
    menu = Menu(prompt=clip(), choices={"1": to("one"), "12": to("twelve")})
    report = called(menu, (1.5, "1#"))
    assert went == ["one"]
    assert report.duration == pytest.approx(1.6, abs=0.1)


async def note(went: Any, digits: Any) -> None:
    went.append(digits)


@pytest.mark.parametrize(
    ("keys", "longest", "after"),
    [("12345#", 32, 2.0), ("1234", 4, 1.8), ("77", 32, 3.6)],
    ids=["terminator", "longest", "silence"],
)
def test_a_number_is_entered(went: list[Any], keys: str, longest: int, after: float) -> None:
    async def account(stream: Stream, digits: str) -> None:
        went.append(digits)

    menu = Menu(prompt=clip(), otherwise=account, longest=longest, terminator="#")
    report = called(menu, (1.5, keys))
    assert went == [keys.rstrip("#")]
    assert report.duration == pytest.approx(after, abs=0.12)


def test_a_wrong_key_is_told_and_asked_again(to: Callable[..., Any], went: list[Any]) -> None:
    menu = Menu(prompt=clip(1.0), choices={"1": to("one")}, invalid=clip(0.5))
    report = called(menu, (1.2, "9"), (3.0, "1"))
    assert went == ["one"]
    assert report.audio_played == pytest.approx(1.0 + 0.5 + 1.0, abs=0.1)


def test_who_presses_nothing_is_asked_again_and_then_hung_up(
    to: Callable[..., Any], went: list[Any]
) -> None:
    menu = Menu(
        prompt=clip(1.0),
        choices={"1": to("one")},
        timeout=2.0,
        retries=1,
        unanswered=clip(0.5),
        goodbye=clip(0.3),
    )
    report = called(menu)
    assert went == []
    assert report.ended_by == "server"
    assert report.audio_played == pytest.approx(1.0 + 0.5 + 1.0 + 0.3, abs=0.1)
    assert report.duration == pytest.approx(1.0 + 2.0 + 0.5 + 1.0 + 2.0 + 0.3, abs=0.3)


def test_giving_up_may_lead_to_somebody(to: Callable[..., Any], went: list[Any]) -> None:
    called(Menu(prompt=clip(), choices={"1": to("one")}, retries=0, give_up=to("help")))
    assert went == ["help"]


def test_menus_nest_and_lead_back(to: Callable[..., Any], went: list[Any]) -> None:
    inner = Menu(prompt=clip(0.4), choices={"5": to("five"), "0": "back"})
    outer = Menu(prompt=clip(0.2), choices={"1": inner, "2": to("two")})
    called(outer, (0.5, "1"), (1.5, "0"), (2.5, "2"))
    assert went == ["two"]
    called(outer, (0.5, "1"), (1.5, "5"))
    assert went == ["two", "five"]


@pytest.mark.parametrize("step", ["again", "back"])
def test_a_key_has_the_prompt_again(to: Any, went: list[Any], step: Any) -> None:
    report = called(
        Menu(prompt=clip(1.0), choices={"9": step, "1": to("one")}), (1.5, "9"), (4.0, "1")
    )
    assert report.audio_played == pytest.approx(2.0, abs=0.1)
    assert went == ["one"]


def test_a_key_hangs_up() -> None:
    report = called(Menu(prompt=clip(), choices={"*": "hang_up"}), (0.5, "*"))
    assert report.ended_by == "server"


def test_a_key_transfers(monkeypatch: pytest.MonkeyPatch, went: list[Any]) -> None:
    async def transfer(stream: Stream, url: str) -> None:
        went.append(url)

    monkeypatch.setattr("mediaserver.stream.Stream.transfer", transfer)
    called(Menu(prompt=clip(), choices={"2": Transfer("https://a.example/x.xml")}), (0.5, "2"))
    assert went == ["https://a.example/x.xml"]


@pytest.mark.parametrize("kind", [TimedSpeech, ToneVoice])
def test_text_is_spoken(to: Callable[..., Any], kind: Any) -> None:
    menu = Menu(prompt="press one for sales", choices={"1": to("one")}, text_to_speech=kind())
    report = called(menu, (3.0, "1"))
    assert report.audio_played > 0.5


@pytest.mark.parametrize("time", [0.3, 1.5])
def test_a_caller_who_hangs_up_is_no_trouble(
    to: Callable[..., Any], went: list[Any], time: float
) -> None:
    report = called(Menu(prompt=clip(), choices={"1": to("one")}), until=time)
    assert report.ended_by == "caller"
    assert went == []


def test_who_hangs_up_in_the_middle_of_a_number_has_entered_none(
    to: Callable[..., Any], went: list[Any]
) -> None:
    menu = Menu(prompt=clip(), choices={"1": to("one"), "12": to("twelve")})
    called(menu, (1.5, "1"), until=1.7)
    assert went == []


def test_the_terminator_alone_is_no_number(went: list[Any]) -> None:
    async def account(stream: Stream, digits: str) -> None:
        went.append(digits)

    menu = Menu(prompt=clip(), otherwise=account, retries=1)
    report = called(menu, (1.5, "#"), (3.0, "#"))
    assert went == []
    assert report.duration == pytest.approx(3.0, abs=0.2)


def test_a_key_stops_what_is_said_of_the_one_before(
    to: Callable[..., Any], went: list[Any]
) -> None:
    menu = Menu(prompt=clip(1.0), choices={"1": to("one")}, invalid=clip(5.0))
    report = called(menu, (1.5, "9"), (2.5, "1"))
    assert went == ["one"]
    assert report.audio_played == pytest.approx(1.0 + 1.0, abs=0.1)


def test_a_key_may_come_before_the_prompt_was_synthesised(
    to: Callable[..., Any], went: list[Any]
) -> None:
    service = TimedSpeech(timing=Timing(first=3.0))
    menu = Menu(prompt="press one", choices={"1": to("one")}, text_to_speech=service)
    report = called(menu, (1.0, "1"))
    assert went == ["one"]
    assert report.audio_played == 0
    assert report.duration == pytest.approx(1.0, abs=0.1)
    assert service.open == 0


def test_a_prompt_is_synthesised_once(to: Callable[..., Any]) -> None:
    service = TimedSpeech()
    menu = Menu(prompt="press one for sales", choices={"1": to("one")}, text_to_speech=service)
    for _ in range(3):
        assert called(menu, (3.0, "1")).audio_played > 0.5
    assert service.texts == ["press one for sales"]


def test_a_service_that_fails_ends_the_call(to: Callable[..., Any]) -> None:
    broken = TimedSpeech(fault=Fault(error=ConnectionError("away")))
    menu = Menu(prompt="hello", choices={"1": to("one")}, text_to_speech=broken)
    with pytest.raises(ServiceError, match="away"):
        called(menu)


def test_a_menu_can_be_a_key_of_a_mapping() -> None:
    menu = Menu(prompt=clip(), choices={"1": somebody})
    assert {menu: 1}[menu] == 1


async def somebody(stream: Any) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"choices": {}}, "needs otherwise"),
        ({"choices": {"x": somebody}}, "keys of 0-9"),
        ({"choices": {"": somebody}}, "keys of 0-9"),
        ({"choices": {"1#2": somebody}}, "terminator '#' is within"),
        ({"choices": {"1": "sing"}}, "not 'sing'"),
        ({"terminator": "12"}, "not '12'"),
        ({"give_up": "again"}, "ask for ever"),
        ({"timeout": 0}, "timeout is in seconds"),
        ({"between": -1.0}, "between is in seconds"),
        ({"retries": -1}, "retries"),
        ({"longest": 0}, "longest"),
        ({"invalid": "sorry"}, "'sorry' is text"),
        ({"prompt": "none.wav"}, "cannot play"),
    ],
)
def test_a_menu_that_cannot_work_is_refused(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Menu(**{"prompt": clip(), "choices": {"1": somebody}, **settings})


def test_a_choice_that_is_no_handler_is_refused() -> None:
    with pytest.raises(HandlerError, match="not async"):
        Menu(prompt=clip(), choices={"1": cast(Any, print)})


def test_a_transfer_wants_a_url() -> None:
    with pytest.raises(ValueError, match="not 'sales'"):
        Transfer("sales")
