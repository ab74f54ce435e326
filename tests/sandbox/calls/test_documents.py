from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from audiocodecs import Samples, Wav, encode_wav, read_wav
from mediaserver.sandbox.audio.handset import Handset
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.documents import MAX_INSTANT_DOCUMENTS
from mediaserver.sandbox.people.person import HangUp, Person, Press, Wait
from mediaserver.sandbox.records.records import CallRecord, StreamRecord
from mediaserver.sandbox.webhooks import Target
from tests.sandbox.conftest import OnPlatform


ANSWERED = 1.0
"""Seconds after which the person of these tests has answered."""


def tone(seconds: float) -> Samples:
    time = np.arange(round(8_000 * seconds)) / 8_000
    return (9_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)


async def run_call(platform: Any, *elements: str, **plan: Any) -> SandboxCall:
    """Place a call whose answer URL has these elements, and wait for its end."""
    call: SandboxCall = await platform.call(*elements, **plan)
    await platform.ended(call)
    return call


def length(call: SandboxCall) -> float:
    """Seconds from the answer to the end."""
    record = call.record
    assert record.ended is not None
    assert record.answered is not None
    return record.ended - record.answered


def test_elements_run_one_after_the_other(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> SandboxCall:
        platform.customer.replies["/tone.wav"] = encode_wav(tone(1.5), 8_000)
        url = platform.customer.target("/tone.wav")
        return await run_call(
            platform, f"<Play>{url}</Play>", '<Wait length="2"/>', f"<Play>{url}</Play>"
        )

    call = on_platform(scenario)

    assert length(call) == pytest.approx(5, abs=0.1)
    (first, second) = call.line.handset.heard
    assert first == pytest.approx((0, 1.5), abs=0.1)
    assert second == pytest.approx((3.5, 5), abs=0.1)


def test_loop_repeats_until_the_call_ends(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> SandboxCall:
        platform.customer.replies["/tone.wav"] = encode_wav(tone(0.5), 8_000)
        url = platform.customer.target("/tone.wav")
        return await run_call(platform, '<Hangup schedule="10"/>', f'<Play loop="0">{url}</Play>')

    call = on_platform(scenario)

    assert length(call) == pytest.approx(10, abs=0.1)
    assert call.record.hangup_source == "Answer XML"


def test_what_cannot_be_played_is_passed_over(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> SandboxCall:
        platform.customer.replies |= {"/none.wav": 404, "/no.wav": "no WAV"}
        return await run_call(
            platform,
            *(
                f"<Play>{platform.customer.target(path)}</Play>"
                for path in ("/none.wav", "/no.wav")
            ),
            '<Wait length="3"/>',
        )

    call = on_platform(scenario)

    assert (length(call), call.record.hangup_cause_code) == (pytest.approx(3, abs=0.1), 4010)


def test_speak_takes_as_long_as_it_is_said(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[list[tuple[str, str]], float]:
        said: list[tuple[str, str]] = []

        async def speak(text: str, language: str) -> Wav:
            said.append((text, language))
            return Wav(tone(2), 8_000)

        platform.exchange.services.speak = speak
        call = await run_call(platform, '<Speak language="en-GB" loop="2">Good morning</Speak>')
        return said, length(call)

    said, seconds = on_platform(scenario)

    assert said == [("Good morning", "en-GB")]
    assert seconds == pytest.approx(4, abs=0.1)


def test_wait_for_silence_goes_on_when_the_person_is_silent(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> SandboxCall:
        return await run_call(
            platform, '<Wait length="30" silence="true" minSilence="3000"/>', "<Hangup/>"
        )

    async def talkative(handset: Handset) -> None:
        handset.say(tone(4), 8_000)
        await handset.wait_ended()

    # The answer document is there some ticks after the person began to speak.
    assert length(on_platform(scenario, person=Person(talkative))) == pytest.approx(7, abs=0.2)


def test_redirect_runs_another_document(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[CallRecord, Any]:
        url = platform.document("/next", "<Hangup/>")
        call = await run_call(platform, f'<Redirect method="GET">{url}</Redirect>')
        return call.record, platform.customer.at("/next")[0]

    record, asked = on_platform(scenario)

    assert (asked.method, asked.event) == ("GET", "Redirect")
    assert record.hangup_source == "Answer XML"


class TestWithoutADocument:
    @pytest.mark.parametrize(
        ("reply", "code"),
        [
            (404, 7011),
            (503, 7011),
            ("", 8011),
            ("<html>Welcome</html>", 8011),
            ('{"Response": []}', 8011),
            ("<Response><Stream>wss://h/?a=1&b=2</Stream></Response>", 8011),
            ("<Response><Reject/></Response>", 8011),
            (b"<Response>" + b" " * 200_000 + b"</Response>", 8011),
        ],
    )
    def test_the_call_ends_with_the_documented_cause(
        self, on_platform: OnPlatform, reply: bytes | int | str, code: int
    ) -> None:
        async def scenario(platform: Any) -> Any:
            call = await platform.call()
            platform.customer.replies["/answer"] = reply
            await call.wait_ended()
            return call.record

        record = on_platform(scenario)

        assert (record.hangup_cause_code, record.hangup_source) == (code, "Error")

    def test_a_slow_url_is_asked_twice_for_15_s_each(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> tuple[SandboxCall, list[Any]]:
            call = await platform.call(hangup=Target(platform.customer.target("/hangup")))
            platform.customer.replies["/answer"] = lambda _: asyncio.sleep(100, "")
            await call.wait_ended()
            return call, platform.customer.at("/answer")

        call, asked = on_platform(scenario)

        assert len(asked) == 2
        assert call.record.hangup_cause_code == 7011
        assert length(call) == pytest.approx(2 * (15 + 2), abs=0.1)

    def test_the_fallback_has_one(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> tuple[CallRecord, Any]:
            fallback = Target(platform.document("/fallback", "<Hangup/>"))
            call = await platform.call(fallback=fallback)
            platform.customer.replies["/answer"] = 500
            await call.wait_ended()
            return call.record, platform.customer.at("/fallback")[0]

        record, asked = on_platform(scenario)

        assert record.hangup_source == "Answer XML"
        assert asked.params["CallUUID"] == record.call_uuid

    @pytest.mark.parametrize(("reply", "code"), [(404, 7014), ("no", 8014)])
    def test_a_redirect_has_causes_of_its_own(
        self, on_platform: OnPlatform, reply: int | str, code: int
    ) -> None:
        async def scenario(platform: Any) -> CallRecord:
            platform.customer.replies["/next"] = reply
            url = platform.customer.target("/next")
            return (await run_call(platform, f"<Redirect>{url}</Redirect>")).record

        assert on_platform(scenario).hangup_cause_code == code


class TestStream:
    def test_without_keep_call_alive_the_call_soon_ends(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> SandboxCall:
            return await run_call(platform, platform.stream())

        call = on_platform(scenario)

        assert length(call) == pytest.approx(1, abs=0.1)
        assert call.record.hangup_cause_code == 4010

    def test_without_keep_call_alive_what_follows_runs_beside_it(
        self, on_platform: OnPlatform
    ) -> None:
        async def scenario(platform: Any) -> tuple[SandboxCall, StreamRecord]:
            call = await run_call(platform, platform.stream(), '<Wait length="7"/>')
            (stream,) = platform.exchange.records.streams.values()
            return call, stream

        call, stream = on_platform(scenario)

        assert length(call) == pytest.approx(8, abs=0.1)
        assert stream.end_reason == "Call hangup"
        assert stream.ended - stream.started == pytest.approx(8, abs=0.2)

    def test_with_keep_call_alive_what_follows_runs_after_it(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> tuple[SandboxCall, float]:
            url = platform.document("/after", '<Wait length="2"/>')
            stream = platform.stream(keepCallAlive="true", streamTimeout="5")
            call = await run_call(platform, stream, f"<Redirect>{url}</Redirect>")
            return call, platform.customer.at("/after")[0].time

        call, asked = on_platform(scenario)

        assert asked - ANSWERED == pytest.approx(5, abs=0.1)
        assert length(call) == pytest.approx(7, abs=0.1)
        assert call.record.hangup_cause_code == 4010

    def test_a_second_one_at_the_same_time_is_passed_over(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> int:
            await run_call(
                platform, platform.stream(), platform.stream(), '<Wait length="2"/>', "<Hangup/>"
            )
            return len(platform.exchange.records.streams)

        assert on_platform(scenario) == 1


class TestGetDigits:
    @pytest.mark.parametrize(
        ("keys", "attributes", "digits", "seconds"),
        [
            pytest.param("12#", "", "12", 1.2, id="up to the finish key"),
            pytest.param("1234", 'numDigits="3"', "123", 1.2, id="as many as are wanted"),
            pytest.param("7", 'digitTimeout="4"', "7", 5, id="until no more come"),
            pytest.param("", 'timeout="3" retries="2"', None, 6, id="none come"),
            pytest.param("9182#", 'validDigits="12"', "12", 1.4, id="valid ones"),
        ],
    )
    def test_collects_keys_for_the_action(
        self,
        on_platform: OnPlatform,
        keys: str,
        attributes: str,
        digits: str | None,
        seconds: float,
    ) -> None:
        async def scenario(platform: Any) -> Any:
            action = platform.document("/digits", "<Hangup/>")
            call = await run_call(platform, f'<GetDigits action="{action}" {attributes}/>')
            return [asked.params["Digits"] for asked in platform.customer.at("/digits")], length(
                call
            )

        told, lasted = on_platform(scenario, person=Person([Wait(1), Press(keys)] if keys else []))

        assert told[:1] == ([] if digits is None else [digits])
        assert lasted == pytest.approx(seconds, abs=0.1)

    def test_the_first_key_stops_the_prompt(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> SandboxCall:
            platform.customer.replies["/tone.wav"] = encode_wav(tone(20), 8_000)
            play = f"<Play>{platform.customer.target('/tone.wav')}</Play>"
            return await run_call(platform, f'<GetDigits numDigits="1">{play}</GetDigits>')

        call = on_platform(scenario, person=Person([Wait(4), Press("1")]))

        assert length(call) == pytest.approx(4, abs=0.1)

    def test_the_timeout_counts_from_the_end_of_the_prompt(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> SandboxCall:
            platform.customer.replies["/tone.wav"] = encode_wav(tone(6), 8_000)
            play = f"<Play>{platform.customer.target('/tone.wav')}</Play>"
            return await run_call(platform, f'<GetDigits timeout="3">{play}</GetDigits>')

        assert length(on_platform(scenario)) == pytest.approx(9, abs=0.1)


class TestRecord:
    def test_of_a_session_runs_beside_what_follows(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> tuple[Any, Any, Wav]:
            url = platform.customer.target("/recorded")
            await run_call(
                platform,
                '<Record recordSession="true" redirect="false"'
                f' action="{url}" callbackUrl="{url}"/>',
                '<Wait length="4"/>',
            )
            started, stopped = platform.customer.at("/recorded")
            path = platform.exchange.services.recording_path(stopped.params["RecordingID"])
            return started, stopped, read_wav(path)

        started, stopped, wav = on_platform(scenario)

        assert started.params["RecordUrl"] == stopped.params["RecordUrl"]
        assert stopped.params["RecordingDuration"] == "4"
        assert (wav.seconds, wav.samples.shape[1]) == (pytest.approx(4, abs=0.1), 2)

    @pytest.mark.parametrize(
        ("steps", "attributes", "digits", "seconds"),
        [
            ([Wait(5), Press("#")], "", "#", 4.5),
            ([], 'timeout="3"', "", 3),
            ([], 'timeout="60" maxLength="7"', "", 7),
        ],
    )
    def test_of_a_message_ends_with_a_key_silence_or_its_length(
        self,
        on_platform: OnPlatform,
        steps: list[Press | Wait],
        attributes: str,
        digits: str,
        seconds: float,
    ) -> None:
        async def scenario(platform: Any) -> Any:
            url = platform.document("/recorded", "<Hangup/>")
            await run_call(platform, f'<Record action="{url}" {attributes}/>')
            return platform.customer.at("/recorded")[0].params

        params = on_platform(scenario, person=Person(steps))

        assert params["Digits"] == digits
        assert int(params["RecordingDurationMs"]) / 1000 == pytest.approx(seconds, abs=0.1)

    def test_of_a_message_is_kept_when_the_person_hangs_up(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> float:
            url = platform.customer.target("/recorded")
            await run_call(platform, f'<Record playBeep="false" callbackUrl="{url}"/>')
            (stopped,) = platform.customer.at("/recorded")
            path = platform.exchange.services.recording_path(stopped.params["RecordingID"])
            return read_wav(path).seconds

        assert on_platform(scenario, person=Person([Wait(2), HangUp()])) == pytest.approx(
            2, abs=0.1
        )


@pytest.mark.parametrize(("reply", "code"), [(404, 7012), ("no", 8012)])
def test_an_action_without_a_document_ends_the_call(
    on_platform: OnPlatform, reply: int | str, code: int
) -> None:
    async def scenario(platform: Any) -> SandboxCall:
        platform.customer.replies["/action"] = reply
        action = platform.customer.target("/action")
        return await run_call(platform, f'<GetDigits action="{action}"/>')

    call = on_platform(scenario, person=Person([Wait(1), Press("1")]))

    assert call.record.hangup_cause_code == code


def test_documents_that_go_round_in_a_circle_end_the_call(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[CallRecord, int]:
        url = platform.customer.target("/answer")
        call = await run_call(platform, f"<Redirect>{url}</Redirect>")
        return call.record, len(platform.customer.at("/answer"))

    record, asked = on_platform(scenario)

    assert (record.hangup_cause_code, record.hangup_source) == (8014, "Error")
    # The last of them is the hangup callback.
    assert asked == MAX_INSTANT_DOCUMENTS + 1


def test_a_circle_that_takes_its_time_goes_on(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        url = platform.customer.target("/answer")
        call = await run_call(
            platform, '<Wait length="1"/>', f"<Redirect>{url}</Redirect>", time_limit=90
        )
        return call.record.hangup_cause_code, len(platform.customer.at("/answer"))

    cause, asked = on_platform(scenario)

    assert cause == 6000
    assert asked > MAX_INSTANT_DOCUMENTS
