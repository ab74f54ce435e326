import asyncio
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from pydantic import SecretStr

from mediaserver.agents import Echo
from mediaserver.handler import Handler, HandlerError
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.plivo.stream_options import StreamOptions
from mediaserver.routes import Route, Routes
from mediaserver.server.accepting import examine
from mediaserver.server.admission import Admission
from mediaserver.server.answer import AnswerError, answer, claimed, decided
from mediaserver.server.handshake import AcceptedStream, HandshakeRequest
from mediaserver.server.runtime import Runtime
from mediaserver.server.trust.tokens import Claims, unseal
from mediaserver.settings import Settings
from mediaserver.testing import run_virtual


SECRET = "sixteen letters and more"
CALL = {
    "CallUUID": "call-1",
    "From": "14155550100",
    "To": "+14155550199",
    "Direction": "inbound",
    "CallStatus": "ringing",
    "Event": "StartApp",
}
BASE = "https://voice.example.com"


def make(*routes: Any, **more: Any) -> Runtime:
    runtime = Runtime(
        Settings(secret=SecretStr(SECRET), **more), Routes(*(routes or [Route(Echo)]))
    )
    runtime.admission = Admission(runtime.settings.max_calls)
    return runtime


def reply(
    runtime: Runtime, base_url: str = BASE, path: str | None = None, **changes: Any
) -> tuple[str, Element]:
    fields = {**CALL, **changes}
    request = AnswerRequest.parse({k: v for k, v in fields.items() if v is not None})
    result = answer(runtime, request, base_url, path)
    return result.kind, ElementTree.fromstring(result.xml)


def stream_url(response: Element) -> str:
    assert response[0].text is not None
    return response[0].text


def tags(response: Element) -> list[str]:
    return [child.tag for child in response]


def test_a_call_is_streamed_to_the_public_url() -> None:
    kind, response = reply(make())
    assert kind == "stream"
    assert response.tag == "Response"
    assert tags(response) == ["Stream", "Hangup"]
    stream = response[0]
    assert stream.attrib == {
        "bidirectional": "true",
        "keepCallAlive": "true",
        "contentType": "audio/x-mulaw;rate=8000",
    }
    assert stream_url(response).startswith("wss://voice.example.com/stream?token=")


def test_each_call_has_its_own_url_in_the_same_document() -> None:
    runtime = make(on_end="https://voice.example.com/after?a=1&b=2")
    (_, first), (_, second) = reply(runtime), reply(runtime, CallUUID="call-2")
    assert stream_url(first) != stream_url(second)
    second[0].text = first[0].text
    assert ElementTree.tostring(first) == ElementTree.tostring(second)
    assert first[1].text == "https://voice.example.com/after?a=1&b=2"


def test_a_public_url_with_an_ampersand_is_written_and_read_back() -> None:
    _, response = reply(make(), base_url="https://voice.example.com/a&b")
    assert stream_url(response).startswith("wss://voice.example.com/a&b/stream?token=")


def test_the_token_says_what_the_webhook_said() -> None:
    _, response = reply(make(token_seconds=60))
    token = parse_qs(urlsplit(stream_url(response)).query)["token"][0]
    claims = unseal(token, SECRET, 0.0)
    assert (claims.call_id, claims.caller, claims.called, claims.direction) == (
        "call-1",
        "14155550100",
        "+14155550199",
        "inbound",
    )
    assert claims.issued == round(claims.issued or 0.0, 2)
    assert 0 < claims.expires - (claims.issued or 0.0) - 60 <= 1


def test_the_token_names_the_process_that_prepared_the_call() -> None:
    runtime = make()
    assert runtime.process != make().process
    assert process_in(stream_url(reply(runtime)[1])) == runtime.process


def test_the_token_begins_with_the_servers_name() -> None:
    process = process_in(stream_url(reply(make(node="node1"))[1]))
    assert process is not None
    assert process.startswith("node1/")


def test_a_url_that_is_too_long_with_the_process_goes_without_it() -> None:
    def url_for(path: str) -> str:
        runtime = make(Route(Echo, path))
        # The token has the time, and 0.1 is shorter than 0.12.
        runtime.wall_clock = lambda: 1_750_000_000.25
        return stream_url(reply(runtime, path=path)[1])

    path = "/stream" + "x" * (2048 - len(url_for("/stream")))
    assert process_in(url_for(path)) is not None
    url = url_for(path + "x")
    assert len(url) <= 2048
    assert process_in(url) is None


def process_in(url: str) -> str | None:
    return unseal(parse_qs(urlsplit(url).query)["token"][0], SECRET, 0.0).process


def test_the_stream_url_it_gives_out_is_let_in() -> None:
    runtime = make(max_calls=1)
    _, response = reply(runtime)
    url = urlsplit(stream_url(response))
    accepted = examine(runtime, HandshakeRequest(url.path, url.query))
    assert isinstance(accepted, AcceptedStream)
    assert accepted.call_id == "call-1"


def test_a_call_is_sent_to_the_path_that_was_asked_for_with_its_parameters() -> None:
    runtime = make(Route(Echo, "/t/{tenant}"))
    url = urlsplit(stream_url(reply(runtime, path="/t/acme & son")[1]))
    assert url.path == "/t/acme%20%26%20son"
    accepted = examine(runtime, HandshakeRequest("/t/acme & son", url.query))
    assert isinstance(accepted, AcceptedStream)
    assert accepted.path_params == {"tenant": "acme & son"}
    assert reply(runtime)[0] == "rejected"


def test_the_format_is_the_one_that_is_set() -> None:
    _, response = reply(make(default_format="audio/x-l16;rate=16000"))
    assert response[0].attrib["contentType"] == "audio/x-l16;rate=16000"


def test_a_path_in_the_public_url_stays_before_the_streams() -> None:
    _, response = reply(make(), base_url="http://voice.example.com:8080/media")
    assert stream_url(response).startswith("ws://voice.example.com:8080/media/stream?")


def test_what_follows_the_stream_can_be_a_redirect() -> None:
    _, response = reply(make(on_end="https://voice.example.com/after?a=1&b=2"))
    assert tags(response) == ["Stream", "Redirect"]
    assert response[1].text == "https://voice.example.com/after?a=1&b=2"


def test_ampersands_are_escaped() -> None:
    runtime = make(on_end="https://voice.example.com/after?a=1&b=2")
    assert b"a=1&amp;b=2" in answer(runtime, AnswerRequest.parse(CALL), BASE).xml


def test_the_dialled_number_chooses_the_stream() -> None:
    runtime = make(Route(Echo, "/any"), Route(Echo, "/sales", number="+1 415 555 0199"))
    _, response = reply(runtime)
    assert urlsplit(stream_url(response)).path == "/sales"
    _, response = reply(runtime, To="999", CallUUID="call-2")
    assert urlsplit(stream_url(response)).path == "/any"


def test_a_path_that_is_asked_for_is_taken() -> None:
    runtime = make(Route(Echo, "/one"), Route(Echo, "/two"))
    _, response = reply(runtime, path="/two")
    assert urlsplit(stream_url(response)).path == "/two"


def test_a_number_without_a_handler_is_rejected() -> None:
    kind, response = reply(make(Route(Echo, number="+1999")))
    assert kind == "rejected"
    assert tags(response) == ["Hangup"]
    assert response[0].attrib == {"reason": "rejected"}


def test_a_full_server_says_so_to_the_caller() -> None:
    runtime = make(max_calls=1, busy_message="All busy & sorry.")
    reply(runtime)
    kind, response = reply(runtime, CallUUID="call-2")
    assert kind == "busy"
    assert tags(response) == ["Speak", "Hangup"]
    assert response[0].text == "All busy & sorry."
    assert response[1].attrib == {"reason": "busy"}


def test_a_retry_of_the_same_webhook_is_not_turned_away() -> None:
    runtime = make(max_calls=1)
    reply(runtime)
    assert reply(runtime)[0] == "stream"
    assert runtime.admission.reserved == 1


def test_without_a_message_the_caller_hears_a_busy_tone() -> None:
    runtime = make(max_calls=1, busy_message="")
    reply(runtime)
    assert tags(reply(runtime, CallUUID="call-2")[1]) == ["Hangup"]


def test_a_full_server_can_send_callers_elsewhere() -> None:
    runtime = make(max_calls=1, busy_redirect="https://other.example.com/answer")
    reply(runtime)
    _, response = reply(runtime, CallUUID="call-2")
    assert tags(response) == ["Redirect"]
    assert response[0].text == "https://other.example.com/answer"


def test_a_draining_server_is_busy() -> None:
    runtime = make()
    runtime.admission.close()
    assert reply(runtime)[0] == "busy"


def test_a_call_that_is_over_is_not_streamed_again() -> None:
    runtime = make()
    reply(runtime)
    runtime.answered.end("call-1")
    runtime.admission.cancel("call-1")
    kind, response = reply(runtime)
    assert (kind, tags(response)) == ("ended", [])
    assert runtime.admission.idle


def test_a_call_that_a_route_does_not_expect_is_hung_up() -> Any:
    runtime = make()
    asked: list[Any] = []

    def screen(route: Route, request: AnswerRequest) -> bool:
        asked.append((route.path, request.call_id))
        return False

    runtime.screens.append(screen)
    kind, response = reply(runtime)
    assert (kind, tags(response)) == ("rejected", ["Hangup"])
    assert asked == [("/stream", "call-1")]
    assert runtime.admission.idle


def test_a_redirected_call_is_streamed() -> None:
    assert reply(make(), Event="Redirect", CallStatus="in-progress")[0] == "stream"


def test_an_unknown_caller_is_no_reason_to_refuse() -> None:
    assert reply(make(), From=None, To=None)[0] == "stream"


def test_a_url_that_plivo_would_not_take_is_refused() -> None:
    runtime = make()
    with pytest.raises(AnswerError, match="Plivo accepts at most 2048"):
        reply(runtime, base_url="https://voice.example.com/" + "a" * 2_000)
    assert runtime.admission.idle


def test_status_callbacks_are_asked_for_where_they_are_wanted() -> None:
    _, response = reply(make(status_callbacks=True), base_url="https://voice.example.com/media")
    assert response[0].attrib["statusCallbackUrl"] == "https://voice.example.com/media/status"


def test_what_plivo_told_is_kept_for_the_handler() -> None:
    runtime = make()
    reply(runtime, ForwardedFrom="+14155550142")
    request = runtime.answered.request(Claims("call-1", None, None, 0))
    assert (request.direction, request.forwarded_from) == ("inbound", "+14155550142")


def test_a_call_that_gets_no_stream_is_not_kept() -> None:
    runtime = make(max_calls=1)
    reply(runtime)
    reply(runtime, CallUUID="call-2", ForwardedFrom="+14155550142")
    assert runtime.answered.request(Claims("call-2", None, None, 0)).forwarded_from is None


def stream_of(runtime: Runtime, **changes: Any) -> dict[str, str]:
    _, response = reply(runtime, **changes)
    return response[0].attrib


BOTH = {"bidirectional": False, "audio_track": "both"}


def test_every_attribute_of_a_stream_is_a_setting() -> None:
    runtime = make(
        **BOTH,
        stream_timeout=600,
        default_format="audio/x-l16;rate=16000",
        extra_headers="shop=7",
        keep_call_alive=False,
        on_end="https://example.com/next.xml",
        noise_cancellation=True,
        noise_cancellation_level=70,
        status_callback_url="https://example.com/events",
        status_callback_method="GET",
    )
    assert stream_of(runtime) == {
        "bidirectional": "false",
        "audioTrack": "both",
        "streamTimeout": "600",
        "contentType": "audio/x-l16;rate=16000",
        "extraHeaders": "shop=7",
        "keepCallAlive": "false",
        "noiseCancellation": "true",
        "noiseCancellationLevel": "70",
        "statusCallbackUrl": "https://example.com/events",
        "statusCallbackMethod": "GET",
    }
    assert stream_url(reply(runtime)[1]).startswith("wss://voice.example.com/stream?token=")


def test_a_route_has_its_own_attributes_over_those_of_the_server() -> None:
    options = StreamOptions(extra_headers={"shop": "8"}, on_end="https://example.com/b.xml")
    runtime = make(Route(Echo, stream=options), extra_headers="shop=7", noise_cancellation=True)
    assert stream_of(runtime)["extraHeaders"] == "shop=8"
    assert stream_of(runtime)["noiseCancellation"] == "true"
    assert reply(runtime)[1][1].text == "https://example.com/b.xml"


def test_a_level_without_noise_cancellation_is_left_out() -> None:
    assert "noiseCancellationLevel" not in stream_of(make(noise_cancellation_level=70))


def test_attributes_that_disagree_across_levels_are_refused_at_start() -> None:
    with pytest.raises(HandlerError, match=r"^the stream of Echo, at /stream: audio_track cannot"):
        make(Route(Echo, stream=StreamOptions(audio_track="both")))
    make(Route(Echo, stream=StreamOptions(audio_track="both")), bidirectional=False)


class Chooser(Handler):
    """Returns at the answer what its class says, after a while."""

    seconds = 0.0
    options: Any = None

    async def on_answer(self, answer: Any, shared: Any) -> Any:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return self.options


class PatientChooser(Chooser):
    async def on_answer(self, answer: Any, shared: Any) -> StreamOptions | None:
        return cast(StreamOptions | None, await super().on_answer(answer, shared))


def chosen(kind: type[Chooser], options: Any, seconds: float = 0.0) -> tuple[dict[str, str], float]:
    """Return the attributes of the stream, and how long the answer took."""
    handler = type("Agent", (kind,), {"options": options, "seconds": seconds})

    async def main() -> tuple[dict[str, str], float]:
        runtime = make(Route(handler))
        request = AnswerRequest.parse(CALL)
        given = await decided(runtime, request, answer(runtime, request, BASE))
        took = asyncio.get_running_loop().time()
        await runtime.prepared.close()
        return ElementTree.fromstring(given.xml)[0].attrib, took

    return run_virtual(main())


QUIET = StreamOptions(noise_cancellation=True)


def test_on_answer_says_how_its_call_is_streamed() -> None:
    attributes, took = chosen(Chooser, QUIET)
    assert (attributes["noiseCancellation"], took) == ("true", 0.0)


def test_the_answer_waits_for_a_hook_that_is_declared_to_say() -> None:
    attributes, took = chosen(PatientChooser, QUIET, 0.7)
    assert (attributes["noiseCancellation"], took) == ("true", pytest.approx(0.7))


def test_the_answer_waits_no_longer_than_its_limit() -> None:
    attributes, took = chosen(PatientChooser, QUIET, 60)
    assert ("noiseCancellation" not in attributes, took) == (True, pytest.approx(2.0))


def test_the_answer_waits_for_no_other_hook() -> None:
    attributes, took = chosen(Chooser, QUIET, 0.7)
    assert ("noiseCancellation" not in attributes, took) == (True, 0.0)


@pytest.mark.parametrize("options", [StreamOptions(audio_track="both"), "noise", None])
def test_what_a_hook_should_not_say_is_ignored(options: Any) -> None:
    attributes, _ = chosen(Chooser, options)
    assert attributes == {
        "bidirectional": "true",
        "keepCallAlive": "true",
        "contentType": "audio/x-mulaw;rate=8000",
    }


def test_a_route_that_is_full_is_busy_while_others_are_not() -> None:
    runtime = make(Route(Echo), Route(Echo, "/sales", max_calls=1))
    assert reply(runtime, path="/sales")[0] == "stream"
    assert reply(runtime, path="/sales")[0] == "stream", "Plivo may ask twice"
    assert reply(runtime, path="/sales", CallUUID="call-2")[0] == "busy"
    assert reply(runtime, CallUUID="call-3")[0] == "stream"


def test_the_limit_of_the_account_holds_without_a_fleet() -> None:
    runtime = Runtime(Settings(max_calls_account=1), Routes(Route(Echo)))
    assert reply(runtime)[0] == "stream"
    assert reply(runtime, CallUUID="call-2")[0] == "busy"


def test_a_stream_that_lives_keeps_its_place_when_its_call_is_answered_again() -> None:
    runtime = Runtime(Settings(max_calls=1), Routes(Route(Echo)))
    assert reply(runtime)[0] == "stream"
    slot = runtime.admission.admit("call-1")
    assert slot is not None
    accepted, session = SimpleNamespace(slot=slot), SimpleNamespace(ended=False)
    live = SimpleNamespace(call_id="call-1", accepted=accepted, session=session)
    cast(Any, runtime).calls = [live]
    assert reply(runtime)[0] == "busy"
    assert slot.is_held
    session.ended = True
    assert reply(runtime)[0] == "stream"
    assert not slot.is_held


class Limited:
    """A fleet that has one place for a call."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.settled: list[str] = []

    async def claim(self, call_id: str, route: str, route_limit: int | None) -> str | None:
        self.calls.append(call_id)
        return "account" if len(self.calls) > 1 else None

    def settle(self, call_id: str) -> None:
        self.settled.append(call_id)


async def claimed_kind(runtime: Runtime, **changes: Any) -> str:
    request = AnswerRequest.parse({**CALL, **changes})
    return (await claimed(runtime, request, BASE)).kind


async def test_a_call_is_answered_within_the_limits_of_the_fleet() -> None:
    runtime, fleet = make(), Limited()
    runtime.fleet = cast(Any, fleet)
    assert await claimed_kind(runtime) == "stream"
    assert await claimed_kind(runtime, CallUUID="call-2") == "busy"
    assert fleet.settled == ["call-1", "call-2"]
    assert runtime.admission.reserved == 1


async def test_the_fleet_is_not_asked_for_a_call_that_has_no_place_here() -> None:
    runtime, fleet = make(max_calls=1), Limited()
    runtime.fleet = cast(Any, fleet)
    assert reply(runtime)[0] == "stream"
    assert await claimed_kind(runtime, CallUUID="call-2") == "busy"
    assert fleet.calls == []


async def test_without_a_fleet_a_call_is_answered_at_once() -> None:
    assert await claimed_kind(make()) == "stream"
