"""Calling people, against a carrier that does what each test says, in virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

import httpx
import pytest
from httpx import Request, Response
from pydantic import ValidationError

from audiocodecs import MULAW_8K
from mediaserver.agents import Echo
from mediaserver.call import StreamEndedError
from mediaserver.handler import Handler, HandlerError
from mediaserver.plivo import (
    AuthenticationError,
    CallRequest,
    InvalidRequestError,
    UnexpectedResponseError,
    errors,
)
from mediaserver.plivo.callbacks import AnswerRequest, parse_callback
from mediaserver.plivo.client import PlivoClient
from mediaserver.protocol import Start, encode_event
from mediaserver.routes import Route, Routes
from mediaserver.server.accepting import examine
from mediaserver.server.answer import WebhookReply, answer
from mediaserver.server.handshake import AcceptedStream, HandshakeRequest
from mediaserver.server.outbound.dialler import (
    END_UNKNOWN,
    GIVE_UP_SECONDS,
    OUTBOUND_PATH,
    DialError,
    Dialler,
)
from mediaserver.server.outbound.outcome import Outcome
from mediaserver.server.runtime import Runtime
from mediaserver.server.server_call import ServerCall
from mediaserver.settings import Settings
from mediaserver.stream import Stream
from tests.server.test_server_call import CALL_ID, STREAM_ID, Link


FROM, TO = "+14155550100", "+14155550199"
SERVER = "https://voice.example.com"


@dataclass
class FakeStream:
    call_id: str
    ended: bool = False


@dataclass
class Carrier:
    """Plivo, as far as a dialler sees it: each call is told by `script`."""

    script: Callable[[Any], Coroutine[Any, Any, None]] | None = None
    placed: list[Any] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    refusals: list[Any] = field(default_factory=list)
    live: set[str] = field(default_factory=set)
    records: dict[str, Any] = field(default_factory=dict)
    dialler: Any = None
    runtime: Any = None
    tasks: list[Any] = field(default_factory=list)

    def __call__(self, request: Request) -> Response:
        path = request.url.path.removeprefix("/v1/Account/MA1/")
        self.asked.append(f"{request.method} {path}")
        if request.method == "POST" and path == "Call/":
            return self._place(json.loads(request.content))
        call_id = path.split("/")[1]
        if request.method == "DELETE":
            known = call_id in self.live
            self.live.discard(call_id)
            return httpx.Response(204 if known else 404)
        if request.url.params.get("status") == "live":
            found = call_id in self.live
            return httpx.Response(200 if found else 404, json={"call_uuid": call_id})
        record = self.records.get(call_id)
        return httpx.Response(200 if record else 404, json=record or {})

    def _place(self, body: dict[str, int | str] | dict[str, str]) -> Response:
        self.placed.append((asyncio.get_running_loop().time(), body))
        refusal = self.refusals.pop(0) if self.refusals else None
        if isinstance(refusal, httpx.Response):
            return refusal
        call = PlacedCall(self, f"call-{len(self.placed)}", body)
        self.live.add(call.id)
        if self.script is not None:
            self.tasks.append(asyncio.ensure_future(self.script(call)))
        if refusal is not None:
            raise refusal
        return httpx.Response(201, json={"message": "call fired", "request_uuid": call.id})


@dataclass
class PlacedCall:
    carrier: Carrier
    id: str
    body: dict[str, Any]

    def tell(self, url: str, **fields: Any) -> WebhookReply | None:
        """Send a webhook, as the server's endpoints take it."""
        query = dict(parse_qsl(urlsplit(self.body[url]).query))
        form = {"CallUUID": self.id, "From": FROM, "To": self.body["to"], "Direction": "outbound"}
        path = query.pop("path", None)
        callback = parse_callback({**query, **form, **fields})
        reply = None
        if isinstance(callback, AnswerRequest):
            reply = answer(self.carrier.runtime, callback, SERVER, path)
        self.carrier.runtime.told(callback)
        return reply

    async def answered(self, **fields: Any) -> None:
        """Answer, and stream for as long as the handler wants."""
        reply = self.tell("answer_url", Event="StartApp", CallStatus="in-progress", **fields)
        assert reply is not None
        if reply.kind == "stream":
            await self.carrier.dialler(FakeStream(self.id))

    def hang_up(self, code: int, status: str = "completed", **fields: Any) -> None:
        self.carrier.live.discard(self.id)
        self.tell(
            "hangup_url", Event="Hangup", HangupCauseCode=str(code), CallStatus=status, **fields
        )


@pytest.fixture
async def carrier_of() -> AsyncIterator[Any]:
    """Make a carrier and a dialler on a started runtime: ``carrier_of(script, …)``."""
    opened = []

    async def make(
        script: Any = None,
        handler: Callable[..., Any] | type[Any] | None = Echo,
        dialler: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Carrier:
        carrier = Carrier(script)
        client = PlivoClient("MA1", "token", transport=httpx.MockTransport(carrier))
        carrier.dialler = Dialler(client, handler, **(dialler or {}))
        carrier.runtime = Runtime(
            Settings(**{"public_url": SERVER, **settings}),
            Routes(Route(Echo), Route(carrier.dialler, OUTBOUND_PATH)),
            clock=asyncio.get_running_loop().time,
        )
        await carrier.runtime.startup()
        carrier.dialler.attach(carrier.runtime)
        opened.append((carrier, client))
        return carrier

    yield make
    for carrier, client in opened:
        await asyncio.gather(*carrier.tasks, return_exceptions=True)
        await carrier.runtime.shutdown()
        await client.aclose()


async def talk(stream: FakeStream) -> None:
    """A handler that takes five seconds."""
    await asyncio.sleep(5)


async def good_call(call: PlacedCall) -> None:
    await asyncio.sleep(2)
    call.tell("ring_url", Event="Ring", CallStatus="ringing")
    await asyncio.sleep(4)
    await call.answered()
    call.hang_up(4000, HangupCauseName="Normal Hangup", HangupSource="API Request", Duration="5",
                 BillDuration="60", TotalCost="0.003")  # fmt: skip


async def test_an_answered_call_runs_the_handler_and_is_reported(
    carrier_of: Callable[..., Any],
) -> None:
    carrier = await carrier_of(good_call, talk)
    report = await carrier.dialler.dial(TO, FROM)
    assert report.outcome is Outcome.ANSWERED
    assert report.ok
    assert report.rang
    assert report.seconds_to_answer == 6
    assert (report.call_id, report.cause, report.cause_code) == ("call-1", "Normal Hangup", 4000)
    assert (report.duration, report.bill_duration, report.total_cost) == (5, 60, "0.003")
    assert report.handler_error is None


async def test_plivo_is_told_where_to_ask_and_to_report(carrier_of: Callable[..., Any]) -> None:
    carrier = await carrier_of(good_call, talk)
    await carrier.dialler.dial(TO, FROM, ring_seconds=30, longest_seconds=600, caller_name="Ann")
    ((_, body),) = carrier.placed
    key = dict(parse_qsl(urlsplit(body["hangup_url"]).query))["dial"]
    own = f"dial={key}&process={carrier.runtime.process}"
    assert body == {
        "from": FROM,
        "to": TO,
        "answer_url": f"{SERVER}/answer?path=/outbound&{own}",
        "fallback_url": f"{SERVER}/fallback?path=/outbound&{own}",
        "hangup_url": f"{SERVER}/hangup?{own}",
        "ring_url": f"{SERVER}/status?{own}",
        "ring_timeout": 30,
        "time_limit": 600,
        "caller_name": "Ann",
    }


@pytest.mark.parametrize(
    ("code", "status", "outcome"),
    [
        (3010, "busy", Outcome.BUSY),
        (3020, "busy", Outcome.BUSY),
        (3000, "no-answer", Outcome.NO_ANSWER),
        (6010, "no-answer", Outcome.NO_ANSWER),
        (2000, "failed", Outcome.FAILED),
        (5030, "failed", Outcome.FAILED),
        (1000, "cancel", Outcome.CANCELLED),
    ],
)
async def test_a_call_that_nobody_answers_says_why(
    carrier_of: Callable[..., Any], code: int, status: str, outcome: Outcome
) -> None:
    async def script(call: PlacedCall) -> None:
        await asyncio.sleep(3)
        call.hang_up(code, status, HangupCauseName="why")

    carrier = await carrier_of(script)
    report = await carrier.dialler.dial(TO, FROM)
    assert report.outcome is outcome
    assert (report.cause, report.cause_code) == ("why", code)
    assert not report.handled
    assert not report.ok
    assert report.seconds_to_answer is None


async def test_each_call_may_have_a_handler_of_its_own(carrier_of: Callable[..., Any]) -> None:
    ran = []

    async def own(stream: FakeStream) -> None:
        ran.append(stream.call_id)

    carrier = await carrier_of(good_call, talk)
    await carrier.dialler.dial(TO, FROM, own)
    assert ran == ["call-1"]


async def test_a_handler_has_the_settings_of_the_dialler_and_of_the_call(
    carrier_of: Callable[..., Any],
) -> None:
    ran = []

    async def greet(stream: FakeStream, greeting: str = "", reason: str = "") -> None:
        ran.append((greeting, reason))

    async def own(stream: FakeStream, reason: str = "") -> None:
        ran.append(("own", reason))

    carrier = await carrier_of(good_call, greet, {"settings": {"greeting": "Hi", "reason": "?"}})
    await carrier.dialler.dial(TO, FROM, settings={"reason": "a trial"})
    await carrier.dialler.dial(TO, FROM, own, settings={"reason": "a demo"})
    assert ran == [("Hi", "a trial"), ("own", "a demo")]


class Strict(Handler):
    def __init__(self, reason: str) -> None:
        if not reason:
            raise ValueError("there must be a reason")


@pytest.mark.parametrize(
    ("settings", "text"), [({"rason": "a trial"}, "rason"), ({"reason": ""}, "must be a reason")]
)
async def test_nobody_is_called_with_settings_that_the_handler_does_not_take(
    carrier_of: Callable[..., Any], settings: dict[str, Any], text: str
) -> None:
    carrier = await carrier_of(good_call, None)
    with pytest.raises(HandlerError, match=text):
        await carrier.dialler.dial(TO, FROM, Strict, settings=settings)
    assert carrier.placed == []


async def test_a_handler_that_fails_is_reported(carrier_of: Callable[..., Any]) -> None:
    async def handler(stream: FakeStream) -> None:
        raise LookupError("no such order")

    async def script(call: PlacedCall) -> None:
        with pytest.raises(LookupError):
            await call.answered()
        call.hang_up(4010)

    carrier = await carrier_of(script, handler)
    report = await carrier.dialler.dial(TO, FROM)
    assert report.outcome is Outcome.ANSWERED
    assert report.handler_error == "LookupError: no such order"
    assert not report.ok


@pytest.mark.parametrize(
    "error",
    [StreamEndedError("over"), ExceptionGroup("tasks", [StreamEndedError("over")])],
    ids=["alone", "group"],
)
async def test_a_person_who_hangs_up_is_no_failure_of_the_handler(
    carrier_of: Callable[..., Any], error: ExceptionGroup | StreamEndedError
) -> None:
    async def handler(stream: FakeStream) -> None:
        raise error

    async def script(call: PlacedCall) -> None:
        with pytest.raises(type(error)):
            await call.answered()
        call.hang_up(4000)

    carrier = await carrier_of(script, handler)
    assert (await carrier.dialler.dial(TO, FROM)).ok


@pytest.mark.parametrize("half_open", [False, True])
async def test_a_call_whose_stream_was_taken_up_again_is_reported_once_and_as_answered(
    carrier_of: Callable[..., Any], half_open: bool
) -> None:
    heard: list[str] = []

    async def handler(stream: Stream) -> None:
        heard.extend([type(event).__name__ async for event in stream.controls()])

    async def script(call: PlacedCall) -> None:
        call.id = CALL_ID
        reply = call.tell("answer_url", Event="StartApp", CallStatus="in-progress")
        assert reply is not None
        assert reply.kind == "stream"
        url = urlsplit(ElementTree.fromstring(reply.xml).findtext("Stream") or "")
        start = encode_event(
            Start(call.id, STREAM_ID, "MA", ("inbound",), MULAW_8K, sequence_number=1)
        )
        links = []
        for _ in range(2):
            links.append(link := Link())
            accepted = examine(call.carrier.runtime, HandshakeRequest(url.path, url.query))
            assert isinstance(accepted, AcceptedStream), accepted
            link.call = ServerCall(call.carrier.runtime, link, accepted)
            link.bring(start)
            await asyncio.sleep(2)
            if link is links[0] and not half_open:
                link.call.lost("reset")
        assert links[0].call is links[1].call
        links[1].call.closing("Plivo closed the socket (1000)")
        links[1].call.lost("gone")
        await asyncio.sleep(1)
        call.hang_up(4000, HangupCauseName="Normal Hangup", Duration="5")

    carrier = await carrier_of(script, handler)
    async with asyncio.timeout(60):
        report = await carrier.dialler.dial(TO, FROM)
    assert (report.outcome, report.ok, report.handler_error) == (Outcome.ANSWERED, True, None)
    assert heard == ["Reconnected"]
    assert not carrier.runtime.calls
    assert carrier.runtime.admission.idle


async def test_a_report_waits_for_the_handler_to_finish(carrier_of: Callable[..., Any]) -> None:
    async def script(call: PlacedCall) -> None:
        talking = asyncio.create_task(call.answered())
        await asyncio.sleep(1)
        call.hang_up(4000)
        await talking

    async def handler(stream: FakeStream) -> None:
        await asyncio.sleep(3)
        raise ValueError("could not save the notes")

    carrier = await carrier_of(script, handler)
    report = await carrier.dialler.dial(TO, FROM)
    assert report.handler_error == "ValueError: could not save the notes"


async def test_webhooks_may_come_before_the_answer_to_the_request(
    carrier_of: Callable[..., Any],
) -> None:
    def script(call: PlacedCall) -> Coroutine[Any, Any, Any]:
        call.tell("ring_url", Event="Ring")
        call.hang_up(3010, "busy")
        return asyncio.sleep(0)

    carrier = await carrier_of(script)
    assert (await carrier.dialler.dial(TO, FROM)).outcome is Outcome.BUSY


async def test_a_call_is_known_by_its_ids_when_a_url_has_lost_its_query(
    carrier_of: Callable[..., Any],
) -> None:
    async def script(call: PlacedCall) -> None:
        await asyncio.sleep(1)
        call.body["hangup_url"] = f"{SERVER}/hangup"
        call.hang_up(3010)

    carrier = await carrier_of(script)
    assert (await carrier.dialler.dial(TO, FROM)).outcome is Outcome.BUSY


# Machines


async def test_a_machine_is_hung_up_on(carrier_of: Callable[..., Any]) -> None:
    async def script(call: PlacedCall) -> None:
        assert call.body["machine_detection"] == "hangup"
        assert call.body["machine_detection_url"] == call.body["ring_url"]
        talking = asyncio.create_task(call.answered())
        await asyncio.sleep(2)
        call.tell("machine_detection_url", Event="MachineDetection", Machine="true")
        call.hang_up(9100, HangupCauseName="Machine Detected")
        await talking

    carrier = await carrier_of(script, talk)
    report = await carrier.dialler.dial(TO, FROM, machine="hangup")
    assert report.outcome is Outcome.MACHINE
    assert report.machine is True


@pytest.mark.parametrize("machine", [True, False])
async def test_a_handler_may_run_on_a_machine_and_the_report_says_so(
    carrier_of: Callable[..., Any], machine: bool
) -> None:
    async def script(call: PlacedCall) -> None:
        assert call.body["machine_detection"] == "true"
        talking = asyncio.create_task(call.answered())
        await asyncio.sleep(2)
        text = str(machine).lower()
        call.tell("machine_detection_url", Event="MachineDetection", Machine=text)
        await talking
        call.hang_up(4000)

    carrier = await carrier_of(script, talk)
    report = await carrier.dialler.dial(TO, FROM, machine="detect")
    assert report.outcome is (Outcome.MACHINE if machine else Outcome.ANSWERED)
    assert report.machine is machine
    assert report.ok


async def test_whether_it_is_a_machine_is_not_asked_by_default(
    carrier_of: Callable[..., Any],
) -> None:
    carrier = await carrier_of(good_call, talk)
    report = await carrier.dialler.dial(TO, FROM)
    assert "machine_detection" not in carrier.placed[0][1]
    assert report.machine is None


# Pace and room


async def test_calls_are_placed_no_faster_than_the_account_may(
    carrier_of: Callable[..., Any],
) -> None:
    async def script(call: PlacedCall) -> None:
        call.hang_up(3010)

    carrier = await carrier_of(script, dialler={"calls_per_second": 2})
    numbers = [f"+1415555{n:04}" for n in range(200, 207)]
    await asyncio.gather(*(carrier.dialler.dial(number, FROM) for number in numbers))
    times = [at - carrier.placed[0][0] for at, _ in carrier.placed]
    assert times == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3])


async def test_a_call_that_came_too_soon_is_placed_later(carrier_of: Callable[..., Any]) -> None:
    carrier = await carrier_of(good_call, talk)
    carrier.refusals = [
        httpx.Response(429, json={"error": "slow down"}, headers={"retry-after": "7"})
    ]
    report = await carrier.dialler.dial(TO, FROM)
    first, second = (at for at, _ in carrier.placed)
    assert second - first >= 7
    assert report.ok


async def test_a_429_slows_down_the_other_calls_too(carrier_of: Callable[..., Any]) -> None:
    carrier = await carrier_of(good_call, talk)
    carrier.refusals = [httpx.Response(429, headers={"retry-after": "7"})]
    await asyncio.gather(*(carrier.dialler.dial(f"+1415555020{n}", FROM) for n in range(3)))
    times = [at - carrier.placed[0][0] for at, _ in carrier.placed]
    assert len(times) == 4
    assert min(times[1:]) >= 7


async def test_a_call_waits_until_the_account_has_room(carrier_of: Callable[..., Any]) -> None:
    carrier = await carrier_of(good_call, talk)
    refusal = {"api_id": "a-1", "error": "concurrent call limit reached (5030)"}
    carrier.refusals = [httpx.Response(403, json=refusal) for _ in range(3)]
    assert (await carrier.dialler.dial(TO, FROM)).ok
    assert len(carrier.placed) == 4


async def test_an_account_without_room_is_an_error_in_the_end(
    carrier_of: Callable[..., Any],
) -> None:
    carrier = await carrier_of(dialler={"patience": 20})
    carrier.refusals = [httpx.Response(403, json={"error": "5030"}) for _ in range(50)]
    with pytest.raises(errors.ConcurrencyLimitError):
        await carrier.dialler.dial(TO, FROM)
    assert carrier.placed[-1][0] - carrier.placed[0][0] <= 20


async def test_nobody_is_called_for_whom_this_server_has_no_place(
    carrier_of: Callable[..., Any],
) -> None:
    async def script(call: PlacedCall) -> None:
        await asyncio.sleep(10)
        await call.answered()
        call.hang_up(4000)

    carrier = await carrier_of(script, talk, max_calls=1)
    reports = await asyncio.gather(*(carrier.dialler.dial(f"+1415555020{n}", FROM) for n in (0, 1)))
    first, second = (at for at, _ in carrier.placed)
    assert all(report.ok for report in reports)
    assert second - first >= 10


async def test_a_place_is_taken_while_the_request_is_on_its_way(
    carrier_of: Callable[..., Any],
) -> None:
    async def script(call: PlacedCall) -> None:
        call.hang_up(3010)

    carrier = await carrier_of(script, max_calls=1)
    create = carrier.dialler._client.calls.create

    async def slow_create(request: CallRequest) -> Any:
        await asyncio.sleep(20)
        return await create(request)

    carrier.dialler._client.calls.create = slow_create
    await asyncio.gather(*(carrier.dialler.dial(f"+1415555020{n}", FROM) for n in (0, 1)))
    first, second = (at for at, _ in carrier.placed)
    assert second - first >= 20


async def test_a_server_without_room_is_an_error_in_the_end(carrier_of: Callable[..., Any]) -> None:
    carrier = await carrier_of(dialler={"patience": 5}, max_calls=1)
    assert carrier.runtime.admission.admit() is not None
    with pytest.raises(DialError, match="max_calls is 1"):
        await carrier.dialler.dial(TO, FROM)
    assert carrier.placed == []


# What goes wrong


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequestError),
        (401, errors.AuthenticationError),
        (402, errors.UnexpectedResponseError),
        (413, errors.UnexpectedResponseError),
        (415, errors.UnexpectedResponseError),
    ],
)
async def test_a_refused_call_is_an_error_at_once(
    carrier_of: Callable[..., Any],
    status: int,
    kind: type[AuthenticationError] | type[InvalidRequestError] | type[UnexpectedResponseError],
) -> None:
    carrier = await carrier_of()
    carrier.refusals = [httpx.Response(status, json={"error": "no"})]
    begun = asyncio.get_running_loop().time()
    with pytest.raises(kind):
        await carrier.dialler.dial(TO, FROM)
    assert len(carrier.placed) == 1
    assert asyncio.get_running_loop().time() - begun < 1


async def test_a_call_whose_request_had_no_answer_goes_on_if_plivo_tells_of_it(
    carrier_of: Callable[..., Any],
) -> None:
    carrier = await carrier_of(good_call, talk)
    carrier.refusals = [httpx.ReadTimeout("slow")]
    report = await carrier.dialler.dial(TO, FROM)
    assert report.ok
    assert len(carrier.placed) == 1


async def test_a_call_whose_request_had_no_answer_and_of_which_nothing_is_told_is_an_error(
    carrier_of: Callable[..., Any],
) -> None:
    carrier = await carrier_of()
    carrier.refusals = [httpx.ReadTimeout("slow")]
    with pytest.raises(errors.PlivoUnreachableError):
        await carrier.dialler.dial(TO, FROM)
    assert len(carrier.placed) == 1


async def test_a_call_that_never_left_is_an_error_at_once(carrier_of: Callable[..., Any]) -> None:
    carrier = await carrier_of()
    carrier.refusals = [httpx.Response(500)]
    begun = asyncio.get_running_loop().time()

    async def unreachable(request: CallRequest) -> None:
        raise errors.PlivoUnreachableError("refused", may_have_arrived=False)

    carrier.dialler._client.calls.create = unreachable
    with pytest.raises(errors.PlivoUnreachableError):
        await carrier.dialler.dial(TO, FROM)
    assert asyncio.get_running_loop().time() - begun < 1


async def test_plivo_may_be_out_of_reach_while_a_call_rings(carrier_of: Callable[..., Any]) -> None:
    async def script(call: PlacedCall) -> None:
        await asyncio.sleep(100)
        call.hang_up(3000)

    async def out_of_reach(call_id: str) -> None:
        raise errors.ServerError("down", status=503)

    carrier = await carrier_of(script)
    carrier.dialler._client.calls.live = out_of_reach
    assert (await carrier.dialler.dial(TO, FROM)).outcome is Outcome.NO_ANSWER


async def test_a_call_of_which_nothing_can_be_learned_is_not_waited_for_for_ever(
    carrier_of: Callable[..., Any],
) -> None:
    async def script(call: PlacedCall) -> None:
        await call.answered()

    async def out_of_reach(call_id: str) -> None:
        raise errors.ServerError("down", status=503)

    carrier = await carrier_of(script, talk)
    carrier.dialler._client.calls.live = out_of_reach
    report = await carrier.dialler.dial(TO, FROM)
    assert report.cause == END_UNKNOWN
    assert report.outcome is Outcome.ANSWERED
    assert [each for each in carrier.asked if each.startswith("DELETE")] == ["DELETE Call/call-1/"]


async def test_a_call_may_ring_for_long_while_plivo_is_out_of_reach(
    carrier_of: Callable[..., Any],
) -> None:
    async def script(call: PlacedCall) -> None:
        await asyncio.sleep(400)
        await call.answered()
        call.hang_up(4000)

    async def out_of_reach(call_id: str) -> None:
        raise errors.ServerError("down", status=503)

    carrier = await carrier_of(script, talk)
    carrier.dialler._client.calls.live = out_of_reach
    assert (await carrier.dialler.dial(TO, FROM, ring_seconds=420)).ok


async def test_being_out_of_reach_now_and_then_is_no_reason_to_stop_waiting(
    carrier_of: Callable[..., Any],
) -> None:
    async def script(call: PlacedCall) -> None:
        await call.answered()
        await asyncio.sleep(1000)
        call.hang_up(4000)

    asked = []

    async def now_and_then(call_id: str) -> None:
        asked.append(call_id)
        if len(asked) % 5:
            raise errors.ServerError("down", status=503)

    carrier = await carrier_of(script, talk)
    carrier.dialler._client.calls.live = now_and_then
    report = await carrier.dialler.dial(TO, FROM)
    assert report.cause_code == 4000
    assert len(asked) > 5


async def test_a_token_that_is_refused_while_a_call_goes_on_is_an_error_at_once(
    carrier_of: Callable[..., Any],
) -> None:
    asked = []

    async def refused(call_id: str) -> None:
        asked.append(call_id)
        raise errors.AuthenticationError("no", status=401)

    carrier = await carrier_of()
    carrier.dialler._client.calls.live = refused
    with pytest.raises(errors.AuthenticationError):
        await carrier.dialler.dial(TO, FROM)
    assert asked == ["call-1"]


async def test_giving_up_when_plivo_is_out_of_reach_is_still_giving_up(
    carrier_of: Callable[..., Any],
) -> None:
    async def out_of_reach(call_id: str) -> None:
        raise errors.ServerError("down", status=503)

    carrier = await carrier_of()
    carrier.dialler._client.calls.cancel = out_of_reach
    dialling = asyncio.create_task(carrier.dialler.dial(TO, FROM))
    await asyncio.sleep(5)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling


async def test_the_end_is_asked_for_when_it_is_not_told(carrier_of: Callable[..., Any]) -> None:
    async def script(call: PlacedCall) -> None:
        await call.answered()
        call.carrier.live.discard(call.id)
        call.carrier.records[call.id] = {
            "call_uuid": call.id, "hangup_cause_code": 4000, "hangup_cause_name": "Normal Hangup",
            "call_duration": 5,
        }  # fmt: skip

    carrier = await carrier_of(script, talk)
    report = await carrier.dialler.dial(TO, FROM)
    assert report.outcome is Outcome.ANSWERED
    assert (report.cause_code, report.duration) == (4000, 5)


async def test_a_call_that_is_told_nothing_of_is_not_waited_for_for_ever(
    carrier_of: Callable[..., Any],
) -> None:
    async def script(call: PlacedCall) -> None:
        call.carrier.live.discard(call.id)

    carrier = await carrier_of(script)
    report = await carrier.dialler.dial(TO, FROM)
    assert report.outcome is Outcome.FAILED
    assert report.call_id == "call-1"


async def test_a_call_that_rings_for_long_is_waited_for(carrier_of: Callable[..., Any]) -> None:
    async def script(call: PlacedCall) -> None:
        await asyncio.sleep(500)
        call.hang_up(6010)

    carrier = await carrier_of(script)
    assert (await carrier.dialler.dial(TO, FROM)).outcome is Outcome.NO_ANSWER


async def test_a_call_that_is_answered_and_not_streamed_has_failed(
    carrier_of: Callable[..., Any],
) -> None:
    async def script(call: PlacedCall) -> None:
        call.tell("answer_url", Event="StartApp")
        call.hang_up(4000, HangupCauseName="Normal Hangup")

    carrier = await carrier_of(script)
    report = await carrier.dialler.dial(TO, FROM)
    assert report.outcome is Outcome.FAILED
    assert report.cause == "answered, but no stream came: Normal Hangup"


async def test_giving_up_stops_the_ringing(carrier_of: Callable[..., Any]) -> None:
    carrier = await carrier_of()
    dialling = asyncio.create_task(carrier.dialler.dial(TO, FROM))
    await asyncio.sleep(5)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    assert carrier.asked[-1] == "DELETE Request/call-1/"
    assert carrier.live == set()


async def test_giving_up_hangs_up_a_call_that_was_answered(carrier_of: Callable[..., Any]) -> None:
    carrier = await carrier_of(good_call, talk)
    dialling = asyncio.create_task(carrier.dialler.dial(TO, FROM))
    await asyncio.sleep(8)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    assert carrier.asked[-1] == "DELETE Call/call-1/"


async def test_giving_up_while_the_call_is_being_placed_leaves_none_behind(
    carrier_of: Callable[..., Any],
) -> None:
    carrier = await carrier_of()
    dialling = asyncio.create_task(carrier.dialler.dial(TO, FROM))
    while not carrier.placed:
        await asyncio.sleep(0)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    assert carrier.live == set()


async def until(condition: Callable[..., Any]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def test_cancelling_twice_leaves_no_call_behind(carrier_of: Callable[..., Any]) -> None:
    """Neither while it is being placed nor while it is being given up."""
    carrier = await carrier_of()
    calls = carrier.dialler._client.calls
    create, cancel = calls.create, calls.cancel

    async def slow_create(request: CallRequest) -> Any:
        created = await create(request)
        await asyncio.sleep(3)
        return created

    async def slow_cancel(request_uuid: str) -> Any:
        await asyncio.sleep(3)
        return await cancel(request_uuid)

    calls.create, calls.cancel = slow_create, slow_cancel
    dialling = asyncio.create_task(carrier.dialler.dial(TO, FROM))
    await until(lambda: carrier.placed)
    for _ in range(5):
        dialling.cancel()
        await asyncio.sleep(1)
    with pytest.raises(asyncio.CancelledError):
        await dialling
    assert carrier.live == set()


async def test_giving_up_ends_even_if_plivo_does_not_answer(carrier_of: Callable[..., Any]) -> None:
    carrier = await carrier_of()

    async def never(request_uuid: str) -> None:
        await asyncio.Event().wait()

    carrier.dialler._client.calls.cancel = never
    dialling = asyncio.create_task(carrier.dialler.dial(TO, FROM))
    await until(lambda: carrier.placed)
    await asyncio.sleep(1)
    begun = asyncio.get_running_loop().time()
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    assert asyncio.get_running_loop().time() - begun == pytest.approx(GIVE_UP_SECONDS, abs=0.5)


async def test_who_answers_a_call_that_was_given_up_is_hung_up_on(
    carrier_of: Callable[..., Any],
) -> None:
    calls: list[Any] = []
    replies: list[Any] = []

    async def script(call: PlacedCall) -> None:
        calls.append(call)

    carrier = await carrier_of(script)
    cancel = carrier.dialler._client.calls.cancel

    async def answered_meanwhile(request_uuid: str) -> Any:
        replies.append(calls[0].tell("answer_url", Event="StartApp"))
        return await cancel(request_uuid)

    carrier.dialler._client.calls.cancel = answered_meanwhile
    dialling = asyncio.create_task(carrier.dialler.dial(TO, FROM))
    await until(lambda: calls)
    await asyncio.sleep(1)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    replies.append(calls[0].tell("answer_url", Event="StartApp"))
    assert [each.kind for each in replies] == ["rejected", "rejected"]
    assert all(b"<Hangup/>" in each.xml for each in replies)
    assert carrier.runtime.admission.idle


async def test_calls_to_other_routes_are_answered_beside_the_dialler(
    carrier_of: Callable[..., Any],
) -> None:
    carrier = await carrier_of()
    request = parse_callback({"CallUUID": "x", "To": "+1999", "Event": "StartApp"})
    assert isinstance(request, AnswerRequest)
    assert answer(carrier.runtime, request, SERVER).kind == "stream"


async def test_a_stream_that_nobody_waits_for_is_not_handled(
    carrier_of: Callable[..., Any],
) -> None:
    ran = []

    async def handler(stream: FakeStream) -> None:
        ran.append(stream)

    carrier = await carrier_of(handler=handler)
    await carrier.dialler(FakeStream("a call of another process"))
    assert ran == []


async def test_calls_of_others_are_none_of_its_business(carrier_of: Callable[..., Any]) -> None:
    carrier = await carrier_of()
    dialling = asyncio.create_task(carrier.dialler.dial(TO, FROM))
    await asyncio.sleep(1)
    carrier.runtime.told(parse_callback({"CallUUID": "x", "Event": "Hangup"}))
    carrier.runtime.told(
        parse_callback({"CallUUID": "call-1", "StreamID": "s", "Event": "StopStream"})
    )
    await asyncio.sleep(1)
    assert not dialling.done()
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling


# What is refused before anybody's phone rings


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"to": "0800"}, ValidationError, "country code"),
        ({"to": FROM}, ValidationError, "same number"),
        ({"to": f"{TO}<+14155550198"}, ValueError, "one call at a time"),
        ({"machine": "ask"}, ValueError, "'ignore', 'detect' or 'hangup'"),
        ({"handler": print}, HandlerError, "not async"),
        ({"colour": "red"}, ValidationError, "colour"),
    ],
)
async def test_a_call_that_could_not_work_is_not_placed(
    carrier_of: Callable[..., Any],
    arguments: dict[str, Callable[..., Any]] | dict[str, str],
    kind: type[HandlerError] | type[ValidationError] | type[ValueError],
    said: str,
) -> None:
    carrier = await carrier_of()
    with pytest.raises(kind, match=said):
        await carrier.dialler.dial(**{"to": TO, "from_": FROM, **arguments})
    assert carrier.placed == []


async def test_a_dialler_without_a_handler_asks_for_one(carrier_of: Callable[..., Any]) -> None:
    carrier = await carrier_of(handler=None)
    with pytest.raises(DialError, match="which handler"):
        await carrier.dialler.dial(TO, FROM)


async def test_a_dialler_has_to_be_attached_and_the_server_running(
    carrier_of: Callable[..., Any],
) -> None:
    with pytest.raises(DialError, match="not attached"):
        await Dialler(PlivoClient("MA1", "t"), Echo).dial(TO, FROM)
    carrier = await carrier_of()
    carrier.runtime.draining = True
    with pytest.raises(DialError, match="shutting down"):
        await carrier.dialler.dial(TO, FROM)


async def test_a_server_that_plivo_cannot_reach_dials_nobody() -> None:
    dialler = Dialler(PlivoClient("MA1", "t"), Echo)
    with pytest.raises(DialError, match="public_url"):
        dialler.attach(Runtime(Settings(), Routes(Route(dialler, OUTBOUND_PATH))))
    with pytest.raises(DialError, match="no route"):
        dialler.attach(Runtime(Settings(public_url=SERVER), Routes(Route(Echo))))


async def test_what_the_handlers_class_shares_is_opened_with_the_server() -> None:
    class Shared(Handler):
        @staticmethod
        @asynccontextmanager
        async def lifespan() -> AsyncIterator[Any]:
            yield "a pool"

    dialler = Dialler(PlivoClient("MA1", "t"), Shared)
    routes = Routes(Route(dialler, OUTBOUND_PATH))
    async with routes.lifespan():
        assert routes.shared(routes.routes[0]) == "a pool"


async def test_a_pace_is_above_0() -> None:
    with pytest.raises(ValueError, match="calls_per_second"):
        Dialler(PlivoClient("MA1", "t"), Echo, calls_per_second=0)


async def test_a_handler_gets_ready_when_the_call_that_was_placed_is_answered(
    carrier_of: Callable[..., Any],
) -> None:
    class Ready(Handler):
        def __init__(self) -> None:
            handlers.append(self)

        async def on_answer(self, answer: AnswerRequest, shared: None) -> None:
            notes.append(answer.called)

        async def __call__(self, stream: Any) -> None:
            await asyncio.sleep(1)
            notes.append(handlers.index(self))

    handlers: list[Any] = []
    notes: list[Any] = []
    carrier = await carrier_of(good_call)
    await carrier.dialler.dial(TO, FROM, Ready)
    assert notes == [TO, 0]
    assert len(handlers) == 1
    assert len(carrier.runtime.prepared) == 0


async def test_what_got_ready_for_a_call_without_a_stream_is_let_go(
    carrier_of: Callable[..., Any],
) -> None:
    class Ready(Handler):
        async def on_answer(self, answer: AnswerRequest, shared: None) -> None:
            notes.append("answer")

        async def on_stop(self, reason: str) -> None:
            notes.append(reason)

    async def no_stream(call: PlacedCall) -> None:
        call.tell("answer_url", Event="StartApp", CallStatus="in-progress")
        await asyncio.sleep(1)
        call.hang_up(4000)
        call.carrier.runtime.prepared.abandon(call.id)  # as the webhook does

    notes: list[Any] = []
    carrier = await carrier_of(no_stream, Ready)
    await carrier.dialler.dial(TO, FROM)
    await asyncio.sleep(1)
    assert notes == ["answer", "the stream never came"]
