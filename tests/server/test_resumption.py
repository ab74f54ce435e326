import asyncio
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from mediaserver.agents import Echo
from mediaserver.call import Turn
from mediaserver.handler import Handler
from mediaserver.plivo.callbacks import AnswerRequest, HangupRequest
from mediaserver.plivo.stream_options import StreamOptions
from mediaserver.routes import Route
from mediaserver.server.answer import AnswerError, WebhookReply, answer, decided
from mediaserver.server.elsewhere import MoveTo, elsewhere
from mediaserver.server.kept_streams import KeptStream
from mediaserver.server.resumption import GONE, SHORTEST_RESUMED, resume
from mediaserver.server.runtime import Runtime
from mediaserver.server.trust.tokens import unseal_resume
from mediaserver.stream import Stream
from tests.server.test_server_call import CALL_ID, Link, Stubborn, enter, leave, listen


BASE = "https://voice.example.com"
SECRET = "sixteen letters and more"
NOW = 1_800_000_000.0
FORM = {"CallUUID": CALL_ID, "From": "+14155550100", "To": "+14155550199"}
REQUEST = AnswerRequest.parse(FORM)


@pytest.fixture
def make(start_runtime: Callable[..., Any]) -> Callable[..., Any]:
    """Start runtimes that resume calls: ``await make(handler, **settings)``."""

    async def make(handler: Any = Echo, **settings: Any) -> Runtime:
        runtime: Runtime = await start_runtime(
            Route(handler), **{"resume_calls": 2, "secret": SECRET, **settings}
        )
        runtime.wall_clock = lambda: NOW + asyncio.get_running_loop().time()
        return runtime

    return make


def parts(reply: WebhookReply) -> list[tuple[str, str | None]]:
    response = ElementTree.fromstring(reply.xml)
    return [(element.tag, element.text) for element in response]


def resume_token(reply: WebhookReply) -> str:
    """Return the token of the redirect after the stream."""
    redirect: Element = ElementTree.fromstring(reply.xml)[1]
    assert redirect.tag == "Redirect"
    assert redirect.text is not None
    url = urlsplit(redirect.text)
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{BASE}/resume"
    return parse_qs(url.query)["resume"][0]


def stream_query(reply: WebhookReply) -> str:
    """Return the query of the stream's URL."""
    url = ElementTree.fromstring(reply.xml)[0].text
    assert url is not None
    return urlsplit(url).query


def answered(runtime: Runtime) -> str:
    return resume_token(answer(runtime, REQUEST, BASE))


def streamed(runtime: Runtime) -> Link:
    """Begin the stream of the call."""
    return enter(runtime)


async def resumed(runtime: Runtime, token: str) -> WebhookReply:
    return await resume(runtime, REQUEST, BASE, token)


async def test_without_the_setting_a_call_is_not_redirected(make: Callable[..., Any]) -> None:
    runtime = await make(resume_calls=0)
    assert parts(answer(runtime, REQUEST, BASE))[1] == ("Hangup", None)


async def test_a_call_that_goes_on_beside_its_stream_is_not_redirected(
    make: Callable[..., Any],
) -> None:
    runtime = await make()
    reply = answer(runtime, REQUEST, BASE)
    assert reply.streamed is not None
    beside = StreamOptions(keep_call_alive=False, on_end="https://example.com/dial")
    xml = ElementTree.fromstring(reply.streamed(beside))
    assert (xml[1].tag, xml[1].text) == ("Redirect", "https://example.com/dial")


async def test_a_redirect_is_served_by_the_process_that_had_the_call(
    make: Callable[..., Any],
) -> None:
    runtime = await make()
    redirect = parts(answer(runtime, REQUEST, BASE))[1][1]
    place = elsewhere(
        urlsplit(redirect or "").query, own="other", reaches=bool, secret=SECRET, now=NOW
    )
    assert place == MoveTo(runtime.process)


async def test_a_call_whose_process_is_gone_gets_a_stream_and_its_handler_is_told(
    make: Callable[..., Any],
) -> None:
    seen: list[Stream] = []

    async def keep(stream: Stream) -> None:
        seen.append(stream)
        await listen(stream)

    token = answered(await make())
    heir = await make(keep)
    await asyncio.sleep(2)
    reply = await resumed(heir, token)
    assert (reply.kind, [tag for tag, _ in parts(reply)]) == ("resumed", ["Stream", "Redirect"])
    claims = unseal_resume(resume_token(reply), SECRET, NOW)
    assert (claims.resumed, claims.process) == (1, heir.process)
    streamed(heir)
    await asyncio.sleep(0)
    previous = seen[0].previous
    assert previous is not None
    assert (previous.call_id, previous.end_reason) == (CALL_ID, GONE)
    assert (previous.caller, previous.called) == ("+14155550100", "+14155550199")
    assert previous.started_at.timestamp() == pytest.approx(NOW, abs=0.1)
    assert previous.seconds == pytest.approx(2)


class Fleet:
    """Knows one stream."""

    def __init__(self, kept: KeptStream | None) -> None:
        self._kept = kept

    async def last_stream(self, call_id: str, process: str) -> KeptStream | None:
        return self._kept

    async def claim(self, call_id: str, route: str, route_limit: int | None) -> None:
        pass

    def settle(self, call_id: str) -> None:
        pass


async def test_what_the_fleet_has_kept_of_a_stream_is_told(make: Callable[..., Any]) -> None:
    token, heir = answered(await make()), await make()
    turn = Turn(number=1, caller="A car?", agent="It comes.")
    heir.fleet = cast(Any, Fleet(KeptStream("stream-1", (turn,))))
    assert (await resumed(heir, token)).kind == "resumed"
    previous = heir.lost_streams.previous(CALL_ID)
    assert previous is not None
    assert (previous.stream_id, previous.turns) == ("stream-1", (turn,))


async def test_a_call_that_the_fleet_knows_to_have_ended_as_it_should_hangs_up(
    make: Callable[..., Any],
) -> None:
    token, heir = answered(await make()), await make()
    heir.fleet = cast(Any, Fleet(KeptStream("stream-1", wanted=True)))
    assert parts(await resumed(heir, token)) == [("Hangup", None)]


async def test_the_handler_of_a_resumed_call_is_prepared(make: Callable[..., Any]) -> None:
    prepared: list[str] = []

    class Ready(Handler):
        async def on_answer(self, answer: AnswerRequest, shared: Any) -> StreamOptions:
            prepared.append(answer.call_id)
            return StreamOptions(stream_timeout=60)

    token = answered(await make())
    reply = await resumed(await make(Ready), token)
    assert prepared == [CALL_ID]
    assert ElementTree.fromstring(reply.xml)[0].attrib["streamTimeout"] == "60"


async def test_a_stream_that_this_process_lost_is_resumed(make: Callable[..., Any]) -> None:
    runtime = await make(listen)
    token = answered(runtime)
    link = streamed(runtime)
    link.call.lost("the connection was lost")
    await asyncio.sleep(1)
    assert not runtime.calls
    assert (await resumed(runtime, token)).kind == "resumed"


async def test_a_stream_that_is_still_waited_for_is_given_up_and_resumed(
    make: Callable[..., Any],
) -> None:
    runtime = await make(listen, reconnect_seconds=5)
    token = answered(runtime)
    link = streamed(runtime)
    await asyncio.sleep(1)
    link.call.lost("the connection was lost")
    assert (await resumed(runtime, token)).kind == "resumed"
    await asyncio.sleep(0)
    assert not runtime.calls
    previous = runtime.lost_streams.previous(CALL_ID)
    assert previous is not None
    assert previous.seconds == pytest.approx(1)


@pytest.mark.parametrize("limit", [{"max_calls": 1}, {"max_calls_route": "/stream=1"}])
async def test_a_lost_call_whose_handler_still_runs_finds_its_own_place(
    make: Callable[..., Any], limit: dict[str, Any]
) -> None:
    handler = Stubborn()
    runtime = await make(handler, reconnect_seconds=5, **limit)
    first = answer(runtime, REQUEST, BASE)
    enter(runtime, query=stream_query(first)).call.lost("the connection was lost")
    again = await resumed(runtime, resume_token(first))
    assert again.kind == "resumed"
    other = AnswerRequest.parse({**FORM, "CallUUID": "call-2"})
    assert answer(runtime, other, BASE).kind == "busy", "the call has one place"
    link = enter(runtime, query=stream_query(again))
    assert (link.call.state, len(runtime.calls), runtime.admission.active) == ("live", 2, 1)
    assert answer(runtime, other, BASE).kind == "busy"
    handler.go.set()
    await asyncio.sleep(0)
    link.call.lost("the connection was lost")
    link.call.break_off()
    await asyncio.sleep(0)
    assert answer(runtime, other, BASE).kind == "stream"


async def test_a_stream_whose_connection_seems_to_live_is_dropped_and_resumed(
    make: Callable[..., Any],
) -> None:
    runtime = await make(listen)
    token = answered(runtime)
    link = streamed(runtime)
    assert (await resumed(runtime, token)).kind == "resumed"
    assert link.aborted


async def test_an_end_of_the_stream_that_arrives_after_the_request_counts(
    make: Callable[..., Any],
) -> None:
    runtime = await make(listen)
    token = answered(runtime)
    link = streamed(runtime)
    reply = asyncio.create_task(resumed(runtime, token))
    await asyncio.sleep(0.1)
    link.call.closing("the stream was stopped")
    assert parts(await reply) == [("Hangup", None)]


async def test_a_call_whose_handler_returned_hangs_up(make: Callable[..., Any]) -> None:
    runtime = await make(leave)
    token = answered(runtime)
    link = streamed(runtime)
    await asyncio.sleep(0.01)
    while_closing = await resumed(runtime, token)
    link.call.lost("")
    after = await resumed(runtime, token)
    for reply in (while_closing, after):
        assert (reply.kind, parts(reply)) == ("finished", [("Hangup", None)])


async def test_a_call_that_ended_as_it_should_goes_on_at_the_url_of_its_handler(
    make: Callable[..., Any],
) -> None:
    class Sends(Handler):
        async def on_answer(self, answer: AnswerRequest, shared: Any) -> StreamOptions:
            return StreamOptions(on_end="https://example.com/next?a=1&b=2")

    runtime = await make(Sends)
    reply = await decided(runtime, REQUEST, answer(runtime, REQUEST, BASE))
    ended = await resumed(runtime, resume_token(reply))
    assert parts(ended) == [("Redirect", "https://example.com/next?a=1&b=2")]


async def test_a_resumed_call_whose_handler_returns_hangs_up(make: Callable[..., Any]) -> None:
    runtime = await make(leave)
    token = answered(await make())
    again = resume_token(await resumed(runtime, token))
    link = streamed(runtime)
    await asyncio.sleep(SHORTEST_RESUMED + 1)
    link.call.lost("")
    assert parts(await resumed(runtime, again)) == [("Hangup", None)]


async def test_a_call_is_resumed_so_many_times_and_then_hears_the_busy_message(
    make: Callable[..., Any],
) -> None:
    token = answered(await make())
    kinds = []
    for _ in range(3):
        reply = await resumed(await make(), token)
        kinds.append(reply.kind)
        if reply.kind == "resumed":
            token = resume_token(reply)
        await asyncio.sleep(SHORTEST_RESUMED)
    assert kinds == ["resumed", "resumed", "busy"]
    assert [tag for tag, _ in parts(reply)] == ["Speak", "Hangup"]


async def test_a_call_that_is_lost_again_at_once_is_not_resumed_again(
    make: Callable[..., Any],
) -> None:
    token = resume_token(await resumed(await make(), answered(await make())))
    await asyncio.sleep(SHORTEST_RESUMED - 1)
    assert (await resumed(await make(), token)).kind == "busy"


async def test_a_request_that_plivo_repeats_gets_a_stream_again(make: Callable[..., Any]) -> None:
    token = answered(await make())
    heir = await make()
    assert [(await resumed(heir, token)).kind for _ in range(2)] == ["resumed", "resumed"]
    assert heir.admission.reserved == 1


async def test_a_full_server_tells_a_caller_that_it_is_busy(make: Callable[..., Any]) -> None:
    token = answered(await make())
    heir = await make(max_calls=1)
    answer(heir, AnswerRequest.parse({**FORM, "CallUUID": "another"}), BASE)
    assert (await resumed(heir, token)).kind == "busy"


async def test_a_call_that_is_over_gets_nothing(make: Callable[..., Any]) -> None:
    token = answered(await make())
    heir = await make()
    heir.told(HangupRequest.parse(FORM))
    assert (await resumed(heir, token)).kind == "ended"


async def test_a_token_that_is_not_valid_or_another_calls_is_refused(
    make: Callable[..., Any],
) -> None:
    runtime = await make()
    token = answered(runtime)
    with pytest.raises(AnswerError, match="the token of /resume is invalid: not a token"):
        await resumed(runtime, "x")
    stream_url = parts(answer(runtime, REQUEST, BASE))[0][1] or ""
    with pytest.raises(AnswerError, match="not in a form"):
        await resumed(runtime, parse_qs(urlsplit(stream_url).query)["token"][0])
    with pytest.raises(AnswerError, match="another call's"):
        await resume(runtime, AnswerRequest.parse({**FORM, "CallUUID": "x"}), BASE, token)
