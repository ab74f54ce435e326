from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from mediaserver.agents import Echo
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.plivo.signatures import sign_headers, sign_upgrade
from mediaserver.routes import Route
from mediaserver.server.accepting import examine
from mediaserver.server.handshake import AcceptedStream, HandshakeRequest, Refused
from mediaserver.server.neighbours import Alone
from mediaserver.server.runtime import Runtime
from mediaserver.server.trust.tokens import Claims, seal
from tests.server.admin.live import Live


SECRET = "sixteen letters and more"


def token(
    call_id: str = "call-1",
    caller: str = "+1415",
    called: str = "14155550100",
    expires: Any = None,
    secret: str = SECRET,
) -> str:
    return seal(Claims(call_id, caller, called, expires or 2**40), secret)


def ask(query: str = "", path: str = "/stream", **more: Any) -> HandshakeRequest:
    return HandshakeRequest(path, query, **more)


def let_in(runtime: Runtime, request: HandshakeRequest) -> AcceptedStream:
    accepted = examine(runtime, request)
    assert isinstance(accepted, AcceptedStream)
    return accepted


def refuse(runtime: Runtime, request: HandshakeRequest) -> Refused:
    refused = examine(runtime, request)
    assert isinstance(refused, Refused)
    return refused


@pytest.fixture
async def runtime(start_runtime: Callable[..., Any]) -> Any:
    return await start_runtime(secret=SECRET, max_calls=1)


async def test_without_a_token_nobody_is_known(runtime: Runtime) -> None:
    accepted = let_in(runtime, ask())
    assert (accepted.call_id, accepted.caller, accepted.called) == (None, None, None)
    assert accepted.route.name == "Echo"
    assert runtime.admission.active == 1


async def test_a_token_says_who_calls(runtime: Runtime) -> None:
    accepted = let_in(runtime, ask(f"token={token()}&a=1&b=&c=x+y%2Bz"))
    assert (accepted.call_id, accepted.caller, accepted.called) == (
        "call-1",
        "+1415",
        "14155550100",
    )
    assert accepted.query == {"a": "1", "b": "", "c": "x y+z"}


async def test_a_reserved_place_is_taken(runtime: Runtime) -> None:
    runtime.admission.reserve("call-1")
    assert isinstance(examine(runtime, ask()), Refused)
    accepted = let_in(runtime, ask(f"token={token()}"))
    accepted.slot.release()
    assert runtime.admission.idle


async def test_places_are_reserved_for_as_long_as_tokens_say_that_streams_need(
    start_runtime: Callable[..., Any],
) -> None:
    runtime: Runtime = await start_runtime(secret=SECRET)
    issued = seal(Claims("call-1", None, None, 2**40, issued=runtime.wall_clock() - 4), SECRET)
    let_in(runtime, ask(f"token={issued}"))
    assert runtime.admission.hold_seconds == 12


async def test_a_stream_that_may_continue_a_lost_one_leaves_other_calls_their_places(
    start_runtime: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime: Runtime = await start_runtime(secret=SECRET, max_calls=2)
    runtime.admission.reserve("call-2")
    issued = seal(Claims("call-1", None, None, 2**40, issued=runtime.wall_clock()), SECRET)
    monkeypatch.setattr(runtime.lost_streams, "may_be", lambda call_id, path: True)
    assert not let_in(runtime, ask(f"token={issued}")).exceeds_limit
    assert runtime.admission.reserved == 1


async def test_an_unknown_path_is_refused_before_anything_else(runtime: Runtime) -> None:
    refused = refuse(runtime, ask("token=nonsense", path="/elsewhere"))
    assert (refused.status, refused.cause) == (404, "path")
    assert "/elsewhere" in refused.reason


@pytest.mark.parametrize(
    "bad",
    ["", "nonsense", token(expires=1), token(secret="another secret altogether")],
    ids=["empty", "nonsense", "expired", "of another secret"],
)
async def test_a_token_that_does_not_hold_is_refused(runtime: Runtime, bad: str) -> None:
    refused = refuse(runtime, ask(f"token={bad}"))
    assert (refused.status, refused.cause) == (403, "token")
    assert runtime.admission.idle


async def test_a_full_server_says_when_to_try_again(runtime: Runtime) -> None:
    examine(runtime, ask())
    refused = refuse(runtime, ask())
    assert (refused.status, refused.cause) == (503, "full")
    assert dict(refused.headers)["retry-after"] == "5"


async def test_a_draining_server_lets_in_only_calls_that_were_answered(runtime: Runtime) -> None:
    runtime.admission.close()
    assert refuse(runtime, ask()).cause == "draining"
    assert isinstance(examine(runtime, ask(f"token={token()}")), AcceptedStream)


async def test_a_verifier_may_refuse(runtime: Runtime) -> None:
    refusal = Refused(403, "no signature")
    seen = []

    def verify(request: HandshakeRequest) -> Refused:
        seen.append(request)
        return refusal

    request = ask()
    assert examine(runtime, request, verifiers=[verify]) is refusal
    assert seen == [request]
    assert runtime.admission.idle


async def test_verifiers_that_are_content_let_in(runtime: Runtime) -> None:
    accepted = examine(runtime, ask(), verifiers=[lambda request: None, lambda request: None])
    assert isinstance(accepted, AcceptedStream)


async def test_the_dialled_number_of_the_token_finds_the_route(
    start_runtime: Callable[..., Any],
) -> None:
    async def sales(stream: Any) -> None: ...

    runtime = await start_runtime(
        Route(sales, number="+14155550100"), Route(Echo, number="+1999"), secret=SECRET
    )
    assert let_in(runtime, ask(f"token={token()}")).route.handler is sales
    refused = refuse(runtime, ask())
    assert (refused.status, refused.cause) == (404, "path")


async def test_the_client_is_seen_through_trusted_proxies(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(trusted_proxies="10.0.0.0/8")
    headers = [("x-forwarded-for", "198.51.100.4")]
    assert let_in(runtime, ask(headers=headers, client_host="10.1.1.1")).client == "198.51.100.4"


# What the answer webhook knew


async def test_what_plivo_told_the_answer_webhook_comes_along(runtime: Runtime) -> None:
    request = AnswerRequest(call_id="call-1", forwarded_from="+14155550142")
    runtime.answered.add(request)
    assert let_in(runtime, ask(f"token={token()}")).answer is request


async def test_of_a_call_that_another_process_answered_the_token_says_the_most_important(
    runtime: Runtime,
) -> None:
    accepted = let_in(runtime, ask(f"token={token()}"))
    assert accepted.answer == AnswerRequest(
        call_id="call-1", caller="+1415", called="14155550100", direction=None
    )


async def test_a_stream_that_did_not_come_by_the_webhook_brings_nothing(runtime: Runtime) -> None:
    assert let_in(runtime, ask()).answer is None


async def test_a_call_that_is_over_gets_no_second_stream(runtime: Runtime) -> None:
    runtime.answered.end("call-1")
    refused = refuse(runtime, ask(f"token={token()}"))
    assert (refused.status, refused.cause) == (410, "ended")
    assert runtime.admission.idle


async def test_a_server_may_take_only_streams_that_it_gave_out(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(secret=SECRET, require_token=True)
    assert refuse(runtime, ask()).cause == "token"
    assert isinstance(examine(runtime, ask(f"token={token()}")), AcceptedStream)


# Signatures


AUTH_TOKEN = "an auth token"
URL = "wss://voice.example.com/media/stream?a=1"


@pytest.fixture
async def guarded(start_runtime: Callable[..., Any]) -> Any:
    return await start_runtime(
        secret=SECRET,
        max_calls=1,
        auth_token=AUTH_TOKEN,
        more_auth_tokens="of a subaccount, of another",
        public_url="https://voice.example.com/media",
        trusted_proxies="10.0.0.0/8",
    )


def signed(url: str = URL, tokens: list[str] | str = AUTH_TOKEN, **more: Any) -> HandshakeRequest:
    return ask("a=1", headers=list(lower(sign_upgrade(url, tokens))), **more)


def lower(headers: dict[str, str]) -> Iterator[Any]:
    return ((name.lower(), value) for name, value in headers.items())


@pytest.mark.parametrize("tokens", [AUTH_TOKEN, "of a subaccount", ["unknown", "of another"]])
async def test_a_signed_stream_is_let_in(guarded: Runtime, tokens: list[str] | str) -> None:
    assert isinstance(examine(guarded, signed(tokens=tokens)), AcceptedStream)


async def test_a_stream_whose_whole_url_is_signed_is_let_in(guarded: Runtime) -> None:
    request = ask("a=1", headers=list(lower(sign_headers("GET", f"https{URL[3:]}", AUTH_TOKEN))))
    assert isinstance(examine(guarded, request), AcceptedStream)


async def test_the_path_that_was_signed_is_the_one_that_was_written(guarded: Runtime) -> None:
    request = signed("wss://voice.example.com/media/%73tream?a=1", raw_path="/%73tream")
    assert isinstance(examine(guarded, request), AcceptedStream)


@pytest.mark.parametrize(
    "request_",
    [
        ask("a=1"),
        ask(f"token={token()}"),
        signed(tokens="another token"),
        signed("wss://voice.example.com/stream?a=1"),
        signed("wss://other.example.com/media/stream"),
        ask(headers=[("x-plivo-signature-v3", "x")]),
    ],
    ids=["nothing", "token alone", "token unknown", "path", "host", "no nonce"],
)
async def test_a_stream_that_plivo_did_not_sign_is_refused(
    guarded: Runtime, request_: HandshakeRequest
) -> None:
    refused = refuse(guarded, request_)
    assert (refused.status, refused.cause) == (403, "signature")
    assert AUTH_TOKEN not in refused.reason
    assert guarded.admission.idle


async def test_an_unknown_path_is_told_without_a_look_at_the_signature(guarded: Runtime) -> None:
    assert refuse(guarded, ask(path="/elsewhere")).cause == "path"


async def test_a_signature_does_not_make_up_for_a_token(guarded: Runtime) -> None:
    request = ask("token=nonsense", headers=list(lower(sign_upgrade(URL, AUTH_TOKEN))))
    assert refuse(guarded, request).cause == "token"


async def test_a_nonce_is_used_up_only_by_a_stream_that_was_accepted(guarded: Runtime) -> None:
    request = signed()
    taken = guarded.admission.admit()
    assert taken is not None
    assert refuse(guarded, request).cause == "full"
    taken.release()
    accepted = let_in(guarded, request)
    accepted.slot.release()
    refused = refuse(guarded, request)
    assert (refused.status, refused.cause) == (403, "signature")
    assert "before" in refused.reason


async def test_the_public_url_counts_whatever_a_trusted_proxy_says(guarded: Runtime) -> None:
    request = signed("wss://other.example.com/stream", client_host="10.0.0.1")
    forwarded = (*request.headers, ("x-forwarded-host", "other.example.com"))
    assert refuse(guarded, ask(headers=forwarded, client_host="10.0.0.1")).cause == "signature"


@pytest.mark.parametrize(
    ("peer", "decision"), [("10.0.0.1", AcceptedStream), ("198.51.100.1", Refused)]
)
async def test_without_a_public_url_only_a_trusted_proxy_says_what_was_signed(
    start_runtime: Callable[..., Any], peer: str, decision: type[AcceptedStream] | type[Refused]
) -> None:
    runtime = await start_runtime(auth_token=AUTH_TOKEN, trusted_proxies="10.0.0.0/8")
    headers = [
        *lower(sign_upgrade("wss://voice.example.com/stream", AUTH_TOKEN)),
        ("host", "127.0.0.1:8000"),
        ("x-forwarded-host", "voice.example.com"),
    ]
    assert isinstance(examine(runtime, ask(headers=headers, client_host=peer)), decision)


async def test_a_request_to_no_host_cannot_be_checked_and_is_refused(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(auth_token=AUTH_TOKEN)
    refused = refuse(runtime, ask(headers=list(lower(sign_upgrade(URL, AUTH_TOKEN)))))
    assert (refused.status, refused.cause) == (403, "signature")
    assert "--public-url" in refused.reason


async def test_checking_can_be_turned_off(start_runtime: Callable[..., Any]) -> None:
    runtime = await start_runtime(auth_token=AUTH_TOKEN, check_signatures=False)
    assert isinstance(examine(runtime, ask()), AcceptedStream)


class ToldNonces(Alone):
    def __init__(self) -> None:
        self.nonces: list[str] = []

    def used(self, nonce: str) -> None:
        self.nonces.append(nonce)


@pytest.mark.parametrize(("process", "is_told"), [(None, True), ("another", True), ("own", False)])
async def test_neighbours_know_the_signatures_of_streams_that_may_come_to_them(
    guarded: Runtime, process: str | None, is_told: bool
) -> None:
    guarded.neighbours = told = ToldNonces()
    own = guarded.process if process == "own" else process
    claims = Claims("call-1", None, None, 1_900_000_000, process=own)
    query = f"a=1&token={seal(claims, guarded.settings.secret.get_secret_value())}"
    request = signed(f"{URL.partition('?')[0]}?{query}")
    let_in(guarded, replace(request, query_string=query))
    assert bool(told.nonces) is is_told


async def test_a_signature_that_a_neighbour_has_seen_is_refused_until_its_stream_is_lost(
    guarded: Runtime,
) -> None:
    request = signed()
    nonce = dict(request.headers)["x-plivo-signature-v3-nonce"]
    guarded.overhear_nonce(nonce, used=True)
    assert refuse(guarded, request).cause == "signature"
    guarded.overhear_nonce(nonce, used=False)
    let_in(guarded, request)


async def test_without_signatures_the_nonces_of_neighbours_mean_nothing(runtime: Runtime) -> None:
    runtime.overhear_nonce("12345", used=True)
    let_in(runtime, ask())


async def test_a_stream_without_a_token_is_refused_at_the_limit_of_its_route(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(
        Route(Echo, "/sales", max_calls=1), Route(Echo), secret=SECRET, max_calls=9
    )
    Live(runtime, path="/sales", answered=False, start=False)
    refused = refuse(runtime, ask(path="/sales"))
    assert (refused.status, refused.reason) == (503, "/sales has reached its limit of 1")
    assert refused.cause == "full"
    runtime.lost_streams.may_be = lambda call_id, path: True
    assert let_in(runtime, ask(path="/sales")).exceeds_limit
    assert not let_in(runtime, ask(f"token={token()}", path="/sales")).exceeds_limit
    let_in(runtime, ask())
